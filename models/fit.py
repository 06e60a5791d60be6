"""From samples to a fitted network: the stages one after the other, with validations and checkpoints."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blake3
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from nightsift.models.batches import drawn, require_two_classes, whole_inputs
from nightsift.models.checkpoints import Checkpoint, Position
from nightsift.models.classify import best_device
from nightsift.models.crops import Crops
from nightsift.models.figures import average_precision
from nightsift.models.fitting import Fitting, Progress, Stage
from nightsift.models.freezing import freeze
from nightsift.models.networks import Network, build, normalise
from nightsift.models.package import METEOR
from nightsift.models.rates import FoundRate, find_rate
from nightsift.models.samples import Samples, rest_class
from nightsift.models.schedules import optimizer, schedule
from nightsift.models.settings import StageConfig
from nightsift.models.trainfile import TrainConfig

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Fitted:
    """A fitted network.

    Attributes
    ----------
    network
        In evaluation mode.
    history
        One row per round: ``stage``, ``step``, ``learning_rate`` (the stage's greatest), ``loss``, and of the
        validation samples ``validation_loss``, ``validation_accuracy`` and ``validation_average_precision``
        of the meteor class; nan on crops.
    seconds
        Time it took, over all restarts.
    """

    network: Network
    history: pd.DataFrame
    seconds: float


def fit(
    config: TrainConfig,
    training: Samples,
    validation: Samples,
    progress: Progress = lambda stage, done, total: None,
    *,
    body: dict[str, Tensor] | None = None,
    checkpoint: Path | None = None,
    on_rate: Callable[[FoundRate], None] = lambda found: None,
) -> Fitted:
    """Fit a network; of all rounds on whole inputs, keep that of the best average precision on
    ``validation``.

    The same configuration, samples, machine and number of threads give the same network, bit for bit on a
    CPU.

    Parameters
    ----------
    config
        The TRAIN file.
    training, validation
        The samples.
    progress
        Called with the name of the stage and the numbers of steps done and in all.
    body
        First weights of the body, as `pretraining.first_weights` gives them.
    checkpoint
        File that is written after each round; where it exists, training goes on from it.
    on_rate
        Called with each learning rate that was looked for.

    Raises
    ------
    ConfigurationError
        If the samples are of one class, the loss is no longer a number, or the checkpoint is that of another
        training.
    """
    require_two_classes(training.labels(config.model.classes), config.model.classes)
    network = _start(config, body)
    run = _Run(
        config, network, validation, progress, on_rate, checkpoint, _meaning(config, training, validation)
    )
    for stage in stages(config, training):
        run.take(stage)
    network.load_state_dict(run.best)
    return Fitted(network.eval(), pd.DataFrame(run.position.rows), run.position.seconds)


def search_rate(
    config: TrainConfig, training: Samples, *, body: dict[str, Tensor] | None = None
) -> FoundRate:
    """Look for the learning rate of the first stage."""
    network, stage = _start(config, body), next(stages(config, training))
    _freeze(network, config, stage)
    return find_rate(stage, config.training, config.recipe, network)


def stages(config: TrainConfig, training: Samples) -> Iterator[Stage]:
    """The stages that the TRAIN file plans, in order."""
    settings = config.training
    planned = (("head_only", settings.head_only), ("crops", settings.crops), ("whole", settings.whole))
    for number, (name, stage) in enumerate(planned, start=1):
        if stage.planned:
            yield _stage(name, number, stage, config, training)


def scores(network: Network, config: TrainConfig, images: NDArray[np.uint8]) -> Floats:
    """Probabilities of whole inputs (n, size, size) as training computes them, (n, classes)."""
    return np.asarray(_logits(network, config, images).softmax(1).numpy(), np.float32)


def _stage(name: str, number: int, stage: StageConfig, config: TrainConfig, training: Samples) -> Stage:
    settings, classes = config.training, config.model.classes
    seed, rest = (settings.seed, number), rest_class(classes)
    if name == "crops":
        batch_of = drawn(Crops(training, classes, settings.crop_px).draw, stage.batch, seed)
        epoch_steps = max(1, len(training) // stage.batch)
        return Stage(name, number, stage, batch_of, epoch_steps, np.ones(len(classes), np.float32), rest)
    whole = whole_inputs(training, classes, settings.balance, stage.batch, seed)
    return Stage(name, number, stage, *whole, rest)


def _start(config: TrainConfig, body: dict[str, Tensor] | None) -> Network:
    torch.manual_seed(config.training.seed)
    network = build(config.model.architecture, len(config.model.classes), config.model.head)
    if body is not None:
        network.body.load_state_dict(body)
    network.to(best_device())
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
    return network


def _freeze(network: Network, config: TrainConfig, stage: Stage) -> None:
    freeze(network, config.training.frozen_convolutions, body=stage.name == "head_only")


@dataclass
class _Run:
    """A training on its way."""

    config: TrainConfig
    network: Network
    validation: Samples
    progress: Progress
    on_rate: Callable[[FoundRate], None]
    path: Path | None
    meaning: dict[str, Any]

    def __post_init__(self) -> None:
        self.position, self._resumed = Position(), None
        if self.path is not None and self.path.exists():
            self._resumed = Checkpoint.load(self.path, self.meaning)
            self.position = self._resumed.position
            self.network.load_state_dict(self._resumed.network)
        self._kept = self._resumed.best if self._resumed else {}

    @property
    def best(self) -> dict[str, Tensor]:
        """The weights to keep: the best validated ones, else the last."""
        return self._kept or self.network.state_dict()

    def take(self, stage: Stage) -> None:
        """Take the stage, or what is left of it."""
        if stage.number < self.position.stage:
            return
        _freeze(self.network, self.config, stage)
        resumed = self._resumed if stage.number == self.position.stage else None
        if resumed is None:
            self.position.stage, self.position.step, self.position.stale_rounds = stage.number, 0, 0
        moving = optimizer(self.network, stage.config, self.config.training, self._rate(stage))
        course = schedule(moving, stage.config, stage.epoch_steps)
        if resumed is not None:
            resumed.restore(moving, course)
        fitting = Fitting(stage, self.config.training, self.config.recipe, self.network, moving, course)
        for steps in stage.config.rounds(stage.epoch_steps):
            if steps[-1] >= self.position.step and not self._gave_up():
                self._round(stage, fitting, steps)

    def _round(self, stage: Stage, fitting: Fitting, steps: range) -> None:
        begun = time.monotonic()
        loss = fitting.steps(steps)
        row = {"stage": stage.name, "step": steps[-1] + 1, "learning_rate": self.position.rates[stage.name]}
        self.position.rows.append({**row, "loss": loss, **self._validate(stage)})
        self.position.step = steps[-1] + 1
        self.position.seconds += time.monotonic() - begun
        if self.path is not None:
            state = Checkpoint.of(
                self.position, self.network, self._kept, fitting.optimizer, fitting.schedule
            )
            state.save(self.path, self.meaning)
        self.progress(stage.name, self.position.step, stage.config.total(stage.epoch_steps))

    def _rate(self, stage: Stage) -> float:
        if stage.name not in self.position.rates:
            said = stage.config.learning_rate
            if said == "find":
                found = find_rate(stage, self.config.training, self.config.recipe, self.network)
                self.on_rate(found)
                said = found.learning_rate
            self.position.rates[stage.name] = said
        return self.position.rates[stage.name]

    def _gave_up(self) -> bool:
        patience = self.config.training.patience
        return patience > 0 and self.position.stale_rounds >= patience

    def _validate(self, stage: Stage) -> dict[str, float]:
        if stage.name == "crops":
            return dict.fromkeys(_VALIDATED, np.nan)
        figures = _figures(self.network, self.config, self.validation)
        found, best = figures["validation_average_precision"], self.position.best
        self.position.stale_rounds = 0 if found > best else self.position.stale_rounds + 1
        if found >= best:
            self.position.best, self._kept = found, copy.deepcopy(self.network.state_dict())
        return figures


_VALIDATED = ("validation_loss", "validation_accuracy", "validation_average_precision")


def _figures(network: Network, config: TrainConfig, samples: Samples) -> dict[str, float]:
    labels = samples.labels(config.model.classes)
    known = labels >= 0
    if not known.any():
        return dict.fromkeys(_VALIDATED, np.nan)
    logits, truth = _logits(network, config, samples.images[known]), torch.from_numpy(labels[known])
    score, meteor = logits.softmax(1).numpy(), config.model.classes.index(METEOR)
    found = (
        float(cross_entropy(logits, truth)),
        float((score.argmax(1) == labels[known]).mean()),
        average_precision(labels[known] == meteor, score[:, meteor]),
    )
    return dict(zip(_VALIDATED, found, strict=True))


@torch.inference_mode()
def _logits(network: Network, config: TrainConfig, images: NDArray[np.uint8]) -> Tensor:
    device, bf16 = next(network.parameters()).device, config.training.precision == "bf16"
    network.eval()
    parts = [torch.empty(0, len(config.model.classes))]
    for part in np.array_split(images, -(-len(images) // config.training.whole.batch) or 1):
        gray = torch.from_numpy(part).to(device)[:, None].float() / 255
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            parts.append(network(normalise(gray, config.recipe)).float().cpu())
    return torch.cat(parts)


def _meaning(config: TrainConfig, *samples: Samples) -> dict[str, Any]:
    digests = [
        blake3.blake3(part.images.tobytes() + part.labels(config.model.classes).tobytes()).hexdigest()
        for part in samples
    ]
    return {**config.model_dump(mode="json"), "samples": digests}
