"""Frames of a release with verdicts: their differences, from the workspace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Literal

import numpy as np
import pandas as pd

from nightsift.archive.differences import Threshold
from nightsift.archive.errors import ConfigurationError
from nightsift.archive.night_store import NightStore, differences_path
from nightsift.archive.nights import StationNight
from nightsift.archive.stores import Workspace
from nightsift.models.labelled import Sides, refuse_unknown
from nightsift.models.shown import Shown
from nightsift.models.streaks import in_noise


class ReleaseData(Sides):
    """Frames of a release with verdicts.

    Attributes
    ----------
    config
        ``nightsift.toml`` of the workspace.
    release
        Its name; the latest by default.
    verdicts
        CSV or Parquet with ``frame_key`` or ``candidate_id``, and ``verdict``.
    complete
        Whether frames without a verdict show nothing; otherwise they are left out.
    """

    source: Literal["release"]
    config: str = "nightsift.toml"
    release: str | None = None
    verdicts: str
    complete: bool = False


def released(
    workspace: Workspace, frames: pd.DataFrame, objects: pd.DataFrame, threshold: Threshold
) -> Iterator[Shown]:
    """The differences of frames, from their nights' stores, a shard at a time.

    Parameters
    ----------
    frames
        ``station``, ``night`` (ISO), ``frame_key``, ``verdict``.
    objects
        ``frame_key``, ``kind`` and positions where they are known.
    threshold
        That the differences must have been made with.

    Raises
    ------
    ConfigurationError
        Frames are not in the stores, or the differences were made with another threshold.
    """
    things: dict[str, list[Mapping[str, Any]]] = {}
    for row in objects.to_dict("records"):
        things.setdefault(row["frame_key"], []).append({str(k): v for k, v in row.items()})
    for (station, night), rows in frames.groupby(["station", "night"], sort=True):
        path = differences_path(StationNight(str(station), date.fromisoformat(str(night))))
        group: Any = NightStore(workspace, path).open()
        _refuse_other_threshold(group.attrs["threshold"], threshold, path)
        keys, digests, usable = group["key"][:], group["digest"][:], group["usable"][:]
        refuse_unknown(list(rows["frame_key"]), pd.Series(keys[usable]), path)
        verdicts = dict(zip(rows["frame_key"], rows["verdict"], strict=True))
        wanted = np.isin(keys, list(verdicts)) & usable
        for index, difference in _read(group["difference"], wanted):
            key = str(keys[index])
            told = {"station": station, "night": night, "frame_key": key, "digest": str(digests[index])}
            rise = in_noise(group["rise"][index], float(group["noise"][index]))
            yield Shown(difference, told, verdicts[key], things.get(key, ()), rise)


def _read(array: Any, wanted: Any) -> Iterator[tuple[int, Any]]:
    step = array.shards[0]
    for begin in range(0, len(wanted), step):
        rows = np.flatnonzero(wanted[begin : begin + step])
        if len(rows):
            block = array[begin : begin + step]
            for row in rows.tolist():
                yield begin + row, block[row]


def _refuse_other_threshold(found: Threshold, expected: Threshold, path: str) -> None:
    if expected not in ("any", found):
        raise ConfigurationError(
            f"{path} does not fit the recipe",
            expected=f"differences above {expected!r}, as [recipe] threshold says",
            found=f"differences above {found!r}",
            mend="set [recipe] threshold to that, or make the differences anew",
        )
