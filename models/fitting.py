"""The loop that fits a network to samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from nightsift.archive.errors import ConfigurationError
from nightsift.models.augment import Augmentation, augment
from nightsift.models.heads import LinearHead
from nightsift.models.networks import Network, normalise
from nightsift.models.package import METEOR
from nightsift.models.recipe import Recipe
from nightsift.models.samples import Samples

_REST_CELL_WEIGHT = 0.05


class Batch(NamedTuple):
    """Images (n, h, w), the class of each (n,), and of each of its cells (n, rows, columns) or -1."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    cells: NDArray[np.int64]


Draw = Callable[[int, np.random.Generator], Batch]


class StageConfig(BaseModel):
    """Steps of AdamW under one cycle of the learning rate (Smith and Topin 2018)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Annotated[int, Field(ge=0)]
    batch: Annotated[int, Field(gt=1)]
    learning_rate: Annotated[float, Field(gt=0)]


class TrainingConfig(BaseModel):
    """How a network is fitted: first to crops of ``crop_px`` pixels, then to whole inputs.

    In both, half of each batch are meteors. On whole inputs the loss is that of the picture plus that of its
    cells, each judged as a picture of its own: so the network learns where the meteor is, which Grad-CAM then
    reads from the same weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    crop_px: Annotated[int, Field(ge=32, multiple_of=32)] = 64
    crops: StageConfig = StageConfig(steps=4000, batch=64, learning_rate=0.001)
    whole: StageConfig = StageConfig(steps=600, batch=32, learning_rate=0.0005)
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    augmentation: tuple[Augmentation, ...] = ("flips", "rotation", "speckle", "fading")
    precision: Literal["fp32", "bf16"] = "bf16"


class Fitting:
    """One stage of fitting a network.

    Parameters
    ----------
    stage, settings, recipe
        From the TRAIN file.
    network
        Fitted in place, where it is.
    draw
        Gives a batch of a size.
    rest
        Index of the class that most cells have.
    """

    def __init__(
        self,
        stage: StageConfig,
        settings: TrainingConfig,
        recipe: Recipe,
        network: Network,
        draw: Draw,
        rest: int,
    ) -> None:
        self._stage, self._settings, self._recipe, self._network = stage, settings, recipe, network
        self._draw, self._rest = draw, rest
        self._device = next(network.parameters()).device
        self._rng = np.random.default_rng((settings.seed, stage.steps))
        rate = stage.learning_rate
        self._optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=settings.weight_decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, rate, max(stage.steps, 1), pct_start=0.2
        )

    def steps(self, count: int) -> float:
        """Take so many steps; the mean loss."""
        self._network.train()
        return float(np.mean([self._step() for _ in range(count)]))

    def _step(self) -> float:
        batch = self._draw(self._stage.batch, self._rng)
        images, labels, cells = (torch.from_numpy(part).to(self._device) for part in batch)
        gray, cells = augment(images.float() / 255, cells, self._settings.augmentation)
        inputs = normalise(gray[:, None], self._recipe)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._settings.precision == "bf16"):
            _, last = self._network.body(inputs)
            loss = cross_entropy(self._network.head(last), labels)
            if isinstance(self._network.head, LinearHead) and (cells >= 0).any():
                loss = loss + self._cell_loss(self._network.head.cells(last), cells)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._schedule.step()
        return float(loss.detach())

    def _cell_loss(self, logits: Tensor, cells: Tensor) -> Tensor:
        # Nearly all cells show nothing; weighed down, they are about two thirds of the sum.
        weight = torch.ones(logits.shape[1], device=logits.device)
        weight[self._rest] = _REST_CELL_WEIGHT
        return cross_entropy(logits.float(), cells, weight, ignore_index=-1)


def draw_whole(samples: Samples, classes: Sequence[str]) -> Draw:
    """Draws whole images, half of them meteors; those without a label are left out."""
    labels = samples.labels(classes)
    cells = samples.cell_labels(classes, samples.images.shape[1] // 32)
    meteors = np.flatnonzero(labels == classes.index(METEOR))
    others = np.flatnonzero((labels >= 0) & (labels != classes.index(METEOR)))
    if not (len(meteors) and len(others)):
        raise ConfigurationError(
            f"{len(meteors)} training samples show a clear meteor and {len(others)} none at all",
            expected="some of each",
            mend="draw more stations, nights or runs, or change the rate of meteors",
        )

    def draw(count: int, rng: np.random.Generator) -> Batch:
        rows = np.concatenate([rng.choice(meteors, count // 2), rng.choice(others, count - count // 2)])
        return Batch(samples.images[rows], labels[rows], cells[rows])

    return draw
