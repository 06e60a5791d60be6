"""Scores and positions of differences, in one forward pass per batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nightsift.models.localise import bounding_box, heat_map, peak_position, strongest
from nightsift.models.networks import Network, fold_batch_norm, normalise
from nightsift.models.package import METEOR, ModelPackage
from nightsift.models.recipe import FullSize, Recipe
from nightsift.models.streaks import Detection, Difference, Look, StreakReader

Differences = NDArray[np.bool_] | NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scores:
    """What a network says of n differences.

    Attributes
    ----------
    classes
        Names of the columns of ``score``.
    score
        float32, (n, classes); each row sums to one.
    x_px, y_px
        float32, (n,): where the meteor class was seen, in pixels of the original frame; nan where
        nothing in the picture speaks for a meteor.
    region
        float32, (n, 4): x0, y0, x1, y1 of the bounding box of the region used, in pixels of the
        original frame; nan where there is none.
    more
        Of each difference the other places that show a meteor, strongest first.
    """

    classes: tuple[str, ...]
    score: NDArray[np.float32]
    x_px: NDArray[np.float32]
    y_px: NDArray[np.float32]
    region: NDArray[np.float32]
    more: tuple[tuple[Detection, ...], ...]

    @property
    def meteor(self) -> NDArray[np.float32]:
        """The column of ``score`` of the class ``meteor``, (n,)."""
        return self.score[:, self.classes.index(METEOR)]


class Classifier:
    """Applies a model package to differences.

    The same difference gives the same bytes whatever it is batched with: every batch has the same shape
    (the last is filled up with empty pictures), and a CPU works with one thread, so that parallel work
    comes from processes.

    Parameters
    ----------
    package
        The model.
    device
        ``auto``, ``cpu`` or ``cuda``.
    batch
        Differences per forward pass.
    """

    def __init__(self, package: ModelPackage, device: str = "auto", batch: int = 32) -> None:
        self.package, self.batch = package, batch
        self.device = best_device() if device == "auto" else torch.device(device)

    @cached_property
    def _network(self) -> Network:
        network = fold_batch_norm(self.package.network()).to(self.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
        return network

    @cached_property
    def _streaks(self) -> StreakReader:
        return StreakReader(self.package, self.device)

    def classify(self, differences: Differences, rises: Floats | None = None) -> Scores:
        """Score and locate differences of one size.

        Parameters
        ----------
        differences
            Boolean, (n, height, width), at the frame's own size; or uint8 gray, ready-made by others.
        rises
            As in `classify_stream`, (n, rows, columns).
        """
        return self.classify_stream(differences, differences.shape[1:], rises)

    def classify_stream(
        self,
        differences: Iterable[Difference],
        shape: tuple[int, int],
        rises: Iterable[Floats] | None = None,
    ) -> Scores:
        """Score and locate differences as they come; only one batch is in memory.

        Parameters
        ----------
        differences
            Boolean, (height, width) each.
        shape
            Their (height, width).
        rises
            Of each difference the largest rise of each block of 16 x 16 pixels over the pair's noise, (rows,
            columns). Only packages that read differences at full size look at them.
        """
        recipe = self.package.recipe
        if isinstance(recipe, FullSize):
            looks = [self._streaks.look(*pair) for pair in _paired(differences, rises)]
            return _of_looks(self.package.classes, looks)
        blocks = [self.classify_inputs(inputs) for inputs in self._inputs(differences, recipe)]
        seen = np.concatenate([*blocks, np.empty((0, len(self.package.classes) + 6), np.float32)])
        score, position, region = np.split(seen, [-6, -4], axis=1)
        x_px, y_px = recipe.to_frame(position[:, 0], position[:, 1], shape)
        x_edge, y_edge = recipe.to_frame(region[:, ::2], region[:, 1::2], shape)
        edges = np.stack([x_edge, y_edge], axis=2).reshape(-1, 4)
        single = [array.astype(np.float32) for array in (x_px, y_px, edges)]
        return Scores(self.package.classes, score, single[0], single[1], single[2], ((),) * len(score))

    def classify_inputs(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score and locate what the recipe has already resized.

        Parameters
        ----------
        inputs
            uint8, (n, size, size).

        Returns
        -------
        numpy.ndarray
            float32, (n, classes + 6): scores, then x, y and x0, y0, x1, y1 as fractions of the input.
        """
        recipe = self._resizing()
        batches = self._batches(inputs, recipe)
        blocks = [_evaluate(images, self._network, self._meteor) for images in batches]
        return _joined(blocks, len(inputs), len(self.package.classes) + 6)

    def heat_map(self, differences: Differences, rises: Iterable[Floats] | None = None) -> Floats:
        """Where the meteor class is seen, enlarged to the frame: Grad-CAM, or the scores of cells.

        Returns
        -------
        numpy.ndarray
            float32, (n, height, width), at the frame's own size, not negative.
        """
        recipe, shape = self.package.recipe, differences.shape[1:]
        if isinstance(recipe, FullSize):
            maps = [self._streaks.heat_map(*pair) for pair in _paired(differences, rises)]
            return np.asarray(maps, np.float32).reshape(differences.shape)
        inputs = self._inputs(differences, recipe)
        batches = (batch for block in inputs for batch in self._batches(block, recipe))
        heats = (_heat(images, self._network, self._meteor) for images in batches)
        coarse = islice((heat for block in heats for heat in block), len(differences))
        enlarged = [_to_frame(heat, recipe, shape) for heat in coarse]
        return np.asarray(enlarged, np.float32).reshape(differences.shape)

    def _resizing(self) -> Recipe:
        if isinstance(self.package.recipe, FullSize):
            raise TypeError(f"{self.package.name} reads differences at full size: use `classify`")
        return self.package.recipe

    def _inputs(self, differences: Iterable[Difference], recipe: Recipe) -> Iterator[NDArray[np.uint8]]:
        resized = (recipe.picture(difference) for difference in differences)
        while block := list(islice(resized, self.batch)):
            yield np.stack(block)

    @property
    def _meteor(self) -> int:
        return self.package.classes.index(METEOR)

    def _batches(self, inputs: NDArray[np.uint8], recipe: Recipe) -> Iterator[Tensor]:
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        for begin in range(0, len(inputs), self.batch):
            block = inputs[begin : begin + self.batch]
            full = np.zeros((self.batch, 1, *inputs.shape[1:]), np.uint8)
            full[: len(block), 0] = block
            gray = torch.from_numpy(full).to(self.device).float() / 255
            yield normalise(gray, recipe)


def best_device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _paired(
    differences: Iterable[Difference], rises: Iterable[Floats] | None
) -> Iterator[tuple[Difference, Floats | None]]:
    if rises is None:
        return ((difference, None) for difference in differences)
    return zip(differences, rises, strict=True)


def _of_looks(classes: tuple[str, ...], looks: Sequence[Look]) -> Scores:
    places = [look.detections[0] if look.detections else None for look in looks]
    position = [(p.x_px, p.y_px) if p else (np.nan, np.nan) for p in places]
    x_px, y_px = np.array(position, np.float32).reshape(-1, 2).T
    region = np.array([p.region if p else (np.nan,) * 4 for p in places], np.float32).reshape(-1, 4)
    score = np.array([look.score for look in looks], np.float32).reshape(-1, len(classes))
    return Scores(classes, score, x_px, y_px, region, tuple(look.detections[1:] for look in looks))


@torch.inference_mode()
def _evaluate(images: Tensor, network: Network, meteor: int) -> NDArray[np.float32]:
    first, last = network.body(images)
    heat = strongest(heat_map(network.head, last, meteor))
    score = network.head(last).softmax(1)
    x, y = peak_position(first, heat)
    rows = torch.cat([score, x[:, None], y[:, None], bounding_box(heat > 0)], dim=1)
    return np.asarray(rows.cpu().numpy(), np.float32)


@torch.inference_mode()
def _heat(images: Tensor, network: Network, meteor: int) -> NDArray[np.float32]:
    last = network.body(images)[1]
    heat = heat_map(network.head, last, meteor)
    return np.asarray(heat.cpu().numpy(), np.float32)


def _joined(blocks: list[NDArray[np.float32]], count: int, columns: int) -> NDArray[np.float32]:
    return np.concatenate([*blocks, np.empty((0, columns), np.float32)])[:count]


def _to_frame(heat: NDArray[np.float32], recipe: Recipe, shape: tuple[int, int]) -> NDArray[np.float32]:
    # cv2.remap wants the position in the coarse map of every pixel of the frame.
    height, width = shape
    x, y = recipe.from_frame(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64), shape)
    column = np.broadcast_to((x * heat.shape[1] - 0.5).astype(np.float32), shape)
    row = np.broadcast_to((y * heat.shape[0] - 0.5).astype(np.float32)[:, None], shape)
    mapped = cv2.remap(heat, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(mapped, np.float32)
