"""What a pair of frames comes to, as fast as one core reads them.

Exactly the numbers of the plain definitions, which are in the tests: saturating subtraction, comparison,
packed bits, block maxima, and percentiles of a subsample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8] | NDArray[np.uint16]
Sky = NDArray[np.bool_]

RISE_BLOCK_PX = 16
SAMPLE_STEP = 4  # noise and brightness are measured on every fourth row and column
_STRIP_BYTES = 192 * 1024  # what is worked on at once has to stay in the core's cache
_CENTRAL = (0.158655, 0.841345)  # one standard deviation to each side of a normal distribution's centre
_BRIM = np.ones((1, RISE_BLOCK_PX), np.uint8)


@dataclass(frozen=True, eq=False)
class Risen:
    """What became brighter from one frame to the next.

    Attributes
    ----------
    bits
        Pixels that rose by more than the threshold, row by row, eight a byte, the first in the highest bit;
        behind a byte that tells how many bits at the end are padding. This is numcodecs' ``packbits``.
    blocks
        (block_y, block_x) largest rise of each block of 16 x 16 pixels; those at the right and lower edge may
        be smaller.
    """

    bits: NDArray[np.uint8]
    blocks: Frame


def risen(current: Frame, previous: Frame, threshold: float, sky: Sky | None = None) -> Risen:
    """Subtract, saturating at 0, and tell what rose by more than ``threshold``.

    Parameters
    ----------
    current, previous
        (y, x) frames of one dtype, uint8 or uint16, C-contiguous.
    threshold
        Gray levels, of which the integer part counts.
    sky
        (y, x) where the frames show the sky; elsewhere nothing rises. Everywhere if None.
    """
    height, width = current.shape
    level = math.floor(threshold)
    packed = np.empty(1 + -(-height * width // 8), np.uint8)
    packed[0] = -height * width % 8
    maxima = np.empty((-(-height // RISE_BLOCK_PX), width), current.dtype)
    step = RISE_BLOCK_PX * max(1, _STRIP_BYTES // (RISE_BLOCK_PX * width * current.itemsize))
    for top in range(0, height, step):
        rows = slice(top, top + step)
        rise = cv2.subtract(current[rows], previous[rows])
        if sky is not None:
            rise *= sky[rows]
        bits = np.packbits(rise > level)
        begin = 1 + top * width // 8  # whole bytes: a strip is a multiple of 16 rows
        packed[begin : begin + len(bits)] = bits
        _row_maxima(rise, maxima[top // RISE_BLOCK_PX :])
    return Risen(packed, _column_maxima(maxima))


def _row_maxima(rise: Frame, out: Frame) -> None:
    whole = len(rise) // RISE_BLOCK_PX
    blocks = rise[: whole * RISE_BLOCK_PX].reshape(whole, RISE_BLOCK_PX, rise.shape[1])
    np.maximum.reduce(blocks, axis=1, out=out[:whole])
    if whole * RISE_BLOCK_PX < len(rise):
        np.maximum.reduce(rise[whole * RISE_BLOCK_PX :], axis=0, out=out[whole])


def _column_maxima(rows: Frame) -> Frame:
    # A dilation to the right: OpenCV's is six times as fast as a reduction along the last axis.
    ahead: Frame = cv2.dilate(rows, _BRIM, anchor=(0, 0))
    return ahead[:, ::RISE_BLOCK_PX].copy()


@dataclass(frozen=True, eq=False)
class Sample:
    """Every fourth pixel of every fourth row of a frame, those of the sky counted.

    Where none of these shows the sky, all pixels of the frame are taken.
    """

    levels: Frame
    counted: NDArray[np.uint8] | None

    @classmethod
    def of(cls, frame: Frame, sky: Sky | None = None) -> Sample:
        """Take the sample of a (y, x) frame."""
        thinned = frame[::SAMPLE_STEP, ::SAMPLE_STEP].copy()
        if sky is None:
            return cls(thinned, None)
        counted = sky[::SAMPLE_STEP, ::SAMPLE_STEP].copy().view(np.uint8)
        return cls(thinned, counted) if counted.any() else cls(frame, sky.view(np.uint8))

    def median(self) -> float:
        """Median gray level."""
        below = np.cumsum(_histogram(self.levels, self.counted))
        total = int(below[-1])
        low, high = np.searchsorted(below, ((total - 1) // 2, total // 2), side="right")
        return float(low + high) / 2

    def noise(self, previous: Sample) -> float:
        """Standard deviation of a pixel's change since ``previous``, in gray levels.

        Robust against sky events: half the width of the central 68.27 % of the changes, interpolated between
        gray levels.
        """
        if self.levels.dtype == np.uint8:
            central = _central_of_bytes(self, previous)
            if central is not None:
                return (central[1] - central[0]) / 2
        change = self.levels.astype(np.int32) - previous.levels
        if self.counted is not None:
            change = change[self.counted.view(bool)]
        least = int(change.min())
        low, high = _central(np.bincount(change.ravel() - least), least)
        return (high - low) / 2


def _central_of_bytes(current: Sample, previous: Sample) -> tuple[float, float] | None:
    """As `_central`, from changes cut to -128 and 127; None where the cut ones would matter."""
    change = cv2.addWeighted(current.levels, 1, previous.levels, -1, 128)
    counts = _histogram(change, current.counted)
    low, high = _central(counts, -128)
    uncut = np.flatnonzero(counts[1:-1]) - 127
    exact = len(uncut) > 0 and uncut[0] <= low and high <= uncut[-1]
    return (low, high) if exact else None


def _central(counts: NDArray[Any], least: int) -> tuple[float, float]:
    """Between which levels the central 68.27 % lie; ``counts[i]`` values are of level ``least + i``."""
    levels = np.flatnonzero(counts)
    present = counts[levels]
    cumulative = np.cumsum(present)
    shares = (cumulative - present / 2) / cumulative[-1]
    low, high = np.interp(_CENTRAL, shares, levels + least)
    return float(low), float(high)


def _histogram(levels: Frame, counted: NDArray[np.uint8] | None) -> NDArray[np.int64]:
    if levels.dtype == np.uint8 and levels.size < 2**24:  # OpenCV counts in float32
        found: NDArray[np.float32] = cv2.calcHist([levels], [0], counted, [256], [0, 256])
        return found.ravel().astype(np.int64)
    taken = levels if counted is None else levels[counted.view(bool)]
    return np.bincount(taken.ravel())
