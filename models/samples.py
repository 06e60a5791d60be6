"""Network inputs with what they truly show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nightsift.models.package import METEOR

SATELLITE: Final = "satellite"
AIRCRAFT: Final = "aircraft"


@dataclass(frozen=True)
class Samples:
    """Network inputs and their truth.

    Attributes
    ----------
    images
        uint8, (n, size, size): differences as the recipe resizes them.
    frames
        One row per image: ``station``, ``night``, ``height``, ``width``; of real frames also ``frame_key``,
        ``verdict`` and, where they are known, ``digest`` and ``event``.
    objects
        One row per meteor, satellite or aircraft: ``image`` (its index), ``kind``, ``x_begin_px``,
        ``y_begin_px``, ``x_end_px``, ``y_end_px``, ``length_px``, ``peak`` and ``snr`` as the simulator
        states them; ``x_begin``, ``y_begin``, ``x_end``, ``y_end`` in fractions of the image; its
        ``significance`` in the image; and whether it is ``clear``, that is, can be told from the noise.
        Of what a person named without its place, all but ``kind`` and ``clear`` is nan.
    """

    images: NDArray[np.uint8]
    frames: pd.DataFrame
    objects: pd.DataFrame

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def truth(self) -> pd.DataFrame:
        """``frames`` with numbers of objects and the most telling object of each.

        ``meteors``, ``satellites`` and ``aircraft`` count clear ones, ``faint`` the other meteors. ``kind``
        and the columns after it are those of the most significant meteor, else of the most significant
        object; empty and nan where there is none.
        """
        objects = self.objects
        counts = {
            "meteors": (objects["kind"] == METEOR) & objects["clear"],
            "satellites": (objects["kind"] == SATELLITE) & objects["clear"],
            "aircraft": (objects["kind"] == AIRCRAFT) & objects["clear"],
            "faint": (objects["kind"] == METEOR) & ~objects["clear"],
        }
        images = objects["image"].to_numpy()
        numbers = {name: np.bincount(images[rows], minlength=len(self)) for name, rows in counts.items()}
        order = np.lexsort([objects["significance"], objects["kind"] == METEOR])
        main = objects.iloc[order].groupby("image").last().reindex(range(len(self)))
        main["kind"] = main["kind"].fillna("")
        return pd.concat([self.frames.assign(**numbers), main.drop(columns="clear")], axis=1)

    def labels(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """Index of each image's class; -1 where a meteor is there that cannot be told from the noise.

        A meteor outranks all else. ``satellite`` stands for satellites and aircraft; the class that is
        neither takes the rest.
        """
        truth = self.truth
        labels = np.full(len(self), rest_class(classes), np.int64)
        if SATELLITE in classes:
            labels[truth["satellites"] + truth["aircraft"] > 0] = classes.index(SATELLITE)
        labels[truth["faint"] > 0] = -1
        labels[truth["meteors"] > 0] = classes.index(METEOR)
        return labels

    def cell_labels(self, classes: Sequence[str], cells: int) -> NDArray[np.int64]:
        """Class of each of ``cells`` x ``cells`` cells of each image, (n, cells, cells).

        That of the clear object whose trail passes it; -1 where a meteor passes that is not clear, and in
        every cell of an image with an object whose place is not known.
        """
        labels = np.full((len(self), cells, cells), rest_class(classes), np.int64)
        ends = self.objects[["x_begin", "y_begin", "x_end", "y_end"]].to_numpy()
        steps = np.linspace(0, 1, 4 * cells)[:, None]
        located = np.isfinite(ends).all(1)
        labels[self.objects["image"][~located]] = -1
        is_meteor, clear = (self.objects["kind"] == METEOR).to_numpy(), self.objects["clear"].to_numpy(bool)
        passes = [(clear & ~is_meteor, SATELLITE), (~clear & is_meteor, None), (clear & is_meteor, METEOR)]
        for which, name in passes:
            rows = which & located
            if name in classes or name is None:
                label = -1 if name is None else classes.index(name)
                for image, trail in zip(self.objects["image"][rows], ends[rows], strict=True):
                    at = trail[:2] + steps * (trail[2:] - trail[:2])
                    x, y = np.clip((at * cells).astype(int), 0, cells - 1).T
                    labels[image, y, x] = label
        return labels

    def take(self, rows: NDArray[np.intp]) -> Samples:
        """The samples of some rows, with their objects."""
        order = pd.Series(np.arange(len(rows)), index=rows)
        objects = self.objects[self.objects["image"].isin(rows)]
        return Samples(
            self.images[rows],
            self.frames.iloc[rows].reset_index(drop=True),
            objects.assign(image=objects["image"].map(order)).reset_index(drop=True),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All samples of all parts, in order."""
        offsets = np.cumsum([0, *(len(part) for part in parts)])
        objects = [
            part.objects.assign(image=part.objects["image"] + offset)
            for part, offset in zip(parts, offsets[:-1], strict=True)
        ]
        return cls(
            np.concatenate([part.images for part in parts]),
            pd.concat([part.frames for part in parts], ignore_index=True),
            pd.concat(objects, ignore_index=True),
        )

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file without pickles: there whole or not at all."""
        tables: dict[str, Any] = {
            f"{table}_{name}": _plain(values[name])
            for table, values in (("frames", self.frames), ("objects", self.objects))
            for name in values
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, images=self.images, **tables)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            frames, objects = (
                pd.DataFrame(
                    {key.removeprefix(table): arrays[key] for key in arrays if key.startswith(table)}
                )
                for table in ("frames_", "objects_")
            )
            return cls(arrays["images"], frames, objects)


def rest_class(classes: Sequence[str]) -> int:
    """Index of the class that is neither meteor nor satellite."""
    (rest,) = (index for index, name in enumerate(classes) if name not in (METEOR, SATELLITE))
    return rest


def _plain(column: pd.Series) -> NDArray[np.generic]:
    values = column.to_numpy()
    return values.astype(np.str_) if values.dtype == object else values
