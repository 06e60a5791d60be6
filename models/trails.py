"""Line fit on the full-size difference: where a trail begins and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

Floats = NDArray[np.float64]
Difference = NDArray[np.bool_]

_ANGLES: Final = np.arange(64) * np.pi / 64
_DIRECTIONS: Final = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])
_CELLS: Final = 32
# In deviations: of a line among all lines of a window, and of a stretch of it.
_LEAST_VOTES: Final = 5.0
_LEAST_STRETCH: Final = 6.0
_LEAST_LENGTH_PX: Final = 5.0
# Distances from the line, in pixels, at which the trail itself and its surroundings are read.
_ACROSS: Final = np.arange(-8, 9)
_CORE: Final = np.abs(_ACROSS) <= 1
_NEAR: Final = np.abs(_ACROSS) <= 4
_SIDES: Final = np.abs(_ACROSS) >= 6


@dataclass(frozen=True)
class Trail:
    """A straight trail in pixels of the original frame, pixel centres at integers.

    A still does not tell the direction of flight: the beginning is the end with the smaller x (with the
    smaller y if both are equal).
    """

    x_begin_px: float
    y_begin_px: float
    x_end_px: float
    y_end_px: float
    length_px: float


@dataclass(frozen=True)
class _Line:
    # A point on the line and the unit vector along it, as (x, y).
    point: Floats
    along: Floats

    @property
    def across(self) -> Floats:
        return np.array([-self.along[1], self.along[0]])


def fit_trail(difference: Difference, x_px: float, y_px: float, region: NDArray[np.floating]) -> Trail | None:
    """Find the straight, elongated set of True pixels near a position.

    The Hough transform (Duda and Hart 1972) of ever larger windows, each line counted against the lines
    beside it, gives the first line that stands out of the noise. The trail is the stretch of it, next to
    the window, that is denser than halfway between trail and surroundings; least squares across the
    stretch turn the line, and its ends are read anew.

    Parameters
    ----------
    difference
        Boolean, (height, width), at the frame's own size.
    x_px, y_px
        Where the trail is expected.
    region
        x0, y0, x1, y1 of the region in which the trail was seen: the last window.

    Returns
    -------
    Trail or None
        None if nothing line-like stands out, or the position is not finite.
    """
    if not np.isfinite([x_px, y_px, *region]).all():
        return None
    for centre, half in _windows(difference.shape[1], x_px, y_px, region):
        line = _strongest_line(difference, centre, half)
        if line and (trail := _follow(difference, line, 1.5 * half)):
            return trail
    return None


def _windows(
    width: int, x_px: float, y_px: float, region: NDArray[np.floating]
) -> Iterator[tuple[Floats, int]]:
    half = max(16, round(0.03 * width))
    for enlarged in (half, 2 * half, 4 * half):
        yield np.array([x_px, y_px]), enlarged
    x0, y0, x1, y1 = (float(edge) for edge in region)
    yield np.array([(x0 + x1) / 2, (y0 + y1) / 2]), max(half, round(max(x1 - x0, y1 - y0) / 2))


def _strongest_line(difference: Difference, centre: Floats, half: int) -> _Line | None:
    # Windows larger than 2 * _CELLS pixels are read in square cells, so that each costs the same.
    cell = max(1, round(half / _CELLS))
    corner = np.maximum(np.rint(centre).astype(int) - half, 0)
    stop = np.rint(centre).astype(int) + half + 1
    window = difference[corner[1] : stop[1], corner[0] : stop[0]]
    if min(window.shape) < 8 * cell:
        return None
    counts = _count_cells(window, cell)
    votes, origin = _votes(counts)
    index = _most_significant(votes)
    if index is None:
        return None
    angle, offset = index
    normal = _DIRECTIONS[:, angle].astype(np.float64)
    middle = (np.array(counts.shape[::-1]) - 1) / 2
    # The point of the line that is nearest to the middle of the window.
    nearest = middle + (offset - origin - normal @ middle) * normal
    point = corner + (nearest + 0.5) * cell - 0.5
    return _Line(point, np.array([-normal[1], normal[0]]))


def _count_cells(window: Difference, cell: int) -> NDArray[np.float32]:
    height, width = window.shape[0] // cell, window.shape[1] // cell
    gray = window[: height * cell, : width * cell].view(np.uint8)
    if cell == 1:
        return gray.astype(np.float32)
    size = (width, height)
    area = cv2.resize(gray.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(area * cell**2, np.float32)


def _votes(counts: NDArray[np.float32]) -> tuple[Floats, int]:
    # Votes (angles, offsets); a line has the offset normal . (x, y) + origin in cells.
    rows, columns = np.nonzero(counts)
    origin = counts.shape[1] + 12
    bins = origin + sum(counts.shape) + 24
    # Not a matrix product: its last bits, and with them the bins, would depend on the number of threads.
    across = columns[:, None] * _DIRECTIONS[0] + rows[:, None] * _DIRECTIONS[1]
    offsets = np.rint(across).astype(np.int64) + origin
    flat = offsets + np.arange(len(_ANGLES)) * bins
    weights = np.repeat(counts[rows, columns], len(_ANGLES))
    votes = np.bincount(flat.ravel(), weights, minlength=len(_ANGLES) * bins)
    return np.asarray(votes, np.float64).reshape(len(_ANGLES), bins), origin


def _most_significant(votes: Floats) -> tuple[int, int] | None:
    # A band of 3 offsets against the stronger of two such bands beside it, so that neither the edge of a
    # cloud nor that of the window counts as a line.
    three = votes[:, :-2] + votes[:, 1:-1] + votes[:, 2:]
    core, beside = three[:, 6:-6], np.maximum(three[:, :-12], three[:, 12:])
    excess = (core - beside) / np.sqrt(2 * beside + 1)
    # The noise of clouds and of JPEG blocks is clustered: measured, not assumed.
    occupied = excess[core + beside > 0]
    typical = float(np.median(occupied)) if occupied.size else 0.0
    spread = 1.48 * float(np.median(np.abs(occupied - typical))) if occupied.size else 1.0
    best = int(excess.argmax())
    if excess.flat[best] - typical < _LEAST_VOTES * max(spread, 1.0):
        return None
    angle, offset = divmod(best, excess.shape[1])
    return angle, offset + 7


def _follow(difference: Difference, line: _Line, reach_px: float) -> Trail | None:
    for _ in range(3):
        reach, samples = _sample(difference, line)
        begin, end, significance = _stretch(reach, samples, reach_px)
        if end - begin < _LEAST_LENGTH_PX or significance < _LEAST_STRETCH:
            return None
        inside = (reach >= begin) & (reach <= end)
        line = _turn(line, reach[inside], samples[inside])
    return _trail(line, begin, end)


def _sample(difference: Difference, line: _Line) -> tuple[Floats, Floats]:
    # The difference read along the line (rows) and across it (columns); outside the frame it is False.
    size = np.array(difference.shape[::-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = (np.array([np.zeros(2), size - 1]) - line.point) / line.along
    first, last = np.ceil(np.nanmax(crossings.min(0))), np.floor(np.nanmin(crossings.max(0)))
    reach = np.arange(first, last + 1)
    origin = line.point + first * line.along + _ACROSS[0] * line.across
    matrix = np.column_stack([line.across, line.along, origin])
    strip = cv2.warpAffine(
        difference.view(np.uint8),
        matrix,
        (len(_ACROSS), max(1, len(reach))),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
    )
    return reach, strip[: len(reach)].astype(np.float64)


def _stretch(reach: Floats, samples: Floats, reach_px: float) -> tuple[float, float, float]:
    # Begin and end along the line, and by how many deviations the stretch exceeds its surroundings.
    if not len(reach):
        return 0.0, 0.0, 0.0
    core = samples[:, _CORE].max(1)
    around = uniform_filter1d(samples[:, _SIDES].mean(1), 31, mode="nearest")
    noise = 1 - (1 - around) ** _CORE.sum()
    middle = _densest(core - noise, reach, reach_px)
    begin, end, level = middle, middle, 0.5
    for _ in range(2):
        gain = core - noise - level * (1 - noise)
        end = middle + int(gain[middle:].cumsum().argmax())
        begin = middle - int(gain[middle::-1].cumsum().argmax())
        inside = slice(begin, end + 1)
        filled = (core - noise)[inside].sum() / max((1 - noise)[inside].sum(), 1e-9)
        level = float(np.clip(filled / 2, 0.2, 0.5))
    inside = slice(begin, end + 1)
    significance = (core - noise)[inside].sum() / np.sqrt((noise * (1 - noise))[inside].sum() + 1)
    return float(reach[begin]), float(reach[end]), float(significance)


def _densest(excess: Floats, reach: Floats, reach_px: float) -> int:
    # What lies on the same line beyond the window may be another object.
    smooth = uniform_filter1d(excess, 9, mode="nearest") - 1e-4 * np.abs(reach)
    return int(np.where(np.abs(reach) <= reach_px, smooth, -np.inf).argmax())


def _turn(line: _Line, reach: Floats, samples: Floats) -> _Line:
    rows, columns = np.nonzero(samples[:, _NEAR])
    along, across = reach[rows], _ACROSS[_NEAR][columns]
    # Least squares in closed form: a solver's last bits would depend on the number of threads.
    centred = along - along.mean()
    slope = float((centred * across).sum() / max((centred**2).sum(), 1e-9))
    shift = float(across.mean() - slope * along.mean())
    direction = line.along + slope * line.across
    return _Line(line.point + shift * line.across, direction / np.hypot(*direction))


def _trail(line: _Line, begin: float, end: float) -> Trail:
    ends = sorted((line.point + reach * line.along).tolist() for reach in (begin, end))
    (x0, y0), (x1, y1) = ends
    return Trail(x0, y0, x1, y1, float(np.hypot(x1 - x0, y1 - y0)))
