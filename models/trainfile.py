"""The TRAIN file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from nightsift.models.description import Name
from nightsift.models.origins import Data
from nightsift.models.package import METEOR, Architecture, Classes, HeadName, Probability, packaged_names
from nightsift.models.recipe import Recipe
from nightsift.models.samples import SATELLITE
from nightsift.models.settings import PretrainingConfig, TrainingConfig


class ModelConfig(BaseModel):
    """What the package will be called and can say.

    ``classes`` hold ``meteor``, may hold ``satellite`` (which stands for aircraft too), and one more, which
    takes all other frames. ``threshold`` is the least score of a detection. ``head`` stands on the body:
    ``mean-max``, ``average``, ``fastai`` or ``galindo`` (`heads`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    architecture: Architecture
    head: HeadName = "mean-max"
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
    data: Data
    pretraining: PretrainingConfig = PretrainingConfig()
    training: TrainingConfig = TrainingConfig()


def relative_to(config: TrainConfig, folder: Path) -> TrainConfig:
    """The same, with the path of first weights taken from the folder of the TRAIN file."""
    path = config.pretraining.path
    if path is None or (config.pretraining.source == "package" and str(path) in packaged_names()):
        return config
    pretraining = config.pretraining.model_copy(update={"path": folder / path})
    return config.model_copy(update={"pretraining": pretraining})
