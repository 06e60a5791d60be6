"""The second stage: what became brighter from one frame to the next.

Regordosa 2021 (guAIta), §3.2: subtract the previous frame, saturating at 0, and keep what rose by more than
the threshold. A difference is stored at the frame's own size, one bit a pixel; padding and resizing belong
to the model's recipe.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import numpy as np
import zarr
from numpy.typing import NDArray

from nightsift.archive.conditions import CONDITIONS, StarCounter
from nightsift.archive.errors import ConfigurationError
from nightsift.archive.exclusions import NO_EXCLUSION, Exclusion
from nightsift.archive.faults import storage_errors
from nightsift.archive.kernels import RISE_BLOCK_PX, Frame, Sample, risen
from nightsift.archive.night_store import (
    TIME_ATTRIBUTES,
    Form,
    NightStore,
    add_frames_array,
    add_series,
    described,
    differences_path,
    frames_path,
    milliseconds,
    shard_frames,
)
from nightsift.archive.nights import StationNight
from nightsift.archive.shards import FrameWriter, packed_bits
from nightsift.archive.stations import Station
from nightsift.archive.stores import Workspace
from nightsift.archive.sun import SunTrack

STAGE_VERSION = 2
MAX_EXPOSURE_RATIO = 1.5  # the sky itself rises where a longer exposure, or the maximum of more, follows
CONDITIONS_EVERY_S = 300  # counting stars costs more than the rest of a difference
SIGMA_PATTERN = r"^[0-9]+(\.[0-9]+)? sigma$"

Threshold = float | str


@dataclass(frozen=True)
class DifferenceSettings:
    """How differences are made.

    Attributes
    ----------
    threshold
        Gray levels of the frame, 8- or 16-bit, or as many times the pair's own noise, such as ``"5 sigma"``.
        A pixel is set where the rise exceeds its integer part, as OpenCV does on integer images.
    max_gap_s
        Longest time between the starts of the two frames of a pair.
    max_sun_altitude_deg
        Frames that begin with the Sun higher are ``daylight`` and not differenced.
    """

    threshold: Threshold = 3.5
    max_gap_s: float = 120.0
    max_sun_altitude_deg: float = 0.0


def sigmas(threshold: Threshold) -> float | None:
    """How many times the noise a threshold is; None if it is in gray levels.

    Raises
    ------
    ValueError
        It is neither a number nor such as ``"5 sigma"``.

    >>> sigmas("5 sigma"), sigmas(3.5)
    (5.0, None)
    """
    if not isinstance(threshold, str):
        return None
    if not re.match(SIGMA_PATTERN, threshold):
        raise ValueError(f"expected gray levels, such as 3.5, or such as '5 sigma', found {threshold!r}")
    return float(threshold.removesuffix(" sigma"))


def threshold_levels(threshold: Threshold, noise: float) -> float:
    """The threshold in gray levels for a pair with that noise; at least one level where it follows the noise.

    >>> threshold_levels(3.5, 2.0), threshold_levels("5 sigma", 2.0), threshold_levels("5 sigma", 0.0)
    (3.5, 10.0, 1.0)
    """
    times = sigmas(threshold)
    if times is None:
        return float(threshold)
    return max(1.0, times * noise)


def difference(current: Frame, previous: Frame, threshold: Threshold) -> NDArray[np.bool_]:
    """Pixels that rose by more than ``threshold``.

    Parameters
    ----------
    current, previous
        (y, x) frames of one dtype.
    threshold
        Gray levels, or such as ``"5 sigma"`` of the pair's own noise. A rise is an integer: 3.5 and 3 set the
        same pixels, those that rose by 4 or more.

    Returns
    -------
    (y, x) bool array

    >>> rising = np.array([[14, 13, 0]], np.uint8)
    >>> difference(rising, np.full((1, 3), 10, np.uint8), 3.5)
    array([[ True, False, False]])
    """
    noise = Sample.of(current).noise(Sample.of(previous)) if sigmas(threshold) else 0.0
    return np.asarray(cv2.subtract(current, previous) > math.floor(threshold_levels(threshold, noise)))


def pair_reason(
    gap_s: float, sun_altitude_deg: float, settings: DifferenceSettings, exposure_ratio: float = 1.0
) -> str:
    """Why a frame has no difference; empty where it has one.

    Parameters
    ----------
    gap_s
        Time since the start of the frame before; NaN for the first.
    exposure_ratio
        Its exposure over that of the frame before.

    Returns
    -------
    str
        ``daylight``, ``first``, ``gap``, ``other-exposure`` or nothing.
    """
    if sun_altitude_deg > settings.max_sun_altitude_deg:
        return "daylight"
    if math.isnan(gap_s):
        return "first"
    if gap_s > settings.max_gap_s:
        return "gap"
    return "" if 1 / MAX_EXPOSURE_RATIO <= exposure_ratio <= MAX_EXPOSURE_RATIO else "other-exposure"


@dataclass
class _Entry:
    """What is known of one frame besides its pixels."""

    time: int
    exposure_s: float
    key: str
    digest: str
    gap_s: float
    sun_altitude_deg: float
    reason: str
    sky_brightness: float
    noise: float = math.nan
    threshold: float = math.nan


class DifferenceWriter:
    """Makes ``differences/<station>/<night>.zarr`` from frames that come in time order.

    The store has an entry for each frame: entry i is frame i less frame ``previous[i]``. Where ``usable`` is
    false no pair could be made, ``reason`` says why, and nothing is set. ``rise`` keeps the largest
    rise of every 16 x 16 block, so that brightness can be told without the frames.

    Parameters
    ----------
    form
        Size and depth of the frames.
    length
        At most this many frames will come.

    Raises
    ------
    NightsiftError
        The station's mask does not fit the frames.
    """

    def __init__(
        self,
        workspace: Workspace,
        station: Station,
        unit: StationNight,
        settings: DifferenceSettings,
        exclusion: Exclusion,
        form: Form,
        length: int,
    ) -> None:
        self._settings, self._sun = settings, SunTrack(station, unit.night)
        self._sky = exclusion.sky(form.shape)
        self._store = NightStore(workspace, differences_path(unit))
        self._group = self._store.create(
            {
                **described("Differences", station, unit),
                "threshold": settings.threshold,
                "max_gap_s": settings.max_gap_s,
                **({"excluded": exclusion.content} if exclusion else {}),
            }
        )
        self._bits, self._rises = _arrays(self._group, form, length)
        self._entries: list[_Entry] = []
        self._previous: tuple[Frame, Sample] | None = None
        self._stars = StarCounter(self._sky)
        self._looked_at: list[int] = []
        self._looked_ms = -math.inf

    def add(self, frame: Frame, start_utc: datetime, exposure_s: float, key: str, digest: str) -> None:
        """Take the next frame, of the form given, later than the one before."""
        time = milliseconds(start_utc)
        gap_s = (time - self._entries[-1].time) / 1000 if self._entries else math.nan
        altitude = self._sun.altitude_deg(start_utc)
        ratio = exposure_s / self._entries[-1].exposure_s if self._entries else 1.0
        reason = pair_reason(gap_s, altitude, self._settings, ratio)
        sample = Sample.of(frame, self._sky)
        entry = _Entry(time, exposure_s, key, digest, gap_s, altitude, reason, sample.median())
        self._difference(entry, frame, sample)
        if not reason and time - self._looked_ms >= 1000 * CONDITIONS_EVERY_S:
            self._stars.look(frame)
            self._looked_at.append(len(self._entries))
            self._looked_ms = time
        self._entries.append(entry)
        self._previous = frame, sample

    def _difference(self, entry: _Entry, frame: Frame, sample: Sample) -> None:
        if entry.reason or self._previous is None:
            self._bits.append_empty()
            self._rises.append_empty()
            return
        previous, sample_before = self._previous
        entry.noise = sample.noise(sample_before)
        entry.threshold = threshold_levels(self._settings.threshold, entry.noise)
        found = risen(frame, previous, entry.threshold, self._sky)
        self._bits.append(found.bits)
        self._rises.append(found.blocks)

    def finish(self) -> dict[str, int]:
        """Complete the store.

        Returns
        -------
        dict
            Number of frames by outcome: ``paired`` and each reason.
        """
        self._bits.close()
        self._rises.close()
        _add_all_series(self._group, self._entries)
        for name, measured in self._stars.conditions().items():
            values = np.full(len(self._entries), np.nan, np.float32)
            values[self._looked_at] = measured
            label, units = CONDITIONS[name]
            add_series(self._group, name, values, {"long_name": label, "units": units}, "float32")
        self._store.finish()
        counts = Counter(entry.reason or "paired" for entry in self._entries)
        return {reason: counts[reason] for reason in sorted(counts)}


def difference_night(
    station: Station,
    unit: StationNight,
    workspace: Workspace,
    settings: DifferenceSettings,
    exclusion: Exclusion = NO_EXCLUSION,
) -> dict[str, int]:
    """Make a night's differences from its stored frames; see `DifferenceWriter`.

    Raises
    ------
    StorageError
        The workspace failed.
    NightsiftError
        The night's frames were not kept.
    """
    with storage_errors(workspace.url):
        source: Any = NightStore(workspace, frames_path(unit)).open()
        if "frame" not in source:
            raise ConfigurationError(
                f"{frames_path(unit)} holds no frames",
                expected="a night whose frames were kept",
                mend="set keep_frames, or make the differences from the archive",
            )
        frames = source["frame"]
        length = frames.shape[0]
        form = Form(frames.shape[1:], frames.dtype)
        writer = DifferenceWriter(workspace, station, unit, settings, exclusion, form, length)
        series = zip(
            _stored(frames),
            times_of(source),
            source["exposure_s"][:],
            source["key"][:],
            source["digest"][:],
            strict=True,
        )
        for frame, start, exposure_s, key, digest in series:
            writer.add(frame, start, float(exposure_s), str(key), str(digest))
        return writer.finish()


def times_of(group: zarr.Group) -> list[datetime]:
    """Starts of the exposures of a night's store, timezone-aware."""
    array: Any = group["time"]
    return [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(ms)) for ms in array[:]]


def _stored(frames: Any) -> Iterator[Frame]:
    """Frames in order, read a shard at a time."""
    for begin in range(0, frames.shape[0], frames.shards[0]):
        yield from frames[begin : begin + frames.shards[0]]


def _arrays(group: zarr.Group, form: Form, length: int) -> tuple[FrameWriter, FrameWriter]:
    height, width = form.shape
    shard = shard_frames(form.frame_bytes)
    bits = add_frames_array(
        group,
        "difference",
        dtype=np.bool_,
        length=length,
        frame_shape=form.shape,
        shard=shard,
        encoding=packed_bits(),
        attributes={"long_name": "rose by more than the threshold"},
    )
    rises = add_frames_array(
        group,
        "rise",
        dtype=form.dtype,
        length=length,
        frame_shape=(-(-height // RISE_BLOCK_PX), -(-width // RISE_BLOCK_PX)),
        dims=("block_y", "block_x"),
        shard=shard,
        attributes={
            "long_name": f"largest rise in each block of {RISE_BLOCK_PX} x {RISE_BLOCK_PX} pixels",
            "units": "1",
        },
    )
    return bits, rises


_SERIES: Sequence[tuple[str, str, dict[str, str]]] = (
    ("time", "int64", TIME_ATTRIBUTES),
    ("exposure_s", "float32", {"long_name": "length of the exposure", "units": "s"}),
    ("key", "str", {"long_name": "object key in the archive"}),
    ("digest", "str", {"long_name": "BLAKE3 digest of the file"}),
    ("gap_s", "float32", {"long_name": "time since the start of the frame before", "units": "s"}),
    ("reason", "str", {"long_name": "why no pair could be made, empty where one was"}),
    ("threshold", "float32", {"long_name": "rise above which a pixel is set, gray levels", "units": "1"}),
    ("noise", "float32", {"long_name": "robust deviation of a pixel's change, gray levels", "units": "1"}),
    ("sky_brightness", "float32", {"long_name": "median gray level of the frame", "units": "1"}),
    ("sun_altitude_deg", "float32", {"long_name": "altitude of the Sun", "units": "degree"}),
)


def _add_all_series(group: zarr.Group, entries: Sequence[_Entry]) -> None:
    for name, dtype, attributes in _SERIES:
        values = [getattr(entry, name) for entry in entries]
        add_series(group, name, values, attributes, str if dtype == "str" else dtype)
    usable = [not entry.reason for entry in entries]
    previous = [i - 1 if paired else -1 for i, paired in enumerate(usable)]
    add_series(group, "usable", usable, {"long_name": "whether a pair could be made"}, "bool")
    label = {"long_name": "index of the frame subtracted, -1 for none"}
    add_series(group, "previous", previous, label, "int32")


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
