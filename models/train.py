"""Training: from a TRAIN file to a model package with its card."""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from nightsift.archive.errors import ConfigurationError
from nightsift.models.card import model_card
from nightsift.models.classify import Classifier, best_device
from nightsift.models.dataset import DataConfig, draw_samples, held_out_jobs, training_jobs
from nightsift.models.figures import Figures, figures
from nightsift.models.fit import Fitted, fit, scores, search_rate
from nightsift.models.fitting import Progress
from nightsift.models.folds import fold_figures, split_folds, summary
from nightsift.models.origins import Draw, Parts, described, refuse_one_class
from nightsift.models.package import CARD, ModelPackage, save_package
from nightsift.models.pictures import draw_confusion, draw_curves
from nightsift.models.pretraining import first_weights
from nightsift.models.rates import FoundRate
from nightsift.models.samples import Samples
from nightsift.models.trainfile import ModelConfig, TrainConfig, relative_to

__all__ = [
    "ModelConfig",
    "TrainConfig",
    "TrainReport",
    "checkpoints_of",
    "evaluate",
    "fit",
    "relative_to",
    "suggest_rate",
    "train",
]

HISTORY: Final = "history.csv"
FOLDS: Final = "folds.csv"

Body = dict[str, Tensor] | None


@dataclass(frozen=True)
class TrainReport:
    """The package, its figures on the test stations, a row of ``history`` a round, of ``folds`` a fold."""

    package: ModelPackage
    figures: Figures
    history: pd.DataFrame
    folds: pd.DataFrame


def train(
    config: TrainConfig,
    output: Path,
    progress: Progress = lambda stage, done, total: None,
    *,
    cache: Path | None = None,
    workers: int = 1,
    draw: Draw | None = None,
    resume: bool = False,
) -> TrainReport:
    """Draw samples, fit a network, measure it on stations it never saw, and write the package.

    Beside the package come ``history.csv``, ``curves.png``, ``confusion.png``; ``rate.csv`` and ``rate.png``
    where a learning rate was looked for; ``folds.csv`` where the training set was folded. Checkpoints lie
    beside the output until all is done.

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
    draw
        What draws the samples of a folder or a release.
    resume
        Go on from the checkpoints of a training that was killed.

    Raises
    ------
    ConfigurationError
        If there are checkpoints and ``resume`` is not asked for, or they are those of another training.
    """
    cache = cache or output.with_name(f"{output.name}-samples")
    checkpoints = checkpoints_of(output)
    _refuse_unexpected(checkpoints, resume)
    parts = draw_parts(config, cache, workers, progress, draw)
    body = _body(config, cache, progress)
    folds = cross_validate(
        config, parts.training, parts.validation, progress, body=body, checkpoints=checkpoints
    )
    last = checkpoints / "training.safetensors"
    fitted = fit(
        config,
        parts.training,
        parts.validation,
        progress,
        body=body,
        checkpoint=last,
        on_rate=lambda found: found.save(checkpoints),
    )
    package, measured = _write(config, output, fitted, parts.test)
    (output / CARD).write_text(_card(config, parts, measured, fitted, folds), encoding="utf-8")
    for found in checkpoints.glob("rate.*"):
        shutil.copy(found, output)
    if len(folds):
        folds.to_csv(output / FOLDS, float_format="%.5g")
    shutil.rmtree(checkpoints)
    return TrainReport(package, measured, fitted.history, folds)


def checkpoints_of(output: Path) -> Path:
    """The folder of the checkpoints of a training into ``output``."""
    return output.with_name(f"{output.name}-checkpoints")


def suggest_rate(
    config: TrainConfig,
    output: Path,
    progress: Progress = lambda stage, done, total: None,
    *,
    cache: Path | None = None,
    workers: int = 1,
    draw: Draw | None = None,
) -> FoundRate:
    """Look for the learning rate of the first stage; write ``rate.csv`` and ``rate.png`` into ``output``."""
    cache = cache or output.with_name(f"{output.name}-samples")
    parts = draw_parts(config, cache, workers, progress, draw)
    found = search_rate(config, parts.training, body=_body(config, cache, progress))
    found.save(output)
    return found


def cross_validate(
    config: TrainConfig,
    training: Samples,
    validation: Samples,
    progress: Progress = lambda stage, done, total: None,
    *,
    body: Body = None,
    checkpoints: Path | None = None,
) -> pd.DataFrame:
    """Fit to all folds but one, and measure on that one, for each; one row of figures a fold.

    ``validation`` chooses the epoch, so that no fold is measured with what it chose itself.
    """
    if not config.training.folds:
        return pd.DataFrame()
    settings, rows = config.training, list[dict[str, float]]()
    parts = split_folds(training, config.model.classes, settings.folds, settings.fold_by, settings.seed)
    for number, held_out in enumerate(parts, start=1):
        kept = checkpoints / f"fold-{number:02}.json" if checkpoints else None
        if kept is not None and kept.exists():
            rows.append(json.loads(kept.read_text(encoding="utf-8")))
            continue
        rest = np.setdiff1d(np.arange(len(training)), held_out)
        fitted = fit(
            config,
            training.take(rest),
            validation,
            partial(_of_fold, progress, number),
            body=body,
            checkpoint=kept and kept.with_suffix(".safetensors"),
        )
        left = training.take(held_out)
        score = scores(fitted.network, config, left.images)
        rows.append(fold_figures(left.labels(config.model.classes), score, config.model.classes))
        if kept is not None:
            kept.write_text(json.dumps(rows[-1]), encoding="utf-8")
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="fold"))


def _of_fold(progress: Progress, fold: int, stage: str, done: int, total: int) -> None:
    progress(f"fold {fold} {stage}", done, total)


def evaluate(package: ModelPackage, samples: Samples) -> Figures:
    """Figures of a package on samples, as it scores them in use."""
    return _measure(package, samples)[0]


def _measure(package: ModelPackage, samples: Samples) -> tuple[Figures, NDArray[np.float32]]:
    seen = Classifier(package).classify_inputs(samples.images)
    score, position, _ = np.split(seen, [-6, -4], axis=1)
    shape = samples.truth["height"].to_numpy(), samples.truth["width"].to_numpy()
    recipe: Any = package.recipe
    position_px = np.stack(recipe.to_frame(position[:, 0], position[:, 1], shape), axis=1)
    return figures(samples, package.classes, score, position_px, package.threshold), score


def draw_parts(
    config: TrainConfig, cache: Path, workers: int, progress: Progress, draw: Draw | None
) -> Parts:
    """The samples that the TRAIN file names."""
    data, recipe = config.data, config.recipe
    if not isinstance(data, DataConfig):
        if draw is None:
            raise ValueError(f"samples from a {data.source} need a function that draws them")
        parts = draw(data, recipe)
        refuse_one_class(parts, config.model.classes)
        return parts
    jobs = (*training_jobs(data, recipe), held_out_jobs(data, recipe))
    training, validation, test = (
        draw_samples(part, cache, workers, lambda done, total: progress("draw", done, total)) for part in jobs
    )
    return Parts(training, validation, test)


def _body(config: TrainConfig, cache: Path, progress: Progress) -> Body:
    device = best_device()
    name = config.model.architecture
    return first_weights(config.pretraining, name, config.training, config.recipe, cache, progress, device)


def _write(config: TrainConfig, output: Path, fitted: Fitted, test: Samples) -> tuple[ModelPackage, Figures]:
    classes = config.model.classes
    description: Any = {**config.model.model_dump(), "recipe": config.recipe}
    package = save_package(output, fitted.network, **description, card="")
    measured, score = _measure(package, test)
    fitted.history.to_csv(output / HISTORY, index=False, float_format="%.5g")
    draw_curves(fitted.history, output / "curves.png")
    labels, counts = test.labels(classes), np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (labels[labels >= 0], score[labels >= 0].argmax(1)), 1)
    draw_confusion(counts, classes, output / "confusion.png")
    return package, measured


def _card(config: TrainConfig, parts: Parts, measured: Figures, fitted: Fitted, folds: pd.DataFrame) -> str:
    origin, test = described(config.data, parts)
    return model_card(
        **config.model.model_dump(),
        measured=measured,
        origin=origin,
        test=test,
        fitted=how_fitted(config, fitted),
        folds=summary(folds) if len(folds) else "",
    )


def how_fitted(config: TrainConfig, fitted: Fitted) -> str:
    """How long it took on what, and where the body came from, for a card."""
    cuda = best_device().type == "cuda"
    processor = torch.backends.cpu.get_cpu_capability()
    threads = torch.get_num_threads()
    cores = f"{threads} thread{'s' * (threads > 1)} of {platform.machine()} with {processor}, no GPU"
    machine = f"one {torch.cuda.get_device_name()}" if cuda else cores
    steps = fitted.history.groupby("stage", sort=False)["step"].max()
    stages = ", ".join(f"{count} steps of `{name}`" for name, count in steps.items())
    source = config.pretraining.source
    body = "from scratch" if source == "none" else f"from weights of {source}"
    return f"Fitted {body} in {_duration(fitted.seconds)} on {machine}: {stages} (torch {torch.__version__})."


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _refuse_unexpected(checkpoints: Path, resume: bool) -> None:
    if resume or not checkpoints.exists():
        return
    raise ConfigurationError(
        f"a training into this output was killed: {checkpoints} holds its checkpoints",
        expected="none, or --resume",
        mend="go on with --resume, or delete that folder to train from the start",
    )
