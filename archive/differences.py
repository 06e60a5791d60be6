"""The second stage: what became brighter from one frame to the next.

Regordosa 2021 (guAIta), §3.2: subtract the previous frame, saturating at 0, and keep what rose by more than
the threshold. A difference is stored at the frame's own size, one bit a pixel; padding and resizing belong
to the model's recipe.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs.numcodecs import PackBits

from nightsift.archive.faults import storage_errors
from nightsift.archive.frames import frames_path
from nightsift.archive.night_store import (
    NightStore,
    ShardWriter,
    add_frames_array,
    add_series,
)
from nightsift.archive.nights import StationNight
from nightsift.archive.stations import Station
from nightsift.archive.stores import Workspace
from nightsift.archive.sun import sun_altitude_deg

STAGE_VERSION = 1
RISE_BLOCK_PX = 16
_STATISTICS_STEP = 4  # noise and brightness are measured on every fourth row and column

Frame = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class DifferenceSettings:
    """How differences are made.

    Attributes
    ----------
    threshold
        Gray levels; a pixel is set where the rise exceeds its integer part, as OpenCV does on integer images.
    max_gap_s
        Longest time between the starts of the two frames of a pair.
    max_sun_altitude_deg
        Frames that begin with the Sun higher are ``daylight`` and not differenced.
    """

    threshold: float = 3.5
    max_gap_s: float = 120.0
    max_sun_altitude_deg: float = 0.0


@dataclass(frozen=True)
class Pairing:
    """Which earlier frame each frame is subtracted from; -1 and a reason where there is none."""

    previous: NDArray[np.int32]
    gap_s: NDArray[np.float64]
    reason: list[str]


def differences_path(unit: StationNight) -> str:
    """Where a night's differences lie in the workspace."""
    return f"differences/{unit}.zarr"


def difference(current: Frame, previous: Frame, threshold: float) -> NDArray[np.bool_]:
    """Pixels that rose by more than ``threshold`` gray levels.

    Parameters
    ----------
    current, previous
        (y, x) frames of one dtype.
    threshold
        Gray levels. A rise is an integer: 3.5 and 3 set the same pixels, those that rose by 4 or more.

    Returns
    -------
    (y, x) bool array

    >>> rising = np.array([[14, 13, 0]], np.uint8)
    >>> difference(rising, np.full((1, 3), 10, np.uint8), 3.5)
    array([[ True, False, False]])
    """
    return _exceeds(rise(current, previous), threshold)


def _exceeds(risen: Frame, threshold: float) -> NDArray[np.bool_]:
    return risen > math.floor(threshold)


def rise(current: Frame, previous: Frame) -> Frame:
    """How much each pixel became brighter, 0 where it did not; (y, x), the frames' dtype."""
    result: Frame = cv2.subtract(current, previous)
    return result


def block_maxima(image: Frame, size: int = RISE_BLOCK_PX) -> Frame:
    """Largest value of each ``size`` x ``size`` block; blocks at the right and lower edge may be smaller."""
    rows = np.maximum.reduceat(image, np.arange(0, image.shape[0], size), axis=0)
    blocks: Frame = np.maximum.reduceat(rows, np.arange(0, image.shape[1], size), axis=1)
    return blocks


def noise_of(current: Frame, previous: Frame) -> float:
    """Standard deviation of a pixel's change between two frames, in gray levels, robust against sky events.

    Half the width of the central 68.27 % of the changes, interpolated between gray levels, on a subsample.
    """
    step = _STATISTICS_STEP
    change = current[::step, ::step].astype(np.int32) - previous[::step, ::step]
    levels, counts = np.unique(change, return_counts=True)
    cumulative = (np.cumsum(counts) - counts / 2) / change.size
    low, high = np.interp((0.158655, 0.841345), cumulative, levels)
    return float(high - low) / 2


def pair_frames(
    times: Sequence[datetime], sun_altitudes_deg: NDArray[np.float64], settings: DifferenceSettings
) -> Pairing:
    """Pair each frame with the one before it, unless the gap is too long or the Sun too high.

    Parameters
    ----------
    times
        Starts of the night's frames, increasing.
    sun_altitudes_deg
        (n,) altitude of the Sun at those times.

    Returns
    -------
    Pairing
        ``reason`` is empty for a usable pair, else ``first``, ``gap`` or ``daylight``.
    """
    gaps = np.full(len(times), np.nan)
    gaps[1:] = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
    reasons = ["" for _ in times]
    for i, (gap, altitude) in enumerate(zip(gaps, sun_altitudes_deg, strict=True)):
        if altitude > settings.max_sun_altitude_deg:
            reasons[i] = "daylight"
        elif i == 0:
            reasons[i] = "first"
        elif gap > settings.max_gap_s:
            reasons[i] = "gap"
    previous = np.array([i - 1 if not reason else -1 for i, reason in enumerate(reasons)], np.int32)
    return Pairing(previous, gaps, reasons)


def difference_night(
    station: Station, unit: StationNight, workspace: Workspace, settings: DifferenceSettings
) -> dict[str, int]:
    """Make ``differences/<station>/<night>.zarr`` from the night's frames.

    The store has the frames' time axis: entry i is frame i less frame ``previous[i]``. Where ``usable`` is
    false no pair could be made, ``reason`` says why, and nothing is set. ``rise`` keeps the largest
    rise of every 16 x 16 block, so that brightness can be told without the frames.

    Returns
    -------
    dict
        Number of entries by outcome: ``paired`` and each reason.

    Raises
    ------
    StorageError
        The workspace failed.
    """
    with storage_errors(workspace.url):
        source = NightStore(workspace, frames_path(unit)).open()
        frames: Any = source["frame"]
        times = _times(source)
        altitudes = sun_altitude_deg(station, times)
        pairing = pair_frames(times, altitudes, settings)
        store = NightStore(workspace, differences_path(unit))
        group = store.create(
            {
                "title": f"Differences of {station.id}, night {unit.night}",
                "station": station.id,
                "threshold": settings.threshold,
                "max_gap_s": settings.max_gap_s,
            }
        )
        bits, rises = _arrays(group, frames, settings)
        noise, brightness = [], []
        for i, (current, earlier) in enumerate(_with_previous(frames)):
            brightness.append(float(np.median(current[::_STATISTICS_STEP, ::_STATISTICS_STEP])))
            usable = pairing.previous[i] >= 0
            before = earlier if usable and earlier is not None else current
            risen = rise(current, before)
            bits.append(_exceeds(risen, settings.threshold))
            rises.append(block_maxima(risen))
            noise.append(noise_of(current, before) if usable else math.nan)
        bits.close()
        rises.close()
        _add_all_series(group, source, pairing, altitudes, noise, brightness)
        store.finish()
    reasons = pairing.reason
    return {reason or "paired": reasons.count(reason) for reason in sorted(set(reasons))}


def _times(group: zarr.Group) -> list[datetime]:
    array: Any = group["time"]
    return [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(ms)) for ms in array[:]]


def _with_previous(frames: Any) -> Iterator[tuple[Frame, Frame | None]]:
    """Each frame with the one before it, read a shard at a time."""
    earlier: Frame | None = None
    for begin in range(0, frames.shape[0], frames.shards[0]):
        for current in frames[begin : begin + frames.shards[0]]:
            yield current, earlier
            earlier = current


def _arrays(group: zarr.Group, frames: Any, settings: DifferenceSettings) -> tuple[ShardWriter, ShardWriter]:
    count, height, width = frames.shape
    bits = add_frames_array(
        group,
        "difference",
        dtype=np.bool_,
        length=count,
        frame_shape=(height, width),
        shard=frames.shards[0],
        filters=(PackBits(),),
        attributes={"long_name": f"rose by more than {math.floor(settings.threshold)} gray levels"},
    )
    blocks = (-(-height // RISE_BLOCK_PX), -(-width // RISE_BLOCK_PX))
    rises = add_frames_array(
        group,
        "rise",
        dtype=frames.dtype,
        length=count,
        frame_shape=blocks,
        dims=("block_y", "block_x"),
        shard=frames.shards[0],
        attributes={
            "long_name": f"largest rise in each block of {RISE_BLOCK_PX} x {RISE_BLOCK_PX} pixels",
            "units": "1",
        },
    )
    return bits, rises


def _add_all_series(
    group: zarr.Group,
    source: zarr.Group,
    pairing: Pairing,
    altitudes: NDArray[np.float64],
    noise: list[float],
    brightness: list[float],
) -> None:
    for name in ("time", "exposure_s", "key", "sha256"):
        copied: Any = source[name]
        add_series(
            group,
            name,
            copied[:].tolist(),
            copied.attrs.asdict(),
            {"time": "int64", "exposure_s": "float32"}.get(name, str),
        )
    usable = [not reason for reason in pairing.reason]
    for name, values, dtype, label, units in (
        ("previous", pairing.previous, "int32", "index of the frame subtracted, -1 for none", None),
        ("gap_s", pairing.gap_s, "float32", "time since the start of the frame before", "s"),
        ("usable", usable, "bool", "whether a pair could be made", None),
        ("reason", pairing.reason, str, "why no pair could be made, empty where one was", None),
        ("noise", noise, "float32", "robust deviation of a pixel's change, gray levels", "1"),
        ("sky_brightness", brightness, "float32", "median gray level of the frame", "1"),
        ("sun_altitude_deg", altitudes, "float32", "altitude of the Sun", "degree"),
    ):
        add_series(group, name, values, {"long_name": label, **({"units": units} if units else {})}, dtype)


def peak_along(
    rises: NDArray[np.integer[Any]], begin_px: tuple[float, float], end_px: tuple[float, float]
) -> float:
    """Largest rise in the blocks that a segment crosses, in gray levels.

    Parameters
    ----------
    rises
        (block_y, block_x) block maxima of one difference.
    begin_px, end_px
        (x, y) ends of the segment, in pixels of the frame.
    """
    points = np.linspace(begin_px, end_px, max(2, int(math.dist(begin_px, end_px) / 4)))
    columns, rows = (np.floor((points + 0.5) / RISE_BLOCK_PX).astype(int)).T
    height, width = rises.shape
    return float(rises[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)].max())
