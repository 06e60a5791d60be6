"""A network that reads differences at the frame's own size and tells where in them it sees what.

A trail of 15 pixels in a frame of 1304 is two grays wide once the frame is resized to 224; here it keeps its
pixels. The network is fully convolutional: it judges cells of 32 pixels, each with its surroundings of some
400, so that one pass finds every meteor of a frame of any size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label as connected
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle, relu

from nightsift.archive.kernels import RISE_BLOCK_PX, Frame, Sample, risen
from nightsift.models.networks import fold_batch_norm
from nightsift.models.package import METEOR, ModelPackage
from nightsift.models.recipe import FullSize

Floats = NDArray[np.float32]
Difference = NDArray[np.bool_] | NDArray[np.uint8]

CELL_PX: Final = 32
_STEM_PX: Final = 4
_ANGLES: Final = 16
_WIDTHS: Final = (_ANGLES, 24, 48, 96)
_RISE_SCALE: Final = 8.0  # of the logarithm to base 2
_LEAST_NOISE: Final = 0.5
LEAST_SCORE: Final = 0.4  # of a cell that belongs to a place
MOST_PLACES: Final = 5
_EIGHT_NEIGHBOURS: Final = np.ones((3, 3))


class StreakNetwork(nn.Module):
    """Called on differences and rises, it gives logits of every cell.

    Residual blocks (He et al. 2016) on strides of 4, 8, 16 and 32 pixels; the last is dilated. The first
    filters begin as bars of 16 directions, since a random one takes thousands of steps to find out that
    trails are straight.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        a, b, c, d = _WIDTHS
        self.stem = _convolution(_STEM_PX**2, a)
        self.fine = nn.Sequential(_convolution(a, b, stride=2), _Residual(b), _convolution(b, c, stride=2))
        self.with_rise = nn.Sequential(_convolution(c + 1, c), _Residual(c))
        self.coarse = nn.Sequential(_convolution(c, d, stride=2), _Residual(d), _Residual(d, dilation=2))
        self.cells = nn.Conv2d(d, classes, 1)
        self.stem.load_state_dict({"0.weight": bars()}, strict=False)

    def forward(self, differences: Tensor, rises: Tensor) -> Tensor:
        """Logits of cells.

        Parameters
        ----------
        differences
            (n, 1, height, width), 0 to 1; height and width multiples of 32.
        rises
            (n, 1, height / 16, width / 16), as `read` gives them.

        Returns
        -------
        torch.Tensor
            (n, classes, height / 32, width / 32).
        """
        fine = self.fine(self.stem(pixel_unshuffle(differences, _STEM_PX)))
        logits: Tensor = self.cells(self.coarse(self.with_rise(torch.cat([fine, rises], 1))))
        return logits


class _Residual(nn.Module):
    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, dilation=dilation)
        self.second = _convolution(channels, channels, dilation=dilation)[:2]

    def forward(self, maps: Tensor) -> Tensor:
        return relu(maps + self.second(self.first(maps)))


def _convolution(channels: int, out: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def bars() -> Tensor:
    """Bars of 12 pixels in 16 directions, less what is beside them, as weights of the stem (16, 16, 3, 3)."""
    side = 3 * _STEM_PX
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    angles = np.arange(_ANGLES)[:, None, None] * np.pi / _ANGLES
    away = np.abs(x * np.sin(angles) - y * np.cos(angles))
    round_window = np.hypot(x, y) < side / 2 + 0.2
    on, beside = (away <= 1.3) & round_window, (away > 2.2) & (away <= 5) & round_window
    shape = (_ANGLES, 3, _STEM_PX, 3, _STEM_PX)
    weights = on / on.sum((1, 2), keepdims=True) - beside / beside.sum((1, 2), keepdims=True)
    # As pixel_unshuffle orders the pixels of a cell.
    ordered = weights.reshape(shape).transpose(0, 2, 4, 1, 3).reshape(_ANGLES, _STEM_PX**2, 3, 3)
    return torch.from_numpy(ordered.astype(np.float32))


def read(difference: Difference, rise: Floats | None, recipe: FullSize) -> tuple[Floats, Floats]:
    """What the network reads of one difference.

    Parameters
    ----------
    difference
        Boolean, (height, width), at the frame's own size; or uint8 gray, where others reduced it.
    rise
        Largest rise of each block of 16 x 16 pixels over the pair's noise, (rows, columns); None where it is
        not known.
    recipe
        Tells by how much large frames are reduced.

    Returns
    -------
    tuple of numpy.ndarray
        float32: (H, W), the difference, reduced by the mean where the frame is large, with zeros to the right
        and below up to a multiple of 32; and (H / 16, W / 16), the logarithm of the rises.
    """
    factor = recipe.reduction(difference.shape)
    image = difference.astype(np.float32) / np.float32(1 if difference.dtype == np.bool_ else 255)
    if factor > 1:
        size = -(-image.shape[1] // factor), -(-image.shape[0] // factor)
        image = _padded(image, size[1] * factor, size[0] * factor)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
    height, width = (-(-side // CELL_PX) * CELL_PX for side in image.shape)
    rows, columns = height // RISE_BLOCK_PX, width // RISE_BLOCK_PX
    known = np.zeros((0, 0), np.float32) if rise is None else logarithm(rise)
    blocks = _padded(known, rows * factor, columns * factor)
    largest = blocks.reshape(rows, factor, columns, factor).max((1, 3))
    return _padded(image, height, width), largest


def logarithm(rises: NDArray[np.floating]) -> Floats:
    """Rises in units of the noise as the network reads them: 0 to about 1."""
    return np.asarray(np.log2(1 + rises.astype(np.float32)) / _RISE_SCALE, np.float32)


def _padded(image: Floats, height: int, width: int) -> Floats:
    whole = np.zeros((height, width), np.float32)
    whole[: image.shape[0], : image.shape[1]] = image
    return whole


def in_noise(rises: NDArray[np.unsignedinteger], noise: float) -> Floats:
    """Largest rises of blocks in units of the pair's noise, as `read` takes them."""
    return np.asarray(rises / np.float32(max(noise, _LEAST_NOISE)), np.float32)


def rise_in_noise(current: Frame, previous: Frame) -> Floats:
    """As `in_noise`, of two frames of one form, (y, x)."""
    noise = Sample.of(current).noise(Sample.of(previous))
    return in_noise(risen(current, previous, 0).blocks, noise)


@dataclass(frozen=True)
class Detection:
    """One place in a difference where a meteor was seen.

    Attributes
    ----------
    score
        Of the class meteor, 0 to 1.
    x_px, y_px
        Pixels of the original frame.
    region
        x0, y0, x1, y1 of what belongs to it, in pixels of the original frame.
    """

    score: float
    x_px: float
    y_px: float
    region: tuple[float, float, float, float]


def detections(heat: Floats, cell_px: float, least: float) -> list[Detection]:
    """The places where a map of scores exceeds ``least``, strongest first.

    Cells that touch are one place, so that two meteors of one frame are two detections: the mean of all
    maxima (Peña-Asensio et al. 2023, §3.2) would fall between them.

    Parameters
    ----------
    heat
        Score of each cell, (rows, columns).
    cell_px
        Side of a cell in pixels of the original frame.
    least
        Cells below it belong to no place.

    >>> two = np.zeros((4, 9), np.float32)
    >>> two[1, 1:3], two[2, 7] = 0.5, 0.9
    >>> [(found.x_px, found.y_px) for found in detections(two, 10, 0.1)]
    [(74.5, 24.5), (19.5, 14.5)]
    """
    places, count = connected(heat >= least, _EIGHT_NEIGHBOURS)
    found = [_detection(heat, places == number, cell_px) for number in range(1, count + 1)]
    return sorted(found, key=lambda place: -place.score)


def _detection(heat: Floats, place: NDArray[np.bool_], cell_px: float) -> Detection:
    rows, columns = np.nonzero(place)
    scores = heat[rows, columns].astype(np.float64)
    weight = scores**2 / (scores**2).sum()
    x, y = ((cells * weight).sum() + 0.5 for cells in (columns, rows))
    edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    x0, y0, x1, y1 = (float(edge * cell_px - 0.5) for edge in edges)
    return Detection(
        float(scores.max()), float(x * cell_px - 0.5), float(y * cell_px - 0.5), (x0, y0, x1, y1)
    )


def _inside(place: Detection, shape: tuple[int, ...]) -> Detection:
    """The middle of a cell at the edge may lie beyond the frame."""
    height, width = shape
    return replace(place, x_px=min(place.x_px, width - 1), y_px=min(place.y_px, height - 1))


class Look(NamedTuple):
    """What the network says of one difference: (classes,) scores, and where it sees meteors."""

    score: Floats
    detections: tuple[Detection, ...]


class StreakReader:
    """Applies a package of kind "full-size", one difference at a time: a frame fills a batch by itself."""

    def __init__(self, package: ModelPackage, device: torch.device) -> None:
        if not isinstance(package.recipe, FullSize):
            raise TypeError(f"{package.name} reads resized differences")
        self._recipe, self._device = package.recipe, device
        self._meteor = package.classes.index(METEOR)
        self._network = fold_batch_norm(package.streaks()).to(device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs

    def look(self, difference: Difference, rise: Floats | None) -> Look:
        """Score and locate; a frame's scores are those of its cell that looks most like a meteor.

        Parameters
        ----------
        difference, rise
            As in `read`.
        """
        cells = self.cells(difference, rise)
        heat = cells[self._meteor]
        best = np.unravel_index(heat.argmax(), heat.shape)
        cell_px = CELL_PX * self._recipe.reduction(difference.shape)
        places = detections(heat, cell_px, LEAST_SCORE)[:MOST_PLACES]
        inside = tuple(_inside(place, difference.shape) for place in places)
        return Look(cells[:, best[0], best[1]], inside)

    def heat_map(self, difference: Difference, rise: Floats | None) -> Floats:
        """Score of the class meteor, enlarged to the frame, (height, width)."""
        heat = self.cells(difference, rise)[self._meteor]
        side = CELL_PX * self._recipe.reduction(difference.shape)
        size = heat.shape[1] * side, heat.shape[0] * side
        enlarged = cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(enlarged[: difference.shape[0], : difference.shape[1]], np.float32)

    def inputs(self, difference: Difference, rise: Floats | None) -> tuple[Floats, Floats]:
        """See `read`."""
        return read(difference, rise, self._recipe)

    @torch.inference_mode()
    def cells(self, difference: Difference, rise: Floats | None) -> Floats:
        """Scores of all cells of the padded frame, (classes, rows, columns)."""
        if self._device.type == "cpu":
            torch.set_num_threads(1)  # parallel work comes from processes
        parts = self.inputs(difference, rise)
        image, blocks = (torch.from_numpy(part)[None, None].to(self._device) for part in parts)
        image = image.contiguous(memory_format=torch.channels_last)
        return np.asarray(self._network(image, blocks).softmax(1)[0].cpu().numpy(), np.float32)
