"""Light added to an image with sub-pixel care: points, trails and soft patches."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nightsift.archive.simulator.cameras import Floats

_STEPS = 4


@lru_cache(maxsize=64)
def point_spread(sigma_px: float, halo: bool) -> Floats:
    """Images of a point of unit light at quarter-pixel offsets, (4, 4, size, size).

    With ``halo`` a twelfth of the light falls into wide wings, which show around bright objects.
    """
    reach = int(np.ceil((7.0 if halo else 2.6) * sigma_px))
    offsets = np.arange(-reach, reach + 1)[None] - np.arange(_STEPS)[:, None] / _STEPS
    core, wings = (np.exp(-0.5 * (offsets / sigma) ** 2) for sigma in (sigma_px, 2.7 * sigma_px))
    patches = [np.einsum("ai,bj->abij", part, part) for part in (core, wings)]
    unit = [patch / patch.sum(axis=(2, 3), keepdims=True) for patch in patches]
    return np.asarray(unit[0] * 11 / 12 + unit[1] / 12 if halo else unit[0], np.float32)


def add_points(image: Floats, x_px: Floats, y_px: Floats, light: Floats, spread: Floats) -> None:
    """Add points of light to a contiguous image in place; what falls outside is lost.

    ``light`` is the sum of the gray levels that a point adds, ``spread`` from `point_spread`.
    """
    height, width = image.shape
    reach = spread.shape[2] // 2
    column, shift_x = np.divmod(np.rint(x_px * _STEPS).astype(np.int64), _STEPS)
    row, shift_y = np.divmod(np.rint(y_px * _STEPS).astype(np.int64), _STEPS)
    step = np.arange(-reach, reach + 1)
    rows = row[:, None, None] + step[:, None]
    columns = column[:, None, None] + step
    patches = spread[shift_y, shift_x] * light[:, None, None].astype(np.float32)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    places = (rows * width + columns)[inside]
    np.add.at(image.reshape(-1), places, patches[inside])


def add_patch(image: Floats, patch: Floats, left: int, top: int) -> None:
    """Add a small image to a larger one in place; what falls outside is lost."""
    height, width = image.shape
    rows = slice(max(top, 0), min(top + patch.shape[0], height))
    columns = slice(max(left, 0), min(left + patch.shape[1], width))
    if rows.start < rows.stop and columns.start < columns.stop:
        image[rows, columns] += patch[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]


def blob(radius_px: float, sharpness: float) -> Floats:
    """A soft disc of height 1; ``sharpness`` 2 is a Gaussian, more has a flatter top."""
    reach = int(3 * radius_px) + 2
    row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(np.exp(-0.5 * (np.hypot(row, column) / radius_px) ** sharpness), np.float32)
