"""Time maps: where a trail was at each short exposure behind a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import theilslopes

from nightsift.archive.formats import Levels

Floats = NDArray[np.float64]

BACKGROUND_BIN_PX = 32
MAX_MISSING = 2  # short exposures in a row at which a trail may be too faint


@dataclass(frozen=True)
class TrailPosition:
    """Where a trail was brightest during one short exposure.

    Attributes
    ----------
    index
        Number of the short exposure within the frame.
    x_px, y_px
        Centroid; pixel centres at integers, origin top left.
    level
        Gray levels above the background, summed over ``pixels``.
    """

    index: int
    x_px: float
    y_px: float
    level: float
    pixels: int


@dataclass(frozen=True)
class _Strip:
    """Pixels around a trail; ``along_px`` from its begin, ``across_px`` from its line."""

    x: NDArray[np.intp]
    y: NDArray[np.intp]
    along_px: Floats
    across_px: Floats


def trail_positions(
    maximum: Levels,
    timemap: Levels,
    begin_px: tuple[float, float],
    end_px: tuple[float, float],
    *,
    half_width_px: float = 8.0,
    sigmas: float = 4.0,
    min_pixels: int = 3,
) -> tuple[TrailPosition, ...]:
    """Positions of a known trail, one per short exposure.

    Parameters
    ----------
    maximum, timemap
        (y, x) levels, and the short exposure at which each pixel reached its level.
    begin_px, end_px
        (x, y) of the ends of the trail, good to a few pixels.
    half_width_px
        The trail lies within this distance of its line, the background in the same distance around that.
    sigmas
        Pixels count that stand out of the background by this many deviations.
    min_pixels
        An index of fewer such pixels gives no position.

    Returns
    -------
    tuple of TrailPosition
        By rising index; empty where nothing stands out.

    Notes
    -----
    The centroid is weighted with the level above the background, over the pixels whose maximum belongs to
    the index: as the meteor moves on, each pixel of its path keeps the exposure at which it was brightest
    there. Background and deviation are the median and the median absolute deviation of the strips on both
    sides, in steps of `BACKGROUND_BIN_PX` along the trail. A star or a noisy pixel inside the strip reached
    its maximum at an index of its own: only the run of indices that holds the most light is given, within it
    only positions that fit a steady motion (Theil-Sen), and within an index the pixels around its median.
    """
    strip = _strip(maximum.shape, begin_px, end_px, 2 * half_width_px)
    excess, deviation = _above_background(maximum[strip.y, strip.x].astype(float), strip, half_width_px)
    bright = (np.abs(strip.across_px) <= half_width_px) & (excess > sigmas * deviation)
    index = timemap[strip.y, strip.x].astype(int)
    found = [
        _position(int(number), bright & (index == number), strip, excess, half_width_px)
        for number in np.unique(index[bright])
    ]
    run = _run_of_most_light([position for position in found if position.pixels >= min_pixels])
    return tuple(_in_motion(run, 3 * half_width_px))


def _strip(
    shape: tuple[int, ...], begin_px: tuple[float, float], end_px: tuple[float, float], reach_px: float
) -> _Strip:
    """Pixels within ``reach_px`` of a segment, measured along and across it."""
    begin, end = np.array(begin_px, float), np.array(end_px, float)
    length = float(np.hypot(*(end - begin)))
    direction = (end - begin) / length if length else np.array([1.0, 0.0])
    low = np.maximum(np.floor(np.minimum(begin, end) - reach_px), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(begin, end) + reach_px) + 1, (shape[1], shape[0])).astype(int)
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])))
    along = (x - begin[0]) * direction[0] + (y - begin[1]) * direction[1]
    across = (y - begin[1]) * direction[0] - (x - begin[0]) * direction[1]
    inside = (np.abs(across) <= reach_px) & (along >= -reach_px) & (along <= length + reach_px)
    return _Strip(x[inside], y[inside], along[inside], across[inside])


def _above_background(levels: Floats, strip: _Strip, half_width_px: float) -> tuple[Floats, float]:
    """Levels less the background beside the trail, and the background's deviation."""
    side = np.abs(strip.across_px) > half_width_px
    if not side.any():
        return levels, np.inf
    bins = np.floor(strip.along_px[side] / BACKGROUND_BIN_PX)
    numbers = np.unique(bins)
    medians = [np.median(levels[side][bins == number]) for number in numbers]
    background: Any = np.interp(strip.along_px, (numbers + 0.5) * BACKGROUND_BIN_PX, medians)
    excess = levels - background
    deviation = 1.4826 * float(np.median(np.abs(excess[side])))
    return excess, max(deviation, 0.5)  # below it quantisation is the noise


def _position(
    index: int, chosen: NDArray[np.bool_], strip: _Strip, excess: Floats, half_width_px: float
) -> TrailPosition:
    middle = _weighted_median(strip.along_px[chosen], excess[chosen])
    near = chosen & (np.abs(strip.along_px - middle) <= 3 * half_width_px)
    weight = excess[near]
    total = float(weight.sum())
    x_px, y_px = (float((axis[near] * weight).sum()) / total for axis in (strip.x, strip.y))
    return TrailPosition(index, x_px, y_px, total, int(near.sum()))


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def _run_of_most_light(found: list[TrailPosition]) -> list[TrailPosition]:
    runs: list[list[TrailPosition]] = []
    for position in found:
        if not runs or position.index - runs[-1][-1].index > MAX_MISSING + 1:
            runs.append([])
        runs[-1].append(position)
    return max(runs, key=lambda run: sum(position.level for position in run), default=[])


def _in_motion(run: list[TrailPosition], tolerance_px: float) -> list[TrailPosition]:
    """Positions near the line of median slope; an eighth of the path is left to deceleration."""
    if len(run) < 3:
        return run
    index = np.array([position.index for position in run])
    place = np.array([(position.x_px, position.y_px) for position in run])
    fits = [theilslopes(axis, index) for axis in place.T]
    path = np.stack([fit.intercept + fit.slope * index for fit in fits], axis=1)
    allowed = max(tolerance_px, float(np.hypot(*(path[-1] - path[0]))) / 8)
    near = np.hypot(*(place - path).T) <= allowed
    return [position for position, kept in zip(run, near, strict=True) if kept]
