"""The preprocessing that a model package names: from a full-size difference to the network's input."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from nightsift.archive.differences import SIGMA_PATTERN, DifferenceSettings, Threshold

Shape = tuple[int, int] | tuple[NDArray[np.integer], NDArray[np.integer]]

_INTERPOLATION: Final = {"area": cv2.INTER_AREA, "nearest": cv2.INTER_NEAREST}


class Recipe(BaseModel):
    """How a boolean difference becomes the picture that a network reads.

    ``threshold`` is the rise in gray levels, or such as ``"5 sigma"`` of the pair's noise, above which the
    differences must have been set. With ``pad =
    "square"`` zeros are added evenly on both sides of the shorter axis; otherwise the aspect is not kept.
    With ``interpolation = "area"`` gray levels reappear. ``mean`` and ``std`` normalise the three equal
    channels after division by 255; the defaults are ImageNet's.

    The recipe of guAIta (Regordosa 2021, §3.2, fourth version) is the default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: Annotated[float, Field(ge=0, le=65535)] | Annotated[str, Field(pattern=SIGMA_PATTERN)] = 3.5
    pad: Literal["none", "square"] = "none"
    size_px: Annotated[int, Field(ge=32, multiple_of=32)] = 224
    interpolation: Literal["area", "nearest"] = "area"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def resize(self, difference: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Resize one difference to the network's input.

        Parameters
        ----------
        difference
            Boolean, (height, width), at the frame's own size.

        Returns
        -------
        numpy.ndarray
            uint8, (size_px, size_px); bit for bit what OpenCV gives for the 0/255 image.
        """
        return self.resize_gray(difference.view(np.uint8) * np.uint8(255))

    def picture(self, difference: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The network's input, uint8 (size_px, size_px), of a difference or of one that came ready-made."""
        if difference.dtype == np.bool_:
            return self.resize(difference.view(np.bool_))
        return self.resize_gray(difference.view(np.uint8))

    def resize_gray(self, gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize a difference that others have saved, uint8 (height, width), to the network's input."""
        if self.pad == "square":
            gray = _pad_to_square(gray)
        size = (self.size_px, self.size_px)
        return np.asarray(cv2.resize(gray, size, interpolation=_INTERPOLATION[self.interpolation]))

    def to_frame(
        self, x: NDArray[np.floating], y: NDArray[np.floating], shape: Shape
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Turn positions in the network's input into pixels of the original frame.

        Parameters
        ----------
        x, y
            Fractions of the input's width and height, 0 at the outer edge of the first pixel.
        shape
            (height, width) of the frame; arrays where each position has a frame of its own.

        Returns
        -------
        tuple of numpy.ndarray
            x_px and y_px, float64; pixel centres are at integers.
        """
        height, width = self._padded(shape)
        top, left = (height - shape[0]) // 2, (width - shape[1]) // 2
        x_px = np.asarray(x, np.float64) * width - 0.5 - left
        return x_px, np.asarray(y, np.float64) * height - 0.5 - top

    def from_frame(
        self, x_px: NDArray[np.floating], y_px: NDArray[np.floating], shape: Shape
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Turn pixels of the original frame into fractions of the network's input; undoes `to_frame`."""
        height, width = self._padded(shape)
        top, left = (height - shape[0]) // 2, (width - shape[1]) // 2
        x = (np.asarray(x_px, np.float64) + 0.5 + left) / width
        return x, (np.asarray(y_px, np.float64) + 0.5 + top) / height

    def _padded(self, shape: Shape) -> Shape:
        if self.pad == "none":
            return shape
        side = np.maximum(*shape)
        return side, side


class FullSize(BaseModel):
    """Differences at the frame's own size, for a network that reads frames of any size.

    Frames of more than ``largest_px`` pixels are reduced by the least whole factor that makes them smaller.
    With ``threshold = "any"`` the network was trained on several thresholds, in gray levels and in
    deviations of the noise; otherwise it is as that of `Recipe`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["full-size"]
    threshold: (
        Literal["any"]
        | Annotated[float, Field(ge=0, le=65535)]
        | Annotated[str, Field(pattern=SIGMA_PATTERN)]
    ) = "any"
    largest_px: Annotated[int, Field(ge=65536)] = 2_500_000

    def reduction(self, shape: tuple[int, int]) -> int:
        """By how much frames of (height, width) are reduced.

        >>> recipe = FullSize(kind="full-size")
        >>> recipe.reduction((976, 1304)), recipe.reduction((4912, 7360))
        (1, 4)
        """
        return max(1, math.ceil(math.sqrt(shape[0] * shape[1] / self.largest_px)))


def made_with(threshold: Threshold) -> Threshold:
    """The threshold that differences are made with for a recipe: the usual one where any will do."""
    return DifferenceSettings().threshold if threshold == "any" else threshold


def _pad_to_square(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = gray.shape
    top, left = max(width - height, 0), max(height - width, 0)
    border = (top // 2, top - top // 2, left // 2, left - left // 2)
    return np.asarray(cv2.copyMakeBorder(gray, *border, cv2.BORDER_CONSTANT, value=0))


RECIPES: Final[dict[str, Recipe]] = {
    "regordosa-v1": Recipe(pad="square", interpolation="area"),
    "regordosa-v2": Recipe(pad="square", interpolation="nearest"),
    "regordosa-v3": Recipe(pad="none", interpolation="nearest"),
    "regordosa-v4": Recipe(pad="none", interpolation="area"),
}
"""The four preprocessings that Regordosa 2021 (§3.2) compares; the fourth is the one kept."""
