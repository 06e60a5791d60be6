"""Training of a package that reads differences at full size: from its TRAIN file to the package."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from nightsift.models.classify import best_device
from nightsift.models.dataset import DataConfig, StationNightRun, training_jobs
from nightsift.models.description import Name
from nightsift.models.figures import Share, average_precision
from nightsift.models.package import METEOR, ModelPackage, save_package
from nightsift.models.recipe import FullSize, Recipe
from nightsift.models.samples import SATELLITE
from nightsift.models.streak_fitting import (
    CropDrawer,
    StreakFitting,
    StreakTraining,
    false_places,
    score_maps,
)
from nightsift.models.streak_samples import NightSamples, draw_nights
from nightsift.models.streaks import StreakNetwork

Progress = Callable[[str, int, int], None]

CLASSES: Final = ("nothing", METEOR, SATELLITE)
HISTORY: Final = "history.csv"
FALSE_SHARE: Final = 0.03
_NIGHTS_LOOKED_AT: Final = 12
_STEPS_A_ROW: Final = 100


class StreakModel(BaseModel):
    """What the package will be called; its recommended threshold comes from the validating stations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    architecture: Literal["streaks"]


class StreakConfig(BaseModel):
    """A TRAIN file of an architecture that reads differences at full size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: StreakModel
    recipe: FullSize = FullSize(kind="full-size")
    data: DataConfig
    training: StreakTraining = StreakTraining()


def train_streaks(
    config: StreakConfig,
    output: Path,
    progress: Progress = lambda stage, done, total: None,
    *,
    cache: Path | None = None,
    workers: int = 1,
) -> ModelPackage:
    """Draw nights, fit a network, set its threshold on stations apart, and write the package.

    Parameters
    ----------
    config
        The parsed TRAIN file.
    output
        Folder of the package.
    progress
        Called with the name of the stage and the numbers of steps done and in all.
    cache
        Folder of drawn nights; beside ``output`` by default.
    workers
        Processes that draw nights.
    """
    begin = time.monotonic()
    cache = cache or output.with_name(f"{output.name}-samples")

    def drawn(jobs: Sequence[StationNightRun]) -> list[NightSamples]:
        return draw_nights(jobs, cache, workers, lambda done, total: progress("draw", done, total))

    training, validation = (drawn(jobs) for jobs in training_jobs(config.data, Recipe()))
    network, history = fit_streaks(config.training, training, progress)
    labels, scores = judged(network, validation)
    threshold = recommended(labels, scores)
    minutes = (time.monotonic() - begin) / 60
    card = _card(config, len(training), labels, scores, threshold, minutes)
    package = save_streaks(output, network, config, threshold, card)
    history.to_csv(output / HISTORY, index=False, float_format="%.5g")
    return package


def save_streaks(
    output: Path, network: StreakNetwork, config: StreakConfig, threshold: float, card: str
) -> ModelPackage:
    """Write the package of a network; see `nightsift.models.package.save_package`."""
    described: Any = {**config.model.model_dump(), "classes": CLASSES, "recipe": config.recipe}
    return save_package(output, network, **described, threshold=threshold, card=card)


def fit_streaks(
    settings: StreakTraining, nights: Sequence[NightSamples], progress: Progress
) -> tuple[StreakNetwork, pd.DataFrame]:
    """Fit a network; the same settings, nights and machine give the same one.

    Returns
    -------
    tuple
        The network, and ``cycle``, ``step`` and mean ``loss`` of every hundred steps.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng((settings.seed, 1))
    network = StreakNetwork(len(CLASSES)).to(best_device())
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
    drawer = CropDrawer(nights, settings)
    fitting = StreakFitting(network, drawer, settings)
    rows = []
    for number, steps in enumerate(settings.cycles, start=1):
        fitting.cycle(steps)
        for done in range(0, steps, _STEPS_A_ROW):
            until = min(done + _STEPS_A_ROW, steps)
            rows.append((number, until, fitting.steps(until - done)))
            progress(f"fit, cycle {number}", until, steps)
            if (done + _STEPS_A_ROW) % settings.look_every < _STEPS_A_ROW:
                looked_at = rng.choice(len(nights), min(_NIGHTS_LOOKED_AT, len(nights)), replace=False)
                drawer.learn_from(false_places(network, nights, looked_at.tolist(), int(rng.integers(2))))
    return network.eval(), pd.DataFrame(rows, columns=["cycle", "step", "loss"])


def judged(
    network: StreakNetwork, nights: Sequence[NightSamples]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Of each difference whether it shows a clear meteor (-1: only one that is not clear), and its score."""
    labels, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for night in nights:
        things, count = night.things, len(night)
        clear = np.bincount(things.image[things.meteor & things.clear], minlength=count) > 0
        any_meteor = np.bincount(things.image[things.meteor], minlength=count) > 0
        labels.append(np.where(clear, 1, np.where(any_meteor, -1, 0)))
        scores.append(score_maps(network, night).max((1, 2)))
    return np.concatenate(labels), np.concatenate(scores)


def recommended(labels: NDArray[np.int64], scores: NDArray[np.float32]) -> float:
    """The least threshold, to two decimals, that at most 3 % of the frames without a meteor reach."""
    empty = scores[labels == 0]
    if not len(empty):
        return 0.85
    return round(float(np.clip(np.ceil(100 * np.quantile(empty, 1 - FALSE_SHARE)) / 100, 0.01, 0.99)), 2)


def _card(
    config: StreakConfig,
    nights: int,
    labels: NDArray[np.int64],
    scores: NDArray[np.float32],
    threshold: float,
    minutes: float,
) -> str:
    data, known = config.data, labels >= 0
    precision = average_precision(labels[known] == 1, scores[known])
    found, flagged = (
        Share(int((scores[labels == label] >= threshold).sum()), int((labels == label).sum()))
        for label in (1, 0)
    )
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} processor"
    return f"""# {config.model.name}

Reads differences at the frame's own size, of any camera, and tells `meteor` from `satellite` (aircraft too)
and `nothing`, cell by cell.

- Trained on {nights} station-nights of the simulated network of seed {data.seed}:
  {sum(config.training.cycles):,} steps of {config.training.batch} crops, {minutes:.0f} minutes on a {machine}
  (with the drawing of what was not cached). No real frame was seen.
- Recommended threshold {threshold:g}: the least that at most {FALSE_SHARE:.0%} of the validating stations'
  frames without a meteor reach. Of these stations' frames with a clear meteor it finds {found},
  of those without one it flags {flagged}; average precision {precision:.3f}.
- Differences may be made with any threshold; it was trained with 3.5 gray levels and with 4 deviations of the
  noise.

Figures on stations, seeds and cameras that had no part in training or in choosing the threshold:
`nightsift model evaluate --package {config.model.name} --set simulated`.
"""
