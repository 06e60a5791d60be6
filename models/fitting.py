"""The loop that fits a network to samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from nightsift.models.augment import Augmentation, augment
from nightsift.models.networks import Network, normalise
from nightsift.models.package import METEOR
from nightsift.models.recipe import Recipe
from nightsift.models.samples import Samples

Draw = Callable[[int, np.random.Generator], tuple[NDArray[np.uint8], NDArray[np.int64]]]


class StageConfig(BaseModel):
    """Steps of AdamW under one cycle of the learning rate (Smith and Topin 2018)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Annotated[int, Field(ge=0)]
    batch: Annotated[int, Field(gt=1)]
    learning_rate: Annotated[float, Field(gt=0)]


class TrainingConfig(BaseModel):
    """How a network is fitted: first to crops of ``crop_px`` pixels, then to whole inputs.

    In both, half of each batch are meteors.
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
        Gives a batch: uint8 images (n, h, w) and their classes (n,).
    """

    def __init__(
        self, stage: StageConfig, settings: TrainingConfig, recipe: Recipe, network: Network, draw: Draw
    ) -> None:
        self._stage, self._settings, self._recipe, self._network = stage, settings, recipe, network
        self._draw = draw
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
        images, classes = self._draw(self._stage.batch, self._rng)
        gray = torch.from_numpy(images).to(self._device)[:, None].float() / 255
        inputs = normalise(augment(gray, self._settings.augmentation), self._recipe)
        labels = torch.from_numpy(classes).to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._settings.precision == "bf16"):
            loss: Tensor = nn.functional.cross_entropy(self._network(inputs), labels)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._schedule.step()
        return float(loss.detach())


def draw_whole(samples: Samples, classes: Sequence[str]) -> Draw:
    """Draws whole images, half of them meteors; those without a label are left out."""
    labels = samples.labels(classes)
    meteors = np.flatnonzero(labels == classes.index(METEOR))
    others = np.flatnonzero((labels >= 0) & (labels != classes.index(METEOR)))

    def draw(count: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        rows = np.concatenate([rng.choice(meteors, count // 2), rng.choice(others, count - count // 2)])
        return samples.images[rows], labels[rows]

    return draw
