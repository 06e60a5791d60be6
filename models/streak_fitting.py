"""Fitting a `StreakNetwork` to crops of simulated nights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn.functional import cross_entropy

from nightsift.archive.errors import ConfigurationError
from nightsift.models.recipe import FullSize
from nightsift.models.streak_samples import (
    METEOR_CELL,
    NOT_JUDGED,
    NOTHING,
    THRESHOLDS,
    Crop,
    NightSamples,
)
from nightsift.models.streaks import CELL_PX, StreakNetwork, read

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]

_JITTER_PX: Final = 100
_FACTORS: Final = (2, 3, 4, 6)
_HARD_CELLS: Final = 96
_MOST_HARD: Final = 600


class StreakTraining(BaseModel):
    """How a network for differences at full size is fitted.

    AdamW on crops of ``crop_px`` pixels, ``batch`` at a time, in cycles of ``cycles`` steps; within a cycle
    the rate falls from ``learning_rate`` as a cosine. Of the crops, ``meteors`` lie around a clear meteor,
    ``others`` around a clear satellite or aircraft, ``mistakes`` around what the network itself took for a
    meteor (every ``look_every`` steps it looks at a dozen nights), the rest anywhere. ``reduced`` of them are
    reduced by 2 to 6, as large frames are, and ``without_rise`` have no rises.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    crop_px: Annotated[int, Field(ge=64, multiple_of=64)] = 256
    batch: Positive = 32
    cycles: Annotated[tuple[Positive, ...], Field(min_length=1)] = (4000, 12000)
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    meteors: Share = 0.45
    others: Share = 0.15
    mistakes: Share = 0.15
    look_every: Positive = 1500
    reduced: Share = 0.2
    without_rise: Share = 0.1
    precision: Literal["fp32", "bf16"] = "bf16"

    @model_validator(mode="after")
    def _shares_of_one(self) -> Self:
        if self.meteors + self.others + self.mistakes > 1:
            raise ValueError("expected meteors, others and mistakes to be at most 1 together")
        return self


class Place(NamedTuple):
    """A place in a difference of a night, in pixels."""

    night: int
    image: int
    y: float
    x: float


class CropDrawer:
    """Draws crops, turned and mirrored at random.

    Raises
    ------
    ConfigurationError
        The nights show no clear meteor, or nothing without one.
    """

    def __init__(self, nights: Sequence[NightSamples], settings: StreakTraining) -> None:
        self._nights, self._settings = nights, settings
        self._rng = np.random.default_rng(settings.seed)
        self._meteors = _clear(nights, meteor=True)
        self._others = _clear(nights, meteor=False)
        self._images = [(number, image) for number, night in enumerate(nights) for image in range(len(night))]
        self.mistakes: list[Place] = []
        if not len(self._meteors):
            raise ConfigurationError(
                f"none of {len(self._images)} training differences shows a clear meteor",
                mend="draw more stations, nights or runs, or raise the rate of meteors",
            )

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """A batch: images (n, 1, s, s), rises (n, 1, s / 16, s / 16) and cells (n, s / 32, s / 32)."""
        crops = [self._turned(self._crop(self._place())) for _ in range(self._settings.batch)]
        images, rises, cells = (torch.from_numpy(np.stack(parts)) for parts in zip(*crops, strict=True))
        return images[:, None], rises[:, None], cells

    def _place(self) -> Place:
        settings, rng, half = self._settings, self._rng, self._settings.crop_px / 2
        chance = rng.random()
        for share, things in ((settings.meteors, self._meteors), (settings.others, self._others)):
            if chance < share and len(things):
                return self._around(*things[rng.integers(len(things))])
            chance -= share
        if 0 <= chance < settings.mistakes and self.mistakes:
            found = self.mistakes[rng.integers(len(self.mistakes))]
            y, x = rng.uniform(-0.85 * 2 * half, -0.1 * 2 * half, 2)
            return found._replace(y=found.y + y, x=found.x + x)
        number, image = self._images[rng.integers(len(self._images))]
        height, width = self._nights[number].shape
        y, x = (rng.uniform(0, max(1, side - 2 * half)) for side in (height, width))
        return Place(number, image, y, x)

    def _around(self, number: int, thing: int) -> Place:
        things, half = self._nights[number].things, self._settings.crop_px / 2
        ends = things.ends[thing].reshape(2, 2)
        at = ends[0] + self._rng.random() * (ends[1] - ends[0])
        x, y = at + self._rng.uniform(-_JITTER_PX, _JITTER_PX, 2) - half
        return Place(number, int(things.image[thing]), y, x)

    def _crop(self, place: Place) -> Crop:
        settings, rng, night = self._settings, self._rng, self._nights[place.night]
        side, factor = settings.crop_px, 1
        y, x = place.y, place.x
        if rng.random() < settings.reduced:
            factor = int(rng.choice(_FACTORS))
            y, x = (at - side * (factor - 1) * rng.random() for at in (y, x))
        corner = [
            int(np.clip(at, 0, max(0, size - side * factor // 2))) // CELL_PX * CELL_PX
            for at, size in zip((y, x), night.shape, strict=True)
        ]
        threshold = int(rng.integers(len(THRESHOLDS)))
        crop = night.crop(place.image, threshold, (corner[0], corner[1]), side, factor)
        forget = settings.without_rise if factor == 1 else 0.5
        return crop._replace(rise=0 * crop.rise) if rng.random() < forget else crop

    def _turned(self, crop: Crop) -> Crop:
        quarters, mirrored = int(self._rng.integers(4)), self._rng.random() < 0.5
        way = slice(None, None, -1 if mirrored else 1)
        image, rise, cells = (np.ascontiguousarray(np.rot90(part, quarters)[:, way]) for part in crop)
        return Crop(image, rise, cells)  # type: ignore[arg-type]  # numpy loses the dtypes

    def learn_from(self, mistakes: Sequence[Place]) -> None:
        """Draw crops around these places too; the oldest are forgotten."""
        self.mistakes = [*self.mistakes, *mistakes][-_MOST_HARD:]


def _clear(nights: Sequence[NightSamples], *, meteor: bool) -> list[tuple[int, int]]:
    return [
        (number, int(thing))
        for number, night in enumerate(nights)
        for thing in np.flatnonzero(night.things.clear & (night.things.meteor == meteor))
    ]


def cell_loss(logits: Tensor, cells: Tensor) -> Tensor:
    """Mean loss of the cells that a trail passes, of those that none passes, and of the hardest of these.

    Nearly all cells are empty, and nearly all of them easily told; the few that are not become false alarms.
    """
    loss = cross_entropy(logits.float(), cells.clamp(min=0), reduction="none")
    passed, empty = loss[cells > NOTHING], loss[cells == NOTHING]
    total = logits.sum() * 0
    if len(passed):
        total = total + passed.mean()
    if len(empty):
        total = total + empty.mean() + 0.5 * empty.topk(min(len(empty), _HARD_CELLS)).values.mean()
    return total


class StreakFitting:
    """Fits a network in place; see `StreakTraining`."""

    def __init__(self, network: StreakNetwork, drawer: CropDrawer, settings: StreakTraining) -> None:
        self._network, self._drawer, self._settings = network, drawer, settings
        self._device = next(network.parameters()).device
        self._step = 0

    def cycle(self, steps: int) -> None:
        """Begin a cycle: a new optimiser and a new fall of the rate."""
        settings = self._settings
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, settings.learning_rate, steps, pct_start=min(0.3, 200 / steps)
        )

    def steps(self, count: int) -> float:
        """Take so many steps; the mean loss."""
        return float(np.mean([self._take() for _ in range(count)]))

    def _take(self) -> float:
        self._network.train()
        images, rises, cells = (part.to(self._device) for part in self._drawer.draw())
        images = images.contiguous(memory_format=torch.channels_last)
        narrow = self._settings.precision == "bf16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=narrow):
            logits = self._network(images, rises)
        loss = cell_loss(logits, cells)
        if not torch.isfinite(loss):
            raise ConfigurationError(
                f"the loss is {float(loss)} at step {self._step}",
                mend=f"train with a learning rate below {self._settings.learning_rate}",
            )
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 2.0)
        self._optimizer.step()
        self._schedule.step()
        self._step += 1
        return float(loss.detach())


@torch.inference_mode()
def score_maps(network: StreakNetwork, night: NightSamples, threshold: int = 0) -> NDArray[np.float32]:
    """Scores of the class meteor of all cells of all differences of a night, (n, rows, columns)."""
    network.eval()
    device, recipe, maps = next(network.parameters()).device, FullSize(kind="full-size"), []
    for index in range(len(night)):
        parts = read(night.whole(index, threshold), night.rises[index].astype(np.float32), recipe)
        image, rise = (torch.from_numpy(part)[None, None].to(device) for part in parts)
        logits = network(image.contiguous(memory_format=torch.channels_last), rise)
        maps.append(logits.softmax(1)[0, METEOR_CELL].cpu().numpy())
    return np.stack(maps).astype(np.float32)


def false_places(
    network: StreakNetwork, nights: Sequence[NightSamples], numbers: Iterable[int], threshold: int
) -> list[Place]:
    """Of each difference the cell without a meteor that looks most like one, if it scores above .15."""
    found = []
    for number in numbers:
        night = nights[number]
        for image, scores in enumerate(score_maps(network, night, threshold)):
            side = CELL_PX * max(scores.shape)
            cells = night.cells(image, (0, 0), side, 1)[: scores.shape[0], : scores.shape[1]]
            wrong = np.where((cells == METEOR_CELL) | (cells == NOT_JUDGED), 0, scores)
            row, column = np.unravel_index(wrong.argmax(), wrong.shape)
            if wrong[row, column] > 0.15:
                found.append(Place(number, image, float(row * CELL_PX), float(column * CELL_PX)))
    return found
