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
from nightsift.models.dataset import SATELLITE, Samples
from nightsift.models.networks import Network, normalise
from nightsift.models.package import METEOR
from nightsift.models.recipe import Recipe

Indices = NDArray[np.intp]


class TrainingConfig(BaseModel):
    """How a network is fitted.

    Two stages under one cycle of the learning rate (Smith and Topin 2018), with AdamW: ``crop_epochs`` on
    windows of ``crop_px`` pixels around what the label names, then ``epochs`` on whole inputs. An epoch
    draws as many samples as there are, all classes equally often.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    crop_px: Annotated[int, Field(ge=32, multiple_of=32)] = 96
    crop_epochs: Annotated[int, Field(ge=0)] = 10
    epochs: Annotated[int, Field(gt=0)] = 5
    batch: Annotated[int, Field(gt=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    augmentation: tuple[Augmentation, ...] = ("flips", "rotation", "speckle", "fading")
    precision: Literal["fp32", "bf16"] = "bf16"


class Fitting:
    """A network on its way; each call of `epoch` takes it one epoch further.

    Parameters
    ----------
    settings, recipe
        From the TRAIN file.
    network
        Fitted in place.
    samples, classes
        What to fit to; samples without a label are left out.
    device
        Where ``network`` is.
    """

    def __init__(
        self,
        settings: TrainingConfig,
        recipe: Recipe,
        network: Network,
        samples: Samples,
        classes: Sequence[str],
        device: torch.device,
    ) -> None:
        self._settings, self._recipe, self._network, self._device = settings, recipe, network, device
        labels = samples.labels(classes)
        self._samples, self._labels = samples[labels >= 0], labels[labels >= 0]
        self._rest = next(i for i, name in enumerate(classes) if name not in (METEOR, SATELLITE))
        self._centres = _centres(self._samples, recipe)
        self._rng = np.random.default_rng(settings.seed)
        self._epoch_steps = max(1, len(self._samples) // settings.batch)
        self.steps = self._epoch_steps * (settings.crop_epochs + settings.epochs)
        self._optimizer = torch.optim.AdamW(
            network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, settings.learning_rate, self.steps, pct_start=0.2
        )

    def epoch(self, whole: bool, stepped: Callable[[], None]) -> float:
        """Fit to one epoch, on crops or on ``whole`` inputs; the mean loss."""
        self._network.train()
        order = balanced_order(self._labels, self._epoch_steps * self._settings.batch, self._rng)
        losses = []
        for rows in order.reshape(self._epoch_steps, -1):
            losses.append(self._step(rows, whole))
            stepped()
        return float(np.mean(losses))

    def _step(self, rows: Indices, whole: bool) -> float:
        images = self._samples.images[rows]
        if not whole:
            images = self._crop(images, rows)
        gray = torch.from_numpy(images).to(self._device)[:, None].float() / 255
        inputs = normalise(augment(gray, self._settings.augmentation), self._recipe)
        labels = torch.from_numpy(self._labels[rows]).to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._settings.precision == "bf16"):
            loss: Tensor = nn.functional.cross_entropy(self._network(inputs), labels)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._schedule.step()
        return float(loss.detach())

    def _crop(self, images: NDArray[np.uint8], rows: Indices) -> NDArray[np.uint8]:
        # What the label names stays inside its crop; frames of the remaining class are cropped anywhere.
        side, size = self._settings.crop_px, images.shape[1]
        anywhere = self._rng.uniform(0, size, (len(rows), 2))
        shifted = self._centres[rows] * size + self._rng.uniform(-0.35, 0.35, (len(rows), 2)) * side
        middle = np.where((self._labels[rows] == self._rest)[:, None], anywhere, shifted)
        corner = (middle - side / 2).clip(0, size - side).astype(int)
        return np.stack(
            [image[y : y + side, x : x + side] for image, (x, y) in zip(images, corner, strict=True)]
        )


def balanced_order(labels: NDArray[np.int64], count: int, rng: np.random.Generator) -> Indices:
    """Indices of ``count`` samples in random order, every class equally often, samples evenly."""
    classes = np.unique(labels)
    wanted = np.array_split(np.arange(count), len(classes))
    drawn = [_repeat(np.flatnonzero(labels == c), len(w), rng) for c, w in zip(classes, wanted, strict=True)]
    return np.asarray(rng.permutation(np.concatenate(drawn)))


def _repeat(indices: Indices, count: int, rng: np.random.Generator) -> Indices:
    rounds = -(-count // len(indices))
    return np.concatenate([rng.permutation(indices) for _ in range(rounds)])[:count]


def _centres(samples: Samples, recipe: Recipe) -> NDArray[np.float64]:
    # Middle of the labelled trail, (n, 2), as fractions of the network's input.
    truth = samples.truth
    x_px = (truth["x_begin_px"] + truth["x_end_px"]).to_numpy() / 2
    y_px = (truth["y_begin_px"] + truth["y_end_px"]).to_numpy() / 2
    shape = truth["height"].to_numpy(), truth["width"].to_numpy()
    return np.stack(recipe.from_frame(x_px, y_px, shape), axis=1)
