"""Scores and positions of differences, in one forward pass per batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from nightsift.models.recipe import Recipe

Differences = NDArray[np.bool_]


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
        float32, (n, 4): x0, y0, x1, y1 of the bounding box of the Grad-CAM region used, in pixels of the
        original frame; nan where there is none.
    """

    classes: tuple[str, ...]
    score: NDArray[np.float32]
    x_px: NDArray[np.float32]
    y_px: NDArray[np.float32]
    region: NDArray[np.float32]

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

    def classify(self, differences: Differences) -> Scores:
        """Score and locate differences of one size.

        Parameters
        ----------
        differences
            Boolean, (n, height, width), at the frame's own size.
        """
        return self.classify_stream(differences, differences.shape[1:])

    def classify_stream(self, differences: Iterable[NDArray[np.bool_]], shape: tuple[int, int]) -> Scores:
        """Score and locate differences as they come; only one batch is in memory.

        Parameters
        ----------
        differences
            Boolean, (height, width) each.
        shape
            Their (height, width).
        """
        recipe = self.package.recipe
        blocks = [self.classify_inputs(inputs) for inputs in self._inputs(differences)]
        seen = np.concatenate([*blocks, np.empty((0, len(self.package.classes) + 6), np.float32)])
        score, position, region = np.split(seen, [-6, -4], axis=1)
        x_px, y_px = recipe.to_frame(position[:, 0], position[:, 1], shape)
        x_edge, y_edge = recipe.to_frame(region[:, ::2], region[:, 1::2], shape)
        edges = np.stack([x_edge, y_edge], axis=2).reshape(-1, 4)
        single = [array.astype(np.float32) for array in (x_px, y_px, edges)]
        return Scores(self.package.classes, score, *single)

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
        blocks = [_evaluate(images, self._network, self._meteor) for images in self._batches(inputs)]
        return _joined(blocks, len(inputs), len(self.package.classes) + 6)

    def heat_map(self, differences: Differences) -> NDArray[np.float32]:
        """Grad-CAM of the meteor class, enlarged to the frame.

        Returns
        -------
        numpy.ndarray
            float32, (n, height, width), at the frame's own size, not negative.
        """
        shape = differences.shape[1:]
        heats = [self.heat_map_of_inputs(inputs, shape) for inputs in self._inputs(differences)]
        return np.concatenate([*heats, np.empty((0, *shape), np.float32)])

    def heat_map_of_inputs(self, inputs: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.float32]:
        """As `heat_map`, of what the recipe has already resized from pictures of ``shape``."""
        heats = (_heat(images, self._network, self._meteor) for images in self._batches(inputs))
        coarse = (heat for block in heats for heat in block)
        enlarged = [_to_frame(heat, self.package.recipe, shape) for heat in islice(coarse, len(inputs))]
        return np.asarray(enlarged, np.float32).reshape(len(inputs), *shape)

    def _inputs(self, differences: Iterable[NDArray[np.bool_]]) -> Iterator[NDArray[np.uint8]]:
        resized = (self.package.recipe.resize(difference) for difference in differences)
        while block := list(islice(resized, self.batch)):
            yield np.stack(block)

    @property
    def _meteor(self) -> int:
        return self.package.classes.index(METEOR)

    def _batches(self, inputs: NDArray[np.uint8]) -> Iterator[Tensor]:
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        for begin in range(0, len(inputs), self.batch):
            block = inputs[begin : begin + self.batch]
            full = np.zeros((self.batch, 1, *inputs.shape[1:]), np.uint8)
            full[: len(block), 0] = block
            gray = torch.from_numpy(full).to(self.device).float() / 255
            yield normalise(gray, self.package.recipe)


def best_device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
