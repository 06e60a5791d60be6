"""Training of a vetting network: from a TRAIN file with ``[model] kind = "vetting"`` to its package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Final, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from nightsift.archive.errors import ConfigurationError
from nightsift.models.description import CARD
from nightsift.models.vetting.figures import VettingFigures, vetting_figures
from nightsift.models.vetting.network import StampsGru
from nightsift.models.vetting.package import KINDS, VettingPackage, save_vetting_package
from nightsift.models.vetting.samples import (
    StampSamples,
    VettingData,
    draw_samples,
    held_out_jobs,
    training_jobs,
)
from nightsift.models.vetting.stamps import StampRecipe
from nightsift.models.vetting.vet import softmax_scores

HISTORY: Final = "history.csv"
_REPORTS: Final = 10
_VALIDATED: Final = 1000  # sequences, drawn at random: enough to see a curve

Progress = Callable[[str, int, int], None]
Share01 = Annotated[float, Field(ge=0, lt=1)]


class VettingModelConfig(BaseModel):
    """What the package will be called; ``paired`` as in `nightsift.models.vetting.network.StampsGru`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["vetting"]
    name: str
    paired: bool = True


class VettingTraining(BaseModel):
    """How a vetting network is fitted: AdamW under one cycle of the learning rate, classes drawn by share.

    Neighbouring frames are hidden with the chance ``hidden`` each, so that gaps and the night's edges are
    nothing new; levels are scaled by up to ``scaling`` either way; stamps are mirrored along and across the
    trail.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    steps: Annotated[int, Field(gt=0)] = 2400
    batch: Annotated[int, Field(gt=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    shares: tuple[float, float, float, float] = (0.3, 0.25, 0.2, 0.25)
    hidden: Share01 = 0.08
    scaling: Share01 = 0.25
    few_shot_steps: Annotated[int, Field(gt=0)] = 60
    few_shot_learning_rate: Annotated[float, Field(gt=0)] = 0.0003


class VettingTrainConfig(BaseModel):
    """A TRAIN file of a vetting model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: VettingModelConfig
    recipe: StampRecipe = StampRecipe()
    data: VettingData
    training: VettingTraining = VettingTraining()


@dataclass(frozen=True)
class VettingReport:
    """The package, its figures on the test stations, and rows of ``step, loss, validation_recall``."""

    package: VettingPackage
    figures: VettingFigures
    history: pd.DataFrame


def train_vetting(
    config: VettingTrainConfig,
    output: Path,
    progress: Progress = lambda stage, done, total: None,
    *,
    cache: Path | None = None,
    workers: int = 1,
    real: StampSamples | None = None,
    few_shot: int = 0,
) -> VettingReport:
    """Draw sequences, fit a network, measure it on stations it never saw, and write the package.

    Parameters
    ----------
    config
        The parsed TRAIN file.
    output
        Folder of the package.
    progress
        Called with the name of the stage and the numbers of steps done and in all.
    cache
        Folder of drawn sequences; beside ``output`` by default.
    workers
        Processes that draw.
    real, few_shot
        Labelled sequences of a real network, of which ``few_shot`` of each kind (or all that there are)
        fine-tune the network; the others measure what that changes.
    """
    cache = cache or output.with_name(f"{output.name}-samples")
    begin = perf_counter()
    training, validation, test = (
        draw_samples(jobs, cache, workers, lambda done, total: progress("draw", done, total))
        for jobs in (*training_jobs(config.data, config.recipe), held_out_jobs(config.data, config.recipe))
    )
    network, history = fit(config, training, validation, progress)
    minutes = (perf_counter() - begin) / 60
    notes = _fine_tuned(network, config, real, few_shot) if real is not None else ""
    measured = vetting_figures(test.truth, softmax_scores(network, test.codes, test.steps))
    card = _card(config, training, measured, minutes, notes)
    package = save_vetting_package(output, network, name=config.model.name, recipe=config.recipe, card=card)
    history.to_csv(output / HISTORY, index=False, float_format="%.5g")
    # As it will be used: from the stored half precision.
    measured = vetting_figures(test.truth, softmax_scores(package.network(), test.codes, test.steps))
    (output / CARD).write_text(_card(config, training, measured, minutes, notes), encoding="utf-8")
    return VettingReport(package, measured, history)


def fit(
    config: VettingTrainConfig, training: StampSamples, validation: StampSamples, progress: Progress
) -> tuple[StampsGru, pd.DataFrame]:
    """Fit a network; the same configuration, samples and machine give the same one."""
    settings = config.training
    _refuse_absent(training)
    torch.manual_seed(settings.seed)
    network = StampsGru(len(KINDS), config.recipe.before, paired=config.model.paired)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
    steps = _Steps(network, training, settings, settings.learning_rate, settings.steps)
    validation = validation.rows(np.random.default_rng(0).permutation(len(validation))[:_VALIDATED])
    rows = []
    for done in range(1, settings.steps + 1):
        loss = steps.take(settings.shares)
        if done % max(1, settings.steps // _REPORTS) == 0:
            rows.append((done, loss, _recall(network, validation)))
            progress("fit", done, settings.steps)
    return network.eval(), pd.DataFrame(rows, columns=["step", "loss", "validation_recall"])


def fine_tune(network: StampsGru, real: StampSamples, settings: VettingTraining) -> StampsGru:
    """Fit a trained network further, in place, to few real sequences; classes equally often.

    Carrasco-Davis et al. 2019: ten real samples a class close most of the gap between simulation and sky.
    Batch normalisation keeps the statistics of the simulation: few samples would not give better ones.
    """
    present = [float((real.labels == kind).any()) for kind in range(len(KINDS))]
    shares = tuple(np.array(present) / sum(present))
    rate, count = settings.few_shot_learning_rate, settings.few_shot_steps
    steps = _Steps(network, real, settings, rate, count, frozen_statistics=True)
    for _ in range(count):
        steps.take(shares)
    return network.eval()


class _Steps:
    """Steps of fitting a network to samples."""

    def __init__(
        self,
        network: StampsGru,
        samples: StampSamples,
        settings: VettingTraining,
        learning_rate: float,
        count: int,
        *,
        frozen_statistics: bool = False,
    ) -> None:
        self._network, self._samples, self._settings = network, samples, settings
        self._frozen = frozen_statistics
        self._rng = np.random.default_rng((settings.seed, count))
        self._of_kind = [np.flatnonzero(samples.labels == kind) for kind in range(len(KINDS))]
        parameters = network.parameters()
        self._optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=settings.weight_decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(self._optimizer, learning_rate, count)

    def take(self, shares: tuple[float, ...]) -> float:
        """One step; the loss."""
        self._network.train(not self._frozen)
        kinds = self._rng.choice(len(KINDS), self._settings.batch, p=np.array(shares) / sum(shares))
        rows = np.array([self._rng.choice(self._of_kind[kind]) for kind in kinds])
        codes, steps = augmented(
            self._samples.codes[rows],
            self._samples.steps[rows],
            self._settings,
            self._rng,
            self._network.middle,
        )
        loss = cross_entropy(self._network(codes, steps), torch.from_numpy(kinds), label_smoothing=0.02)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._schedule.step()
        return float(loss.detach())


def augmented(
    codes: NDArray[np.int8],
    steps: NDArray[np.float32],
    settings: VettingTraining,
    rng: np.random.Generator,
    middle: int,
) -> tuple[Tensor, Tensor]:
    """Sequences mirrored, scaled and with some neighbours hidden, as float32 tensors."""
    mirrored = torch.from_numpy(codes).float()
    for axis in (2, 3):
        chosen = torch.from_numpy(rng.random(len(codes)) < 0.5)
        mirrored[chosen] = mirrored[chosen].flip(axis)
    scale = rng.uniform(1 - settings.scaling, 1 + settings.scaling, (len(codes), 1, 1, 1))
    seen = rng.random(steps.shape[:2]) >= settings.hidden
    seen[:, middle] = True
    shown = torch.from_numpy((seen[:, :, None, None] * scale).astype(np.float32))
    return mirrored * shown, torch.from_numpy(steps * seen[:, :, None])


def _refuse_absent(samples: StampSamples) -> None:
    absent = [kind for number, kind in enumerate(KINDS) if not (samples.labels == number).any()]
    if absent:
        raise ConfigurationError(
            f"none of {len(samples)} training sequences shows {' or '.join(absent)}",
            expected=f"some of each of {', '.join(KINDS)}",
            mend="draw more stations, nights or runs, or raise the rates",
        )


def _fine_tuned(network: StampsGru, config: VettingTrainConfig, real: StampSamples, few_shot: int) -> str:
    """Fine-tune in place; what it changed, in words."""
    rng = np.random.default_rng((config.training.seed, few_shot))
    order = rng.permutation(len(real))
    chosen = np.concatenate([order[real.labels[order] == kind][:few_shot] for kind in range(len(KINDS))])
    others = np.setdiff1d(order, chosen)
    before = _recall(network, real.rows(others))
    fine_tune(network, real.rows(chosen), config.training)
    after = _recall(network, real.rows(others))
    numbers = ", ".join(
        f"{(real.labels[chosen] == number).sum()} {kind}" for number, kind in enumerate(KINDS)
    )
    return (
        f"\nThen fine-tuned with real sequences: {numbers}. On the {len(others)} other labelled real "
        f"sequences the mean recall of the kinds was {before:.2f} before and {after:.2f} after.\n"
    )


def _recall(network: StampsGru, samples: StampSamples) -> float:
    if not len(samples):
        return float("nan")
    score = softmax_scores(network.eval(), samples.codes, samples.steps)
    return vetting_figures(samples.truth, score).recall


def _card(
    config: VettingTrainConfig, training: StampSamples, measured: VettingFigures, minutes: float, notes: str
) -> str:
    data, recipe = config.data, config.recipe
    named = ", ".join(f"`{kind}`" for kind in KINDS)
    counts = ", ".join(f"{(training.labels == n).sum()} {kind}" for n, kind in enumerate(KINDS))
    return f"""# {config.model.name}

A small convolutional network on each of {recipe.frames} stamps ({recipe.before} frames before the
candidate's, {recipe.after} after it) and a GRU on the sequence, after Carrasco-Davis et al. 2019. No frame is
subtracted from another. Classes {named}; `kind` is the likeliest.
It labels candidates and removes none.

## Trained on

{counts}:
sequences of {data.stations} simulated stations (seed {data.seed}), of which the last
{data.validation_share:.0%} validate. {config.training.steps} steps of {config.training.batch} sequences;
{minutes:.0f} minutes with what was drawn anew, one thread, no GPU.
{notes}
## Measured

On {measured.confusion.sum()} simulated sequences of {data.test_stations} other stations (seed
{data.test_seed}):
clear objects (snr of 3 or more), at trails and positions as a first model gives them, and false candidates.
Intervals are Wilson's, 95 %.

{measured.to_markdown()}

## Limits

Simulated stations only, with far more satellites and aircraft than there are: the shares hold, precision
does not follow from them. A satellite or aircraft that shows in one frame of the sequence alone can hardly
be told from a meteor, nor a meteor at the night's edge, where frames are missing, from a satellite. Lamps,
insects and drops are as the simulator draws them.
"""
