"""Real labelled sequences: stamps of a release's candidates that verdicts tell the kind of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from nightsift.archive.errors import ConfigurationError, UsageError
from nightsift.archive.night_store import NightStore, differences_path
from nightsift.archive.nights import StationNight
from nightsift.archive.rms_stations import complete_stations
from nightsift.archive.settings import read_toml, validate
from nightsift.catalogs.release import read_product, read_release
from nightsift.catalogs.verdicts import labelled_frames, read_verdicts
from nightsift.jobs.config import Configuration
from nightsift.jobs.second_look import SecondLook
from nightsift.models.vetting.package import KINDS
from nightsift.models.vetting.stamps import StampRecipe, Stamps

if TYPE_CHECKING:
    from nightsift.models.vetting.samples import StampSamples
    from nightsift.models.vetting.train import VettingTrainConfig

_KIND_OF = {**{kind: kind for kind in KINDS}, "no-meteor": "other"}
_ENDS = ("x_begin_px", "y_begin_px", "x_end_px", "y_end_px")
_COLUMNS = ("frame_key", "x_px", "y_px", *_ENDS, "length_px", "snr")


def read_vetting(path: Path, text: str) -> VettingTrainConfig | None:
    """The TRAIN file of a vetting model; None if it is another one's.

    Raises
    ------
    ConfigurationError
        It is no TOML, or has faults; all are named.
    """
    from nightsift.models.vetting.train import VettingTrainConfig

    values = read_toml(text, str(path))
    model = values.get("model")
    if not isinstance(model, dict) or model.get("kind") != "vetting":
        return None
    return validate(VettingTrainConfig, values, str(path))


def few_shot_samples(
    config: VettingTrainConfig, few_shot: int, config_path: Path | None, verdicts: Path | None
) -> StampSamples | None:
    """The real sequences that ``--few-shot`` asks for; None where it does not.

    Raises
    ------
    UsageError
        Only some of the options that belong together are given.
    """
    if not few_shot and config_path is None and verdicts is None:
        return None
    if not few_shot or config_path is None or verdicts is None:
        raise UsageError(
            "real sequences are told by three options",
            expected="--few-shot N, --config nightsift.toml and --verdicts FILE",
            mend="give all three, or none",
        )
    return labelled_sequences(config_path, verdicts, config.recipe)


def labelled_sequences(
    config_path: Path, verdicts: Path, recipe: StampRecipe, release: str | None = None
) -> StampSamples:
    """Sequences of stamps around what verdicts are about, as a run would cut them.

    Parameters
    ----------
    config_path
        ``nightsift.toml`` of the workspace.
    verdicts
        CSV or Parquet with ``frame_key`` or ``candidate_id``, and ``verdict``; ``no-meteor`` is ``other``.
    recipe
        Of the network that is to be fine-tuned.
    release
        Its name; the latest by default.

    Raises
    ------
    ConfigurationError
        A verdict is about what the release does not have, or none is about a frame with a position.
    """
    from nightsift.models.vetting.samples import StampSamples

    config = Configuration.read(config_path)
    labelled = labelled_frames(config.workspace, release, read_verdicts(verdicts))
    content = read_release(config.workspace, labelled.release)
    frames = read_product(config.workspace, content, "frames", _COLUMNS).to_pandas()
    rows = labelled.frames.merge(frames.drop(columns="station"), on="frame_key").dropna(subset=["x_px"])
    if rows.empty:
        raise ConfigurationError(
            f"no verdict of {verdicts} is about a frame with a position",
            expected="verdicts on candidates of the release",
            found=f"{len(labelled.frames)} verdicts on frames without one",
            mend="give verdicts on candidates",
        )
    return StampSamples.of(list(_sequences(config, rows, recipe)), recipe)


def _sequences(
    config: Configuration, rows: pd.DataFrame, recipe: StampRecipe
) -> Iterator[tuple[Stamps, dict[str, Any]]]:
    stations, _ = complete_stations(config.stations, config.archive, config.archive.objects())
    for number, ((station, night), of_night) in enumerate(rows.groupby(["station", "night"], sort=True)):
        unit = StationNight(str(station), date.fromisoformat(str(night)))
        group: Any = NightStore(config.workspace, differences_path(unit)).open()
        series = {name: group[name][:] for name in ("time", "exposure_s", "key")}
        told: dict[str, dict[str, Any]] = {
            str(row["frame_key"]): {str(k): v for k, v in row.items()} for row in of_night.to_dict("records")
        }
        chosen = [(i, told[key]) for i, key in enumerate(map(str, series["key"])) if key in told]
        look = SecondLook(config.archive, config.workspace, stations[unit.station], unit, None)
        for place, stamps in look.stamps(recipe, chosen, series).items():
            row = chosen[place][1]
            kind = {"kind": _KIND_OF[row["verdict"]], "source": "verdict", "recurs": False}
            known = {"snr": row["snr"], "length_px": row["length_px"]}
            yield stamps, {"station": number, "night": unit.night.toordinal(), **kind, **known}
