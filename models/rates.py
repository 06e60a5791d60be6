"""The learning-rate finder."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from torch.optim.lr_scheduler import LambdaLR

from nightsift.archive.errors import ConfigurationError
from nightsift.models.fitting import Diverged, Fitting, Stage
from nightsift.models.networks import Network
from nightsift.models.pictures import draw_rate
from nightsift.models.recipe import Recipe
from nightsift.models.schedules import optimizer
from nightsift.models.settings import TrainingConfig

_LOWEST: Final = 1e-6
_HIGHEST: Final = 1.0
_STEPS = 100
_MEMORY: Final = 0.9
# The search ends where the loss is so many times the least.
_BURST: Final = 4.0
_IGNORED_STEPS: Final = 5


@dataclass(frozen=True)
class FoundRate:
    """The suggested rate of a stage; ``learning_rate``, ``loss`` and ``smooth_loss`` of each step."""

    stage: str
    learning_rate: float
    curve: pd.DataFrame

    def save(self, folder: Path) -> None:
        """Write ``rate.csv`` and ``rate.png``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.curve.to_csv(folder / "rate.csv", index=False, float_format="%.5g")
        draw_rate(self.curve, self.learning_rate, folder / "rate.png")


def find_rate(stage: Stage, settings: TrainingConfig, recipe: Recipe, network: Network) -> FoundRate:
    """Suggest a learning rate for a stage.

    A copy of the network is fitted while the rate rises from 1e-6 to 1 evenly in its logarithm (Smith 2017).
    The suggestion is where the smoothed loss falls most steeply with the logarithm of the rate, as Regordosa
    2021, §3.3.3, and Peña-Asensio et al. 2023, §4, read it off.

    Raises
    ------
    ConfigurationError
        If no rate lowers the loss.
    """
    trial = copy.deepcopy(network)
    growth = (_HIGHEST / _LOWEST) ** (1 / (_STEPS - 1))
    moving = optimizer(trial, stage.config, settings, _LOWEST)
    rising = LambdaLR(moving, lambda step: growth**step)
    fitting = Fitting(stage, settings, recipe, trial, moving, rising)
    losses = list[float]()
    for step in range(_STEPS):
        try:
            losses.append(fitting.step(step))
        except Diverged:
            break
        if _smooth(losses)[-1] > _BURST * min(_smooth(losses)):
            break
    rates = _LOWEST * growth ** np.arange(len(losses))
    curve = pd.DataFrame({"learning_rate": rates, "loss": losses, "smooth_loss": _smooth(losses)})
    return FoundRate(stage.name, _steepest(curve), curve)


def _smooth(losses: list[float]) -> list[float]:
    smooth, mean = [], 0.0
    for count, loss in enumerate(losses, start=1):
        mean = _MEMORY * mean + (1 - _MEMORY) * loss
        smooth.append(mean / (1 - _MEMORY**count))
    return smooth


def _steepest(curve: pd.DataFrame) -> float:
    upto = int(curve["smooth_loss"].argmin()) + 1 if len(curve) else 0
    falling = curve.iloc[_IGNORED_STEPS : max(upto, _IGNORED_STEPS)]
    slope = np.gradient(falling["smooth_loss"]) if len(falling) > 1 else np.zeros(0)
    if not len(slope) or slope.min() >= 0:
        raise ConfigurationError(
            "no learning rate between 1e-6 and 1 lowers the loss",
            found=f"{len(curve)} finite losses",
            mend="give learning_rate a number, and look at the labels of the training set",
        )
    return float(falling["learning_rate"].iloc[int(slope.argmin())])
