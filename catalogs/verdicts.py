"""Verdicts of people on frames and candidates, and the frames of a release that they are about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.stores import Workspace
from nightsift.catalogs.release import read_product, read_release

VERDICTS: Final = ("meteor", "satellite", "aircraft", "other", "no-meteor", "unsure")
POSITIONS: Final = ("x_begin_px", "y_begin_px", "x_end_px", "y_end_px", "length_px", "peak", "snr")
_SHOWN = 5


def read_verdicts(path: Path) -> pd.DataFrame:
    """Read verdicts: CSV or Parquet with ``frame_key`` or ``candidate_id``, and ``verdict`` or ``kind``.

    Returns
    -------
    pandas.DataFrame
        ``frame_key`` or ``candidate_id``, ``verdict``, and `POSITIONS` where the file has them. Rows
        without a verdict are left out.

    Raises
    ------
    ConfigurationError
        The file cannot be read, lacks a column, or holds another word.
    """
    try:
        table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path} is not a verdict file", expected="CSV or Parquet", found=str(error), mend="name another"
        ) from error
    if "verdict" not in table and "kind" in table:
        # A truth table; the simulator's also tells of frames that it left out or damaged.
        table = table[~table["kind"].isin(("dropped", "corrupt"))].rename(columns={"kind": "verdict"})
    key = next((name for name in ("frame_key", "candidate_id") if name in table), None)
    if key is None or "verdict" not in table:
        raise ConfigurationError(
            f"{path} is not a verdict file",
            expected="frame_key or candidate_id, and verdict",
            found=f"columns {', '.join(map(str, table.columns))}",
            mend="rename or add the columns",
        )
    kept = [key, "verdict", *(name for name in POSITIONS if name in table)]
    given = table.loc[table["verdict"].notna() & (table["verdict"] != ""), kept]
    given = given.assign(verdict=given["verdict"].astype(str).str.strip().str.lower())
    _refuse_other_words(given, path)
    return given.reset_index(drop=True)


def _refuse_other_words(table: pd.DataFrame, path: Path) -> None:
    wrong = table[~table["verdict"].isin(VERDICTS)]
    if len(wrong):
        raise ConfigurationError(
            f"{path} holds {len(wrong)} verdicts that are none",
            expected=", ".join(VERDICTS),
            found=", ".join(f"{row.iloc[1]!r} of {row.iloc[0]}" for _, row in wrong.head(_SHOWN).iterrows()),
            mend="correct them",
        )


@dataclass(frozen=True)
class LabelledFrames:
    """Frames of a release with a verdict each.

    Attributes
    ----------
    frames
        ``station``, ``night`` (ISO), ``frame_key``, ``verdict``.
    objects
        ``frame_key``, ``kind`` and `POSITIONS` of each thing that the verdicts tell of.
    left_out
        Frames without a place in the set, by reason: ``unsure``, or why they have no difference.
    """

    release: str
    frames: pd.DataFrame
    objects: pd.DataFrame
    left_out: Counter[str]


def labelled_frames(
    workspace: Workspace,
    release: str | None,
    verdicts: pd.DataFrame,
    corrections: Mapping[str, str] | None = None,
    *,
    complete: bool = False,
) -> LabelledFrames:
    """The frames of a release that verdicts are about.

    Parameters
    ----------
    release
        Its name; the latest if None.
    verdicts
        As `read_verdicts` gives them. A frame with several, as of several candidates, takes the first of
        meteor, satellite, aircraft, unsure, other.
    corrections
        Verdicts by ``frame_key`` that take precedence.
    complete
        Whether frames without a verdict show nothing; otherwise they are not in the set.

    Raises
    ------
    ConfigurationError
        A verdict is about a frame or candidate that the release does not have, or a frame is called a meteor
        and not a meteor.
    """
    content = read_release(workspace, release)
    name = content["release"]
    table = read_product(workspace, content, "frames", ("frame_key", "night", "reason")).to_pandas()
    verdicts = _by_frame(workspace, content, verdicts)
    _refuse_unknown(verdicts["frame_key"], table["frame_key"], f"release {name}")
    _refuse_contradictions(verdicts, name)
    rank = ("meteor", "satellite", "aircraft", "unsure", "other", "no-meteor")
    ordered = verdicts.assign(rank=verdicts["verdict"].map(rank.index)).sort_values("rank", kind="stable")
    best = ordered.groupby("frame_key")["verdict"].first()
    table["verdict"] = table["frame_key"].map(best)
    if corrections:
        _refuse_unknown(pd.Series(list(corrections)), table["frame_key"], f"release {name}")
        table["verdict"] = _corrected(table, corrections)
        verdicts = verdicts[verdicts["verdict"] == _corrected(verdicts, corrections)]
    if complete:
        table["verdict"] = table["verdict"].fillna("no-meteor")
    given = table[table["verdict"].notna()]
    usable = given[given["reason"].isna() & (given["verdict"] != "unsure")]
    reasons = given["reason"].fillna(given["verdict"].where(given["verdict"] == "unsure")).dropna()
    objects = verdicts.rename(columns={"verdict": "kind"})
    return LabelledFrames(
        name,
        usable.assign(night=usable["night"].astype(str)).drop(columns="reason").reset_index(drop=True),
        objects[objects["kind"].isin(("meteor", "satellite", "aircraft"))].reset_index(drop=True),
        Counter(reasons),
    )


def _corrected(table: pd.DataFrame, corrections: Mapping[str, str]) -> list[object]:
    given = zip(table["frame_key"], table["verdict"], strict=True)
    return [corrections.get(key, verdict) for key, verdict in given]


def _by_frame(workspace: Workspace, content: dict[str, object], verdicts: pd.DataFrame) -> pd.DataFrame:
    if "frame_key" in verdicts:
        return verdicts.assign(named=verdicts["frame_key"])
    ids = read_product(workspace, content, "candidates", ("candidate_id", "frame_key")).to_pandas()
    _refuse_unknown(verdicts["candidate_id"], ids["candidate_id"], f"release {content['release']}")
    joined = verdicts.merge(ids[["candidate_id", "frame_key"]], on="candidate_id")
    return joined.rename(columns={"candidate_id": "named"})


def _refuse_unknown(named: pd.Series, known: pd.Series, where: str) -> None:
    missing = sorted(set(named) - set(known))
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise ConfigurationError(
            f"{len(missing)} verdicts are about what {where} does not have: "
            + ", ".join(missing[:_SHOWN])
            + more,
            expected=f"{known.name} of that release",
            mend="name the release that the verdicts are about, or leave those rows out",
        )


def _refuse_contradictions(verdicts: pd.DataFrame, release: str) -> None:
    said = verdicts.groupby("named")["verdict"].agg(set)
    both = sorted(said.index[[{"meteor"} < v and bool(v & {"other", "no-meteor"}) for v in said]])
    if both:
        raise ConfigurationError(
            f"{len(both)} of release {release} are called meteor and not meteor: {', '.join(both[:_SHOWN])}",
            expected="one verdict",
            mend="remove one of the two, or call it unsure",
        )


def read_corrections(path: Path) -> dict[str, str]:
    """Verdicts by ``frame_key``, as the page of the confidently wrong writes them.

    Raises
    ------
    ConfigurationError
        As `read_verdicts`; or the file has no ``frame_key``, or two verdicts on one frame.
    """
    table = read_verdicts(path)
    twice = table[table.duplicated(table.columns[0])]
    if "frame_key" not in table or len(twice):
        raise ConfigurationError(
            f"{path} is not a file of corrections",
            expected="one verdict for each frame_key",
            found=f"{len(twice)} frames twice, such as {twice.iloc[0, 0]!r}"
            if len(twice)
            else "candidate_id",
            mend="correct the file",
        )
    return dict(zip(table["frame_key"], table["verdict"], strict=True))
