"""Differences and what a person or the simulator says they show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nightsift.archive.errors import ConfigurationError
from nightsift.models.dataset import OBJECT_COLUMNS
from nightsift.models.package import METEOR
from nightsift.models.recipe import Recipe
from nightsift.models.samples import AIRCRAFT, SATELLITE, Samples
from nightsift.models.splits import some

UNSURE: Final = "unsure"
NO_METEOR: Final = "no-meteor"
GEOMETRY: Final = ("x_begin_px", "y_begin_px", "x_end_px", "y_end_px", "length_px", "peak", "snr")


@dataclass(frozen=True, eq=False)
class Shown:
    """One difference and what it shows.

    Attributes
    ----------
    picture
        Boolean (y, x): the difference at the frame's own size. Or uint8 (y, x): a difference that came
        ready-made, thresholded and resized by others.
    frame
        ``station``, ``night``, ``frame_key``; where they are known ``digest``, ``event``.
    verdict
        The most telling thing in it: ``meteor``, ``satellite``, ``aircraft``, ``other``, ``no-meteor``.
    objects
        ``kind`` and, where they are known, `GEOMETRY` of each thing in it.
    rise
        Where it is known, largest rise of each block over the pair's noise, as
        `nightsift.models.classify.Classifier.classify` takes it.
    """

    picture: NDArray[np.bool_] | NDArray[np.uint8]
    frame: Mapping[str, Any]
    verdict: str
    objects: Sequence[Mapping[str, Any]] = ()
    rise: NDArray[np.float32] | None = None


def samples_of(shown: Iterable[Shown], recipe: Recipe) -> Samples:
    """Samples for training. What a person named is clear; where its place is not known, it is nan."""
    images, frames, objects = [], [], []
    for index, item in enumerate(shown):
        images.append(recipe.picture(item.picture))
        height, width = item.picture.shape
        frames.append({**item.frame, "verdict": item.verdict, "height": height, "width": width})
        rows = item.objects or _named(item.verdict)
        objects += [{"image": index, **_object(row, (height, width), recipe)} for row in rows]
    size = (0, recipe.size_px, recipe.size_px)
    table = pd.DataFrame(objects, columns=["image", *OBJECT_COLUMNS])
    numbers = dict.fromkeys(table.columns.difference(["image", "kind", "clear"]), np.float64)
    return Samples(
        np.stack(images) if images else np.empty(size, np.uint8),
        pd.DataFrame(frames),
        table.astype({"image": np.int64, "clear": bool, **numbers}),
    )


def refuse_missing_classes(labels: NDArray[np.int64], classes: Sequence[str], what: str) -> None:
    """Refuse a set that shows fewer classes than a model is to tell.

    Raises
    ------
    ConfigurationError
        With the number of each class.
    """
    counts = {name: int((labels == index).sum()) for index, name in enumerate(classes)}
    if min(counts.values(), default=0) > 0:
        return
    missing = [name for name, count in counts.items() if not count]
    raise ConfigurationError(
        f"{what} shows no {' and no '.join(missing)}",
        expected=f"some of each class: {', '.join(classes)}",
        found=", ".join(f"{count} {name}" for name, count in counts.items()),
        mend="add labelled frames, or name only classes that are labelled",
    )


def refuse_contradictions(frames: pd.DataFrame, what: str) -> None:
    """Refuse a frame that one label calls a meteor and another one not.

    Parameters
    ----------
    frames
        With ``name``, by which a frame is known among those of its ``station``, and ``verdict``.

    Raises
    ------
    ConfigurationError
        Names the first few.
    """
    known = frames[frames["verdict"] != UNSURE]
    is_meteor = known["verdict"] == METEOR
    both = is_meteor.groupby([known["station"].astype(str), known["name"]]).nunique()
    names = sorted(name for _, name in both.index[both > 1])
    if names:
        raise ConfigurationError(
            f"{what} calls {len(names)} frames meteor and not meteor: {some(names)}",
            expected="one label for each frame",
            mend=f"remove one of the two, or name them {UNSURE!r} in a file of corrections",
        )


def _named(verdict: str) -> Sequence[Mapping[str, Any]]:
    return [{"kind": verdict}] if verdict in (METEOR, SATELLITE, AIRCRAFT) else []


def _object(row: Mapping[str, Any], shape: tuple[int, int], recipe: Recipe) -> dict[str, Any]:
    known = {name: float(row.get(name, np.nan)) for name in GEOMETRY}
    ends: dict[str, float] = {}
    for end in ("begin", "end"):
        x, y = recipe.from_frame(np.array(known[f"x_{end}_px"]), np.array(known[f"y_{end}_px"]), shape)
        ends |= {f"x_{end}": float(x), f"y_{end}": float(y)}
    return {"kind": row["kind"], **known, **ends, "significance": np.inf, "clear": True}
