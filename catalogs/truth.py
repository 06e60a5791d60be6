"""Truth tables: what the frames of an archive really show, and how a release compares."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import binomtest

from nightsift.archive.errors import ConfigurationError
from nightsift.catalogs.schema import UTC_MS

TRUTH = pa.schema(
    [
        ("station", pa.string()),
        ("night", pa.date32()),
        ("start_utc", UTC_MS),
        ("frame_key", pa.string()),
        ("kind", pa.string()),
        ("object_id", pa.string()),
        *((name, pa.float64()) for name in ("x_begin_px", "y_begin_px", "x_end_px", "y_end_px")),
        *((name, pa.float64()) for name in ("length_px", "peak", "snr")),
    ]
)


def write_truth(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a simulator's truth rows as Parquet."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema=TRUTH), path, compression="zstd")


def read_truth(path: Path) -> pd.DataFrame:
    """Read a truth table: Parquet, or CSV, with ``frame_key`` and ``kind`` (``meteor`` or anything else).

    Raises
    ------
    ConfigurationError
        The file cannot be read or lacks a column.
    """
    try:
        truth = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path} is not a truth table",
            expected="Parquet or CSV",
            found=str(error),
            mend="name another file",
        ) from error
    missing = {"frame_key", "kind"} - set(truth.columns)
    if missing:
        raise ConfigurationError(
            f"{path} is not a truth table",
            expected="columns frame_key and kind",
            found=f"columns {', '.join(truth.columns)}",
            mend="rename or add the columns",
        )
    return truth


@dataclass(frozen=True)
class Share:
    """A measured share with its 95 % Wilson interval."""

    hits: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end; (0, 1) where nothing was measured."""
        if self.of == 0:
            return 0.0, 1.0
        ends = binomtest(self.hits, self.of).proportion_ci(method="wilson")
        return float(ends.low), float(ends.high)

    def __str__(self) -> str:
        if self.of == 0:
            return "none to measure"
        low, high = self.interval
        return f"{self.hits} of {self.of} = {self.hits / self.of:.3f} (95 %: {low:.3f} to {high:.3f})"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"hits": self.hits, "of": self.of, "interval_95": self.interval}


@dataclass(frozen=True)
class Evaluation:
    """How a release's candidates compare with the truth, frame by frame.

    Attributes
    ----------
    recall
        Frames with a true meteor and a score that are candidates.
    false_frames
        Frames with a score and without a true meteor that are candidates.
    precision
        Candidates that show a true meteor.
    unscored_meteors
        Frames with a true meteor and no score, by reason.
    distance_px
        Median distance from the position to the middle of the nearest true meteor; None where the truth gives
        no positions.
    flagged
        Candidates without a meteor by what the truth says they show.
    """

    recall: Share
    false_frames: Share
    precision: Share
    unscored_meteors: Mapping[str, int]
    distance_px: float | None
    flagged: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        shares = {name: getattr(self, name).as_dict() for name in ("recall", "false_frames", "precision")}
        return {
            **shares,
            "unscored_meteors": dict(self.unscored_meteors),
            "distance_px": self.distance_px,
            "flagged": dict(self.flagged),
        }


def evaluate_frames(frames: pd.DataFrame, truth: pd.DataFrame, threshold: float) -> Evaluation:
    """Compare a release's ``frames`` with a truth table.

    Parameters
    ----------
    frames
        With ``frame_key, score, reason, x_px, y_px``.
    truth
        With ``frame_key, kind`` and, where positions are known, ``x_begin_px`` and so on.
    """
    meteors = truth[truth["kind"] == "meteor"]
    real = frames["frame_key"].isin(meteors["frame_key"])
    scored, found = frames["score"].notna(), frames["score"] >= np.float32(threshold)
    shown = truth[truth["kind"] != "meteor"].groupby("frame_key")["kind"].first()
    false_kinds = frames.loc[found & ~real, "frame_key"].map(shown).fillna("nothing known")
    return Evaluation(
        recall=Share(int((found & real).sum()), int((scored & real).sum())),
        false_frames=Share(int((found & ~real).sum()), int((scored & ~real).sum())),
        precision=Share(int((found & real).sum()), int(found.sum())),
        unscored_meteors=Counter(frames.loc[real & ~scored, "reason"]),
        distance_px=_median_distance(frames[found & real], meteors),
        flagged=Counter(false_kinds),
    )


def _median_distance(found: pd.DataFrame, meteors: pd.DataFrame) -> float | None:
    if "x_begin_px" not in meteors or found.empty:
        return None
    joined = found[["frame_key", "x_px", "y_px"]].merge(
        meteors[["frame_key", "x_begin_px", "x_end_px", "y_begin_px", "y_end_px"]], on="frame_key"
    )
    dx = (joined["x_begin_px"] + joined["x_end_px"]) / 2 - joined["x_px"]
    dy = (joined["y_begin_px"] + joined["y_end_px"]) / 2 - joined["y_px"]
    nearest = joined.assign(distance=np.hypot(dx, dy)).groupby("frame_key")["distance"].min()
    median = float(nearest.median())
    return None if math.isnan(median) else median
