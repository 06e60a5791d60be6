"""Steps that fit a network to batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nightsift.archive.errors import ConfigurationError
from nightsift.models.augment import augment
from nightsift.models.batches import Batch, BatchOf, Draw, draw_whole
from nightsift.models.freezing import training_mode
from nightsift.models.heads import LinearHead
from nightsift.models.networks import Network, normalise
from nightsift.models.recipe import Recipe
from nightsift.models.settings import StageConfig, TrainingConfig

__all__ = ["Batch", "Diverged", "Draw", "Fitting", "Stage", "StageConfig", "TrainingConfig", "draw_whole"]

_REST_CELL_WEIGHT: Final = 0.05


class Diverged(ConfigurationError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Stage:
    """One stage of a training.

    Attributes
    ----------
    name, number
        Its name in the TRAIN file and its place among the stages.
    config
        From the TRAIN file.
    batch_of
        Gives the batch of a step.
    epoch_steps
        Steps of an epoch.
    class_weights
        Weight of each class in the loss, (classes,).
    rest
        Index of the class that most cells have.
    """

    name: str
    number: int
    config: StageConfig
    batch_of: BatchOf
    epoch_steps: int
    class_weights: NDArray[np.float32]
    rest: int


class Fitting:
    """Takes the steps of one stage.

    Nothing is drawn from a generator that outlives its step: each step's batch, augmentation and dropout
    follow from the seed, the stage and the step. So a training that was killed and goes on from a checkpoint
    ends with the bytes of one that was not.

    Parameters
    ----------
    stage, settings, recipe
        From the TRAIN file.
    network
        Fitted in place, where it is.
    optimizer, schedule
        As `schedules` makes them.
    """

    def __init__(
        self,
        stage: Stage,
        settings: TrainingConfig,
        recipe: Recipe,
        network: Network,
        optimizer: Optimizer,
        schedule: LRScheduler,
    ) -> None:
        self._stage, self._settings, self._recipe, self._network = stage, settings, recipe, network
        self.optimizer, self.schedule = optimizer, schedule
        self._device = next(network.parameters()).device
        self._class_weights = torch.from_numpy(stage.class_weights).to(self._device)

    def steps(self, steps: range) -> float:
        """Take these steps; the mean loss."""
        return float(np.mean([self.step(step) for step in steps]))

    def step(self, step: int) -> float:
        """Take one step; its loss.

        Raises
        ------
        Diverged
            If the loss is not finite; the network then stays as it was before the step.
        """
        training_mode(self._network)
        torch.manual_seed(_seed(self._settings.seed, self._stage.number, step))
        loss = self._loss(self._stage.batch_of(step))
        value = float(loss.detach())
        if not np.isfinite(value):
            raise self._diverged(step, value)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        return value

    def _loss(self, batch: Batch) -> Tensor:
        images, labels, cells = (torch.from_numpy(part).to(self._device) for part in batch)
        gray, cells = augment(images.float() / 255, cells, self._settings.augmentation)
        inputs = normalise(gray[:, None], self._recipe)
        head = self._network.head
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._settings.precision == "bf16"):
            last = self._network.body(inputs)[1]
            loss = cross_entropy(head(last), labels, self._class_weights)
            if isinstance(head, LinearHead) and (cells >= 0).any():
                loss = loss + self._cell_loss(head.cells(last), cells)
        return loss

    def _cell_loss(self, logits: Tensor, cells: Tensor) -> Tensor:
        # Nearly all cells show nothing; weighed down, they are about two thirds of the sum.
        weight = torch.ones(logits.shape[1], device=logits.device)
        weight[self._stage.rest] = _REST_CELL_WEIGHT
        return cross_entropy(logits.float(), cells, weight, ignore_index=-1)

    def _diverged(self, step: int, value: float) -> Diverged:
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        return Diverged(
            f"training diverged in step {step + 1} of the stage {self._stage.name!r}",
            expected="a finite loss",
            found=f"{value} at the learning rate {rate:.3g}",
            mend="lower learning_rate, or see nightsift model train --find-rate",
        )


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


Progress = Callable[[str, int, int], None]
