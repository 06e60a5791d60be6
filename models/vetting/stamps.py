"""Stamps: the same small window in the frames before, during and after a candidate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from nightsift.archive.formats import Levels

Floats = NDArray[np.float32]

STEP_COLUMNS: Final = 4
_CODE: Final = 16.0  # codes per unit of asinh(deviations)
_LEAST_NOISE: Final = 0.2  # of rounding to whole gray levels
_BACKGROUND: Final = 10.0  # a stamp is so many times as wide as the deviation of the blur


class StampRecipe(BaseModel):
    """Which frames and which window of them a network reads.

    ``before`` and ``after`` are numbers of frames; those that begin more than ``max_offset_s`` away count as
    missing. The window is a square around the middle of the trail, turned so that the trail lies along its
    rows: ``lengths`` times the trail's length, at least ``least_px`` and ``least_share`` of the frame's
    longer side. It is resized to ``size_px``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    before: Annotated[int, Field(ge=0, le=8)] = 2
    after: Annotated[int, Field(ge=0, le=8)] = 2
    size_px: Annotated[int, Field(ge=16, multiple_of=16)] = 48
    least_px: Annotated[int, Field(ge=16)] = 64
    least_share: Annotated[float, Field(ge=0, le=1)] = 0.06
    lengths: Annotated[float, Field(ge=1)] = 2.5
    max_offset_s: Annotated[float, Field(gt=0)] = 300.0

    @property
    def frames(self) -> int:
        """Stamps of a sequence."""
        return self.before + 1 + self.after

    def window(self, place: Place, shape: tuple[int, int]) -> Window:
        """The window around a candidate in frames of (height, width)."""
        sides = self.least_px, self.least_share * max(shape), self.lengths * (place.length_px or 0.0)
        side = min(math.ceil(max(sides)), 2 * max(shape))
        return Window(place.x_px, place.y_px, side, place.angle_deg)


@dataclass(frozen=True)
class Place:
    """Where a candidate is: the middle of its trail, or its position where no trail was fitted.

    ``angle_deg`` is the direction of the trail from the rows (right is 0, down is positive) and ``length_px``
    its length; 0 and None where no trail was fitted.
    """

    x_px: float
    y_px: float
    angle_deg: float = 0.0
    length_px: float | None = None

    @classmethod
    def of_trail(cls, begin: tuple[float, float], end: tuple[float, float]) -> Self:
        """The place of a trail from its ends (x, y)."""
        across, down = end[0] - begin[0], end[1] - begin[1]
        angle = math.degrees(math.atan2(down, across))
        return cls((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2, angle, math.hypot(across, down))


@dataclass(frozen=True)
class Window:
    """A square of a frame around a point, turned so that a trail of ``angle_deg`` lies along its rows.

    It may reach beyond the frame.
    """

    x_px: float
    y_px: float
    side: int
    angle_deg: float = 0.0

    def cut(self, frame: Levels, size_px: int) -> Floats:
        """The window of a frame, float32 (size_px, size_px); what lies beyond the frame repeats its edge."""
        reach = self.side if self.angle_deg == 0 else math.ceil(self.side * math.sqrt(2))
        square = _square(frame, round(self.x_px - (reach - 1) / 2), round(self.y_px - (reach - 1) / 2), reach)
        size = round(size_px * reach / self.side)
        way = cv2.INTER_AREA if reach > size else cv2.INTER_LINEAR
        stamp = cv2.resize(square, (size, size), interpolation=way)
        if self.angle_deg == 0:
            return np.asarray(stamp, np.float32)
        turn = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), self.angle_deg, 1.0)
        turn[:, 2] += (size_px - size) / 2
        return np.asarray(cv2.warpAffine(stamp, turn, (size_px, size_px)), np.float32)


def _square(frame: Levels, left: int, top: int, side: int) -> Floats:
    height, width = frame.shape
    right, bottom = left + side, top + side
    beyond = max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)
    inside = frame[
        min(max(top, 0), height - 1) : max(min(bottom, height), 1),
        min(max(left, 0), width - 1) : max(min(right, width), 1),
    ].astype(np.float32)
    return np.asarray(cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE), np.float32)


@dataclass(frozen=True)
class Stamps:
    """A sequence as a network reads it.

    Attributes
    ----------
    codes
        int8, (frames, size_px, size_px): 16 asinh((level - median) / noise), level being that above the
        stamp's own smooth background, median and noise those of the whole sequence, so that 8 and 16 bits
        and all cameras look alike; 0 where the frame is missing. No frame is subtracted from another.
    steps
        float32, (frames, 4): whether the frame is there, when it began and how long it was exposed, both in
        minutes and the begin from the candidate's frame, and the binary logarithm of frame pixels a stamp
        pixel.
    """

    codes: NDArray[np.int8]
    steps: Floats


def normalised(
    cut: Mapping[int, Floats],
    begins_s: Mapping[int, float],
    exposure_s: Mapping[int, float],
    window: Window,
    recipe: StampRecipe,
) -> Stamps:
    """Stamps of a sequence from the windows of those frames that are there.

    Parameters
    ----------
    cut
        Windows by place in the sequence; that of the candidate, ``recipe.before``, is among them.
    begins_s
        Begin of each, in seconds after the candidate's frame.
    exposure_s
        Exposure of each.
    """
    size = recipe.size_px
    codes = np.zeros((recipe.frames, size, size), np.int8)
    steps = np.zeros((recipe.frames, STEP_COLUMNS), np.float32)
    places = [place for place in sorted(cut) if abs(begins_s[place]) <= recipe.max_offset_s]
    levels = np.stack([_flattened(cut[place]) for place in places])
    scaled = np.arcsinh((levels - np.median(levels)) / _noise(levels))
    codes[places] = np.clip(np.rint(_CODE * scaled), -127, 127)
    for place in places:
        times = begins_s[place] / 60, exposure_s[place] / 60
        steps[place] = 1.0, *times, math.log2(window.side / size)
    return Stamps(codes, steps)


def _flattened(stamp: Floats) -> Floats:
    """A stamp less its own smooth background, in which moonlight and clouds would hide a faint trail."""
    return np.asarray(stamp - cv2.GaussianBlur(stamp, (0, 0), stamp.shape[0] / _BACKGROUND), np.float32)


def _noise(levels: Floats) -> float:
    """Robust deviation of neighbouring pixels from one another: stars and edges hardly count."""
    apart = np.abs(np.diff(levels, axis=2))
    return max(1.4826 * float(np.median(apart)) / math.sqrt(2), _LEAST_NOISE)
