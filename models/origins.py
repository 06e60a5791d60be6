"""Where training samples come from: the ``[data]`` table of a TRAIN file, and what a card says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Discriminator, Tag

from nightsift.models.dataset import DataConfig
from nightsift.models.labelled import FolderData, Sides
from nightsift.models.package import METEOR
from nightsift.models.recipe import Recipe
from nightsift.models.released import ReleaseData
from nightsift.models.samples import Samples
from nightsift.models.shown import refuse_missing_classes, samples_of
from nightsift.models.splits import refuse_empty, refuse_leakage, split

PARTS = ("training", "validation", "test")


def _source(data: Any) -> str:
    return str(data.get("source", "simulated") if isinstance(data, Mapping) else data.source)


Data = Annotated[
    Annotated[DataConfig, Tag("simulated")]
    | Annotated[FolderData, Tag("folder")]
    | Annotated[ReleaseData, Tag("release")],
    Discriminator(_source),
]


@dataclass(frozen=True)
class Parts:
    """Samples that train, that choose the epoch, and that test; and what was left out, by reason."""

    training: Samples
    validation: Samples
    test: Samples
    left_out: Mapping[str, int] = field(default_factory=dict)


Draw = Callable[[FolderData | ReleaseData, Recipe], Parts]


def labelled_parts(samples: Samples, data: Sides, left_out: Mapping[str, int], name: str) -> Parts:
    """Split labelled samples by station-night.

    Raises
    ------
    ConfigurationError
        A part is empty, or parts that folders name share a file, a frame, an event or a station-night.
    """
    if not len(samples):
        left = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        refuse_empty({"training": pd.DataFrame(columns=["station", "night"])}, f"{name} (left out: {left})")
    part = part_of(samples.frames, data)
    frames = {each: samples.frames[part == each] for each in PARTS}
    refuse_leakage(frames)
    refuse_empty(frames, name)
    training, validation, test = (samples.take(np.flatnonzero(part == each)) for each in PARTS)
    return Parts(training, validation, test, left_out)


def refuse_one_class(parts: Parts, classes: Sequence[str]) -> None:
    """Refuse training without some of each class, and measuring without meteors and others.

    Raises
    ------
    ConfigurationError
        Names the part, and the numbers of each class.
    """
    refuse_missing_classes(parts.training.labels(classes), classes, "the training part")
    for name in ("validation", "test"):
        two = (METEOR, "without a meteor")
        refuse_missing_classes(getattr(parts, name).labels(two), two, f"the {name} part")


def part_of(frames: pd.DataFrame, data: Sides) -> NDArray[np.object_]:
    """The part of each frame: as its folder names it, else dealt out by station-night."""
    unnamed = pd.Series("", index=frames.index)
    part = np.asarray(frames.get("part", unnamed), dtype=object).copy()
    is_meteor = (frames["verdict"] == METEOR).to_numpy()
    for name, share in (("test", data.test_share), ("validation", data.validation_share)):
        if not (part == name).any():
            from_named = part == "training" if name == "validation" else np.zeros(len(part), bool)
            pool = np.flatnonzero((part == "") | from_named)
            if len(pool):
                part[pool[split(frames.iloc[pool], is_meteor[pool], share, data.seed)]] = name
    part[part == ""] = "training"
    return part


def draw_labelled(shown: Callable[[Counter[str]], Any], data: Sides, recipe: Recipe, name: str) -> Parts:
    """Samples of labelled differences, split.

    Parameters
    ----------
    shown
        Gives `Shown`, and counts in its argument what it leaves out.
    name
        Of the set, for messages.
    """
    left_out = Counter[str]()
    samples = samples_of(shown(left_out), recipe)
    return labelled_parts(samples, data, left_out, name)


def described(data: DataConfig | FolderData | ReleaseData, parts: Parts) -> tuple[str, str]:
    """What a card says the samples are that trained, and that tested."""
    training, test = len(parts.training), len(parts.test)
    if isinstance(data, DataConfig):
        return (
            f"{training} differences of the simulated network of seed {data.seed}, "
            f"{data.nights} nights a station; the last {data.validation_share:.0%} of its {data.stations} "
            "stations chose the epoch.",
            f"On {test} differences of {data.test_stations} stations of the network of seed "
            f"{data.test_seed}.",
        )
    nights = {name: len(getattr(parts, name).frames.groupby(["station", "night"])) for name in PARTS}
    where = (
        f"the labelled folder `{data.path}`"
        if isinstance(data, FolderData)
        else f"release {data.release or 'latest'} with the verdicts of `{data.verdicts}`"
    )
    left = ", ".join(f"{count} {reason}" for reason, count in parts.left_out.items())
    return (
        f"{training} real differences of {where}, {nights['training']} station-nights; "
        f"{nights['validation']} others chose the epoch. Left out: {left or 'none'}.",
        f"On {test} differences of {nights['test']} other station-nights of the same set.",
    )
