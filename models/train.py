"""Training: from a TRAIN file to a model package with its card."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, field_validator

from nightsift.models.card import model_card
from nightsift.models.classify import Classifier, best_device
from nightsift.models.crops import Crops
from nightsift.models.dataset import DataConfig, draw_samples, held_out_jobs, training_jobs
from nightsift.models.figures import Figures, average_precision, figures
from nightsift.models.fitting import Fitting, TrainingConfig, draw_whole
from nightsift.models.networks import Network, build, normalise
from nightsift.models.package import (
    CARD,
    METEOR,
    Architecture,
    Classes,
    ModelPackage,
    Probability,
    save_package,
)
from nightsift.models.recipe import Recipe
from nightsift.models.samples import SATELLITE, Samples, rest_class

Progress = Callable[[str, int, int], None]
HISTORY: Final = "history.csv"


class ModelConfig(BaseModel):
    """What the package will be called and can say.

    ``classes`` hold ``meteor``, may hold ``satellite`` (which stands for aircraft too), and one more, which
    takes all other frames. ``threshold`` is the least score of a detection.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    architecture: Architecture
    classes: Classes = (METEOR, SATELLITE, "nothing")
    threshold: Probability = 0.85

    @field_validator("classes")
    @classmethod
    def _one_rest(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes) - {METEOR, SATELLITE}) != 1:
            raise ValueError(
                f"expected {METEOR!r}, if wanted {SATELLITE!r}, and one class for all other frames"
            )
        return classes


class TrainConfig(BaseModel):
    """A TRAIN file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelConfig
    recipe: Recipe = Recipe()
    data: DataConfig
    training: TrainingConfig = TrainingConfig()


@dataclass(frozen=True)
class TrainReport:
    """The package, its figures on the test stations, and one row of ``history`` per epoch."""

    package: ModelPackage
    figures: Figures
    history: pd.DataFrame


def train(
    config: TrainConfig,
    output: Path,
    progress: Progress = lambda stage, done, total: None,
    *,
    cache: Path | None = None,
    workers: int = 1,
) -> TrainReport:
    """Draw samples, fit a network, measure it on stations it never saw, and write the package.

    Parameters
    ----------
    config
        The parsed TRAIN file.
    output
        Folder of the package.
    progress
        Called with the name of the stage and the numbers of steps done and in all.
    cache
        Folder of drawn samples; beside ``output`` by default.
    workers
        Processes that draw samples.
    """
    cache = cache or output.with_name(f"{output.name}-samples")
    training, validation, test = (
        draw_samples(jobs, cache, workers, lambda done, total: progress("draw", done, total))
        for jobs in (*training_jobs(config.data, config.recipe), held_out_jobs(config.data, config.recipe))
    )
    network, history = fit(config, training, validation, progress)
    description: Any = {**config.model.model_dump(), "recipe": config.recipe}
    package = save_package(output, network, **description, card="")
    measured = evaluate(package, test)
    (output / CARD).write_text(_card(config, training, test, measured), encoding="utf-8")
    history.to_csv(output / HISTORY, index=False, float_format="%.5g")
    return TrainReport(package, measured, history)


def evaluate(package: ModelPackage, samples: Samples) -> Figures:
    """Figures of a package on samples, as it scores them in use."""
    seen = Classifier(package).classify_inputs(samples.images)
    score, position, _ = np.split(seen, [-6, -4], axis=1)
    shape = samples.truth["height"].to_numpy(), samples.truth["width"].to_numpy()
    position_px = np.stack(package.recipe.to_frame(position[:, 0], position[:, 1], shape), axis=1)
    return figures(samples, package.classes, score, position_px, package.threshold)


def _card(config: TrainConfig, training: Samples, test: Samples, measured: Figures) -> str:
    data = config.data
    return model_card(
        **config.model.model_dump(),
        measured=measured,
        origin=f"{len(training)} differences of the simulated network of seed {data.seed}, "
        f"{data.nights} nights a station; the last {data.validation_share:.0%} of its {data.stations} "
        "stations chose the epoch.",
        test=f"On {len(test)} differences of {data.test_stations} stations of the network of seed "
        f"{data.test_seed}.",
    )


def fit(
    config: TrainConfig, training: Samples, validation: Samples, progress: Progress
) -> tuple[Network, pd.DataFrame]:
    """Fit a network; of the second stage, keep what has the best average precision on ``validation``.

    The same configuration, samples and machine give the same network.

    Returns
    -------
    tuple
        The network, and one row per tenth of a stage: ``stage``, ``step``, ``loss`` and
        ``validation_average_precision`` of the meteor class (nan on crops).
    """
    settings, classes = config.training, config.model.classes
    torch.manual_seed(settings.seed)
    network = build(config.model.architecture, len(classes)).to(best_device())
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
    stages = (
        ("crops", settings.crops, Crops(training, classes, settings.crop_px).draw),
        ("whole", settings.whole, draw_whole(training, classes)),
    )
    rows, best, best_state = [], -1.0, network.state_dict()
    for name, stage, draw in stages:
        fitting = Fitting(stage, settings, config.recipe, network, draw, rest_class(classes))
        for steps in _tenths(stage.steps):
            loss = fitting.steps(steps[-1] - steps[0] + 1)
            found = _validate(network, config, validation) if name == "whole" else float("nan")
            progress(name, steps[-1] + 1, stage.steps)
            rows.append((name, steps[-1] + 1, loss, found))
            if found >= best:
                best, best_state = found, copy.deepcopy(network.state_dict())
    network.load_state_dict(best_state)
    columns = ["stage", "step", "loss", "validation_average_precision"]
    return network.eval(), pd.DataFrame(rows, columns=columns)


def _tenths(steps: int) -> list[range]:
    edges = [round(steps * tenth / 10) for tenth in range(11)]
    return [range(low, high) for low, high in pairwise(edges) if high > low]


@torch.inference_mode()
def _validate(network: Network, config: TrainConfig, samples: Samples) -> float:
    """Average precision of the meteor class."""
    meteor = config.model.classes.index(METEOR)
    device = next(network.parameters()).device
    network.eval()
    scores = []
    for images in np.array_split(samples.images, -(-len(samples) // config.training.whole.batch)):
        gray = torch.from_numpy(images).to(device)
        inputs = normalise(gray[:, None].float() / 255, config.recipe)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.training.precision == "bf16"):
            scores.append(network(inputs).float().softmax(1)[:, meteor].cpu().numpy())
    labels = samples.labels(config.model.classes)
    return average_precision(labels[labels >= 0] == meteor, np.concatenate(scores)[labels >= 0])
