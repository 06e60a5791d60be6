"""Some frames of a night once more, after its differences were made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.exposures import Exposure, NightReader
from nightsift.archive.faults import storage_errors
from nightsift.archive.formats import Levels
from nightsift.archive.night_store import NightStore, ProductMissing, frames_path
from nightsift.archive.nights import StationNight
from nightsift.archive.receipts import read_objects
from nightsift.archive.stations import Station
from nightsift.archive.stores import Archive, Workspace

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SeenFrame:
    """A frame of a night.

    Attributes
    ----------
    index
        Its number among the night's usable frames.
    levels
        (y, x).
    timemap, rate_hz
        The short exposure at which each pixel was brightest, and how many there are a second; None where the
        frame has none, or it was not asked for.
    """

    index: int
    levels: Levels
    timemap: Levels | None = None
    rate_hz: float | None = None


def replay_night(
    archive: Archive,
    workspace: Workspace,
    station: Station,
    unit: StationNight,
    keys: Sequence[str],
    wanted: Mask,
    timed: Mask,
) -> Iterator[SeenFrame]:
    """Chosen frames of a night in time order: from its store, or from the archive where they are not kept.

    Parameters
    ----------
    keys
        Of all usable frames of the night, in time order.
    wanted
        Frames to read.
    timed
        Frames to read with their time map where the night's files have one; they are read in that case only.

    Raises
    ------
    StorageError
        A store failed.

    Notes
    -----
    Frames that the archive does not give any more are left out. Memory is bounded by a shard or a block of
    files.
    """
    with storage_errors(workspace.url):
        group = _stored(workspace, unit)
        if group is not None and "rate_hz" in group:
            wanted = wanted | timed
        if group is not None and "frame" in group:
            yield from _from_store(group, keys, wanted, timed)
            return
        recorded = read_objects(workspace, unit) if wanted.any() else ()
    chosen = {key: index for index, key in enumerate(keys) if wanted[index]}
    refs = tuple(ref for ref in recorded if _holds(ref.key, chosen))
    for found in NightReader(archive, station, refs).exposures() if refs else ():
        if isinstance(found, Exposure) and found.key in chosen:
            picture = found.picture
            yield SeenFrame(chosen[found.key], picture.gray, picture.timemap, picture.rate_hz)


def _stored(workspace: Workspace, unit: StationNight) -> Any:
    try:
        return NightStore(workspace, frames_path(unit)).open()
    except ProductMissing:
        return None


def _holds(key: str, chosen: dict[str, int]) -> bool:
    # A video or an archive has keys of what is in it.
    return key in chosen or any(other.startswith((f"{key}/", f"{key}#")) for other in chosen)


def _from_store(group: Any, keys: Sequence[str], wanted: Mask, timed: Mask) -> Iterator[SeenFrame]:
    places = {str(key): place for place, key in enumerate(group["key"][:])}
    known = [(places[key], index) for index, key in enumerate(keys) if wanted[index] and key in places]
    rates = group["rate_hz"][:] if "rate_hz" in group else None
    frames, maps = group["frame"], group.get("timemap")
    for run in _runs(known, frames.shards[0]):
        block = frames[run[0][0] : run[-1][0] + 1]
        for levels, (place, index) in zip(block, run, strict=True):
            if maps is None or rates is None or not timed[index]:
                yield SeenFrame(index, levels)
            else:
                yield SeenFrame(index, levels, maps[place], float(rates[place]))


def _runs(known: list[tuple[int, int]], shard: int) -> Iterator[list[tuple[int, int]]]:
    """Stretches of consecutive places within one shard."""
    run: list[tuple[int, int]] = []
    for place, index in known:
        if run and (place != run[-1][0] + 1 or place % shard == 0):
            yield run
            run = []
        run.append((place, index))
    if run:
        yield run
