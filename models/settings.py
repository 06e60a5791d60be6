"""What a TRAIN file says about how a network is fitted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nightsift.models.augment import Augmentation

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class StageConfig(BaseModel):
    """One stage: so many ``steps``, or so many ``epochs``; none of both leaves the stage out.

    ``learning_rate = "find"`` looks for it first (`rates.find_rate`). ``one-cycle`` (Smith and Topin 2018)
    rises over the share ``warm_up``; ``cosine-restarts`` (Loshchilov and Hutter 2016) begins with
    ``first_cycle`` steps or epochs, each cycle ``cycle_growth`` times as long as the one before.
    ``first_layers_rate`` is the rate of the first layers as a share of that of the head; the last layers
    have the geometric mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Count = 0
    epochs: Count = 0
    batch: Annotated[int, Field(gt=1)] = 32
    learning_rate: Positive | Literal["find"] = 0.001
    schedule: Literal["one-cycle", "cosine-restarts", "constant"] = "one-cycle"
    warm_up: Annotated[float, Field(gt=0, lt=1)] = 0.2
    first_cycle: Annotated[int, Field(gt=0)] = 1
    cycle_growth: Annotated[int, Field(gt=0)] = 2
    first_layers_rate: Share = 1.0

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps and self.epochs:
            raise ValueError("expected steps or epochs, not both")
        return self

    @property
    def planned(self) -> bool:
        """Whether there is such a stage at all."""
        return self.steps + self.epochs > 0

    def length(self, count: int, epoch_steps: int) -> int:
        """Steps of ``count`` of the units that the stage is measured in."""
        return count * epoch_steps if self.epochs else count

    def total(self, epoch_steps: int) -> int:
        """Steps in all."""
        return self.length(self.epochs or self.steps, epoch_steps)

    def rounds(self, epoch_steps: int) -> list[range]:
        """Steps between validations: epochs, or tenths of a stage measured in steps."""
        total, parts = self.total(epoch_steps), self.epochs or 10
        edges = [round(total * part / parts) for part in range(parts + 1)]
        return [range(low, high) for low, high in pairwise(edges) if high > low]


class TrainingConfig(BaseModel):
    """How a network is fitted, in up to three stages.

    ``head_only`` fits the head on the frozen body to whole inputs, ``crops`` all layers to crops of
    ``crop_px`` pixels, half of them meteors, and ``whole`` all layers to whole inputs. There, under a linear
    head, the loss is that of the picture plus that of its cells, each judged as a picture of its own: so the
    network learns where the meteor is, which Grad-CAM then reads from the same weights.

    ``balance`` makes whole inputs: ``half``, meteors in half of each batch, drawn with repetition; ``none``,
    all in turn; ``undersample``, as many of each class as of the rarest; ``oversample``, as many as of the
    most frequent; ``weights``, all in turn with the loss weighted against their frequency.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    crop_px: Annotated[int, Field(ge=32, multiple_of=32)] = 64
    head_only: StageConfig = StageConfig()
    crops: StageConfig = StageConfig(steps=4000, batch=64, learning_rate=0.001)
    whole: StageConfig = StageConfig(steps=600, batch=32, learning_rate=0.0005)
    optimizer: Literal["adamw", "adam"] = "adamw"
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    augmentation: tuple[Augmentation, ...] = ("flips", "rotation", "speckle", "fading")
    balance: Literal["half", "none", "undersample", "oversample", "weights"] = "half"
    frozen_convolutions: Count = 0
    patience: Count = 0
    folds: Count = 0
    fold_by: Literal["station-night", "image"] = "station-night"
    precision: Literal["fp32", "bf16"] = "bf16"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.folds == 1:
            raise ValueError("expected folds = 0 (none) or at least 2, found 1")
        if not (self.head_only.planned or self.crops.planned or self.whole.planned):
            raise ValueError("expected steps or epochs of at least one of head_only, crops and whole")
        return self


class PretrainingConfig(BaseModel):
    """Where the body's first weights come from.

    ``path`` is for ``imagenet`` a state dict of torchvision (``.pth`` or ``.safetensors``), downloaded where
    there is no path; for ``fashion-mnist`` the folder of torchvision's dataset; for ``package`` that of a
    package. ``stage`` and ``size_px`` say how the body is fitted to Fashion-MNIST.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: Annotated[Literal["none", "imagenet", "fashion-mnist", "package"], Field(alias="from")] = "none"
    path: Path | None = None
    size_px: Annotated[int, Field(ge=32, multiple_of=32)] = 64
    stage: StageConfig = StageConfig(epochs=3, batch=64, learning_rate=0.001)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.source == "package" and self.path is None:
            raise ValueError("expected the path of a package folder")
        if self.stage.learning_rate == "find":
            raise ValueError('expected a number as the rate of pre-training, not "find"')
        return self
