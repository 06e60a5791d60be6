"""What a station might exclude, found in some of its frames: captions and the edge of the image circle.

Both are proposals for a person to accept into ``stations.toml``; nothing is excluded because of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nightsift.archive.stations import Box, Circle

Frame = NDArray[np.uint8] | NDArray[np.uint16]
Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

_LEAST_FRAMES = 3
_LEAST_PX = 64

# A caption: dense strokes that change in place, in a band along the upper or lower border.
_MARGIN = 0.12  # of the height
_HEIGHT = 0.15  # of the frame's, for all lines of a caption together
_CHANGE_LEVELS = 16
_CHANGE_SHARE = 0.25  # of consecutive frames
_STROKES_SHARE = 0.28  # of the box of a line of glyphs that change
_COLUMNS_SHARE = 0.5
_LABEL_SHARE = 0.4  # of the frames that show a label that does not change

# An image circle, on frames shrunk to about 320 columns.
_COLUMNS = 320
_RAYS = 360
_LIT_SHARE = 0.04  # of the way from the black corners to the sky
_TRIALS = 400
_INLIERS = 0.6
_SECTORS = 10  # of 36 that the edge has to be seen in
_LIT_OUTSIDE = 0.2


def find_captions(frames: Sequence[Frame]) -> tuple[Box, ...]:
    """Boxes of burned-in dates, times and settings.

    Parameters
    ----------
    frames
        (y, x) uint8 frames of one station and one size, at different times; 3 at least, better 12.

    Returns
    -------
    tuple of (x0, y0, x1, y1)
        Empty where nothing changes like letters do, or where the letters are too faint: they have to rise 16
        levels above what surrounds them, and 6.5 times as high as what is usual there.

    Notes
    -----
    Letters are thinner than the morphological top hats of the frame leave; unlike stars they change in one
    place from frame to frame, and unlike leaves they fill a box.
    """
    if len(frames) < _LEAST_FRAMES or min(frames[0].shape) < _LEAST_PX or frames[0].dtype != np.uint8:
        return ()
    size = 2 * round(frames[0].shape[0] / 320) + 3
    strokes = np.stack([_strokes(frame, size) for frame in frames])
    usual = max(12.0, 5 * float(np.median(strokes)))
    changing = _changing(strokes, max(_CHANGE_LEVELS, 1.3 * usual))
    found: list[Box] = []
    for line in _changing_lines(changing, size):
        if not any(_joined(box, line) == box for box in found):
            x0, y0, x1, y1 = line
            highest = strokes[:, y0:y1, x0:x1].max(axis=0)
            ink = float(np.median(highest[changing[y0:y1, x0:x1]]))
            shown = (strokes > max(usual, ink / 3)).mean(axis=0) >= _LABEL_SHARE
            found.append(_with_labels(line, shown | changing, size))
    return tuple(found)


def _strokes(frame: Frame, size: int) -> NDArray[np.int16]:
    """How far thin structures stand out, bright or dark."""
    kernel = np.ones((size, size), np.uint8)
    wide = cv2.copyMakeBorder(frame, size, size, size, size, cv2.BORDER_REPLICATE)
    hats = [cv2.morphologyEx(wide, how, kernel) for how in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)]
    return np.asarray(np.maximum(*hats)[size:-size, size:-size], np.int16)


def _changing(strokes: NDArray[np.int16], levels: float) -> Mask:
    changes = [
        np.abs(one - other) > levels for one, other in zip(strokes, np.roll(strokes, 1, 0), strict=True)
    ]
    share = max(_CHANGE_SHARE, 1.9 / len(strokes))
    return np.asarray(np.mean(changes, axis=0) >= share)


def _changing_lines(changing: Mask, size: int) -> list[Box]:
    """Boxes that changing strokes fill, the fullest first."""
    lines = []
    for box, strokes in _components(changing, size):
        wide, high = box[2] - box[0], box[3] - box[1]
        lies_at_border = min(box[1], len(changing) - box[3]) <= _MARGIN * len(changing)
        is_line = wide >= max(3 * size, 1.5 * high) and 3 <= high <= _HEIGHT * len(changing)
        is_full = strokes.mean() >= _STROKES_SHARE and strokes.any(axis=0).mean() >= _COLUMNS_SHARE
        if lies_at_border and is_line and is_full:
            lines.append((int(strokes.sum()), box))
    return [box for _, box in sorted(lines, reverse=True)]


def _components(mask: Mask, size: int) -> list[tuple[Box, Mask]]:
    """Boxes of what hangs together when gaps between letters are closed, and the mask inside them."""
    wide = cv2.copyMakeBorder(mask.astype(np.uint8), size, size, 3 * size, 3 * size, cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, np.ones((size, 3 * size), np.uint8))
    inner = np.ascontiguousarray(closed[size:-size, 3 * size : -3 * size])
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(inner)
    found = []
    for label, (x, y, wide_px, high_px, _) in enumerate(boxes[1:].tolist(), 1):
        inside = slice(y, y + high_px), slice(x, x + wide_px)
        found.append(((x, y, x + wide_px, y + high_px), mask[inside] & (labels[inside] == label)))
    return found


def _with_labels(line: Box, shown: Mask, size: int) -> Box:
    """A line with the letters beside, above and below it, and a little room."""
    height, width = shown.shape
    reach = max(line[3] - line[1], size)
    others = [
        box for box, strokes in _components(shown, size) if _is_label(box, strokes, reach, size, height)
    ]
    box, before = line, None
    while box != before:
        before = box
        for other in others:
            if _is_near(box, other, 2 * reach, reach):
                box = _joined(box, other)
    room = max(2, size // 2)
    return max(0, box[0] - room), max(0, box[1] - room), min(width, box[2] + room), min(height, box[3] + room)


def _is_label(box: Box, strokes: Mask, reach: int, size: int, height: int) -> bool:
    wide, high = box[2] - box[0], box[3] - box[1]
    full = 0.2 if high <= 2.2 * reach else 0.3
    return bool(
        wide >= 2 * size
        and high <= 0.1 * height
        and min(box[1], height - box[3]) <= 0.2 * height
        and strokes.sum() >= 3 * size
        and strokes.mean() >= full
    )


def _is_near(box: Box, other: Box, across: int, down: int) -> bool:
    return (
        box[0] - across < other[2]
        and other[0] - across < box[2]
        and box[1] - down < other[3]
        and other[1] - down < box[3]
    )


def _joined(box: Box, other: Box) -> Box:
    return min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3])


def find_circle(frames: Sequence[Frame]) -> Circle | None:
    """The image circle of an all-sky lens, outside of which the sensor sees nothing.

    Parameters
    ----------
    frames
        (y, x) frames of one station and one size, at different times; 3 at least, better 12.

    Returns
    -------
    (x, y, r) in pixels, or None
        None where the corners are not black, or what is lit inside them does not end in a circle.

    Notes
    -----
    The outermost lit pixels along rays from the middle of what is lit; a circle through three of them with
    the most others within 1.2 % of the height (Fischler & Bolles 1981, RANSAC), then least squares. Found
    within 1 % of the true radius on simulated cameras with lit frames.
    """
    if len(frames) < _LEAST_FRAMES or min(frames[0].shape) < _LEAST_PX:
        return None
    factor = max(1.0, frames[0].shape[1] / _COLUMNS)
    lit = _lit(frames, factor)
    circle = None if lit is None else _circle_around(lit)
    if circle is None:
        return None
    x, y, radius = circle
    return round((x + 0.5) * factor - 0.5, 1), round((y + 0.5) * factor - 0.5, 1), round(radius * factor, 1)


def _lit(frames: Sequence[Frame], factor: float) -> Mask | None:
    """What is brighter than the black corners; None where they are not black."""
    size = round(frames[0].shape[1] / factor), round(frames[0].shape[0] / factor)
    shrunk = [cv2.medianBlur(cv2.resize(f, size, interpolation=cv2.INTER_AREA), 3) for f in frames]
    level = np.percentile(shrunk, 75, axis=0)
    height = len(level)
    side, inner = max(3, round(0.04 * height)), slice(height // 4, -(height // 4))
    corners = np.stack([level[y, x] for y in _ends(side) for x in _ends(side)]).reshape(4, -1)
    black, sky = np.median(corners), np.median(level[inner, level.shape[1] // 4 : -(level.shape[1] // 4)])
    noise = 1.48 * np.median(np.abs(corners - np.median(corners, axis=1, keepdims=True)))
    deep = 257 if frames[0].dtype == np.uint16 else 1
    if sky - black < 6 * deep or (np.median(corners, axis=1) > 0.4 * sky).sum() > 1:
        return None
    lit = level - black > max(2.0 * deep, 5 * noise, _LIT_SHARE * (sky - black))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(lit.astype(np.uint8))
    return np.asarray(labels == 1 + np.argmax(boxes[1:, 4])) if len(boxes) > 1 else None


def _ends(side: int) -> tuple[slice, slice]:
    return slice(None, side), slice(-side, None)


def _circle_around(lit: Mask) -> Circle | None:
    """The circle that ends what is lit; None where there is none."""
    edge = _edge(lit)
    circle = _circle_through(edge, len(lit)) if len(edge) >= _RAYS / 6 else None
    return circle if circle is not None and _ends_there(lit, edge, circle) else None


def _edge(lit: Mask) -> Floats:
    """Outermost lit places (n, 2) as x and y, along the rays on which they lie inside the frame."""
    height, width = lit.shape
    y, x = (float(place.mean()) for place in np.nonzero(lit))
    angles = np.linspace(0, 2 * np.pi, _RAYS, endpoint=False)
    steps = np.arange(np.hypot(height, width))
    columns = np.rint(x + np.outer(np.cos(angles), steps)).astype(int)
    rows = np.rint(y + np.outer(np.sin(angles), steps)).astype(int)
    within = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    seen = lit[rows.clip(0, height - 1), columns.clip(0, width - 1)] & within
    last = seen.shape[1] - 1 - seen[:, ::-1].argmax(axis=1)
    ends = np.stack([columns, rows], -1)[np.arange(_RAYS), last].astype(float)
    inside = (ends > 1).all(axis=1) & (ends < (width - 2, height - 2)).all(axis=1) & seen.any(axis=1)
    return np.asarray(ends[inside])


def _circle_through(edge: Floats, height: int) -> Circle | None:
    rng = np.random.default_rng(0)
    near: Mask = np.zeros(len(edge), bool)
    for _ in range(_TRIALS):
        circle = _fitted(edge[rng.choice(len(edge), 3, replace=False)])
        if circle is not None and 0.3 * height < circle[2] < 1.2 * height:
            found = _near_circle(edge, circle, height)
            near = found if found.sum() > near.sum() else near
    if near.sum() < 3:
        return None
    for _ in range(3):
        circle = _fitted(edge[near])
        if circle is None:
            return None
        near = _near_circle(edge, circle, height)
    return circle


def _fitted(points: Floats) -> Circle | None:
    """The circle of least squares in x² + y² (Kåsa 1976); None for points on a line."""
    design = np.column_stack([2 * points, np.ones(len(points))])
    solution, _, rank, _ = np.linalg.lstsq(design, (points**2).sum(axis=1))
    square = solution[2] + solution[0] ** 2 + solution[1] ** 2
    if rank < 3 or square <= 0:
        return None
    return float(solution[0]), float(solution[1]), float(np.sqrt(square))


def _near_circle(edge: Floats, circle: Circle, height: int) -> Mask:
    x, y, radius = circle
    off = np.abs(np.hypot(edge[:, 0] - x, edge[:, 1] - y) - radius)
    return np.asarray(off < max(1.0, 0.012 * height))


def _ends_there(lit: Mask, edge: Floats, circle: Circle) -> bool:
    """Whether the circle is what ends the light: the edge lies on it, all around, and it is dark outside."""
    x, y, radius = circle
    near = _near_circle(edge, circle, len(lit))
    sectors = np.degrees(np.arctan2(edge[near, 1] - y, edge[near, 0] - x)) // 10
    rows, columns = np.ogrid[: lit.shape[0], : lit.shape[1]]
    outside = (columns - x) ** 2 + (rows - y) ** 2 > (1.03 * radius) ** 2
    return bool(
        near.mean() >= _INLIERS
        and len(np.unique(sectors)) >= _SECTORS
        and outside.mean() > 0.02
        and lit[outside].mean() < _LIT_OUTSIDE
    )
