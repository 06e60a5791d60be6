"""Crops of network inputs around single objects, which teach a network what to look for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.errors import ConfigurationError
from nightsift.models.fitting import Batch
from nightsift.models.package import METEOR
from nightsift.models.samples import SATELLITE, Samples, rest_class

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

_JITTER = 0.35
_TRIES = 8
# Share of crops around a clear meteor, around another clear object, and around no meteor.
_SHARES = (0.5, 0.15, 0.35)
_INVISIBLE = 2.0


class Crops:
    """Draws crops of ``side_px`` pixels and the class of each.

    Half of the crops hold a clear meteor, some a clear satellite or aircraft, the others are taken anywhere
    in the same images where no meteor is, clear or faint, so that only the meteor makes the difference.
    """

    def __init__(self, samples: Samples, classes: Sequence[str], side_px: int) -> None:
        self._images, self._side = samples.images, side_px
        objects = samples.objects
        is_meteor = (objects["kind"] == METEOR).to_numpy()
        located = objects["x_begin"].notna().to_numpy()
        clear = objects["clear"].to_numpy(bool) & located
        self._of_image = objects["image"].to_numpy()
        self._ends = objects[["x_begin", "y_begin", "x_end", "y_end"]].to_numpy() * samples.images.shape[1]
        if not (is_meteor & clear).any():
            raise ConfigurationError(
                f"none of {len(samples)} training samples shows a clear meteor whose place is known",
                mend="draw more stations, nights or runs, or raise the rate of meteors; labelled pictures "
                "without places need [training] crops = { steps = 0 }",
            )
        self._meteors, self._others = np.flatnonzero(is_meteor & clear), np.flatnonzero(~is_meteor & clear)
        seen = np.flatnonzero(is_meteor & (objects["significance"] > _INVISIBLE))
        self._seen = {
            image: self._ends[seen[self._of_image[seen] == image]] for image in set(self._of_image[seen])
        }
        rest = rest_class(classes)
        other = classes.index(SATELLITE) if SATELLITE in classes else rest
        self._labels = (classes.index(METEOR), other, rest)

    def draw(self, count: int, rng: np.random.Generator) -> Batch:
        """Crops of ``side_px`` x ``side_px`` pixels; their cells are not judged."""
        sources = rng.choice(3, count, p=_SHARES)
        if not len(self._others):
            sources[sources == 1] = 2
        crops = [
            self._around(rng, (self._meteors, self._others)[s]) if s < 2 else self._empty(rng)
            for s in sources
        ]
        cells = np.full((count, self._side // 32, self._side // 32), -1)
        return Batch(np.stack(crops), np.array(self._labels)[sources], cells)

    def _around(self, rng: np.random.Generator, objects: NDArray[np.intp]) -> Images:
        chosen = rng.choice(objects)
        middle = self._ends[chosen].reshape(2, 2).mean(0)
        return self._cut(self._of_image[chosen], middle + rng.uniform(-_JITTER, _JITTER, 2) * self._side)

    def _empty(self, rng: np.random.Generator) -> Images:
        while True:
            image = int(rng.integers(len(self._images)))
            for middle in rng.uniform(0, self._images.shape[1], (_TRIES, 2)):
                if not self._shows_meteor(image, middle):
                    return self._cut(image, middle)

    def _shows_meteor(self, image: int, middle: Floats) -> bool:
        ends = self._seen.get(image)
        if ends is None:
            return False
        steps = np.linspace(0, 1, 9)[:, None, None]
        if np.isnan(ends).any():
            return True
        along = ends[:, :2] + steps * (ends[:, 2:] - ends[:, :2])
        return bool(
            (np.abs(along - self._corner(middle) - self._side / 2) < self._side / 2 + 3).all(-1).any()
        )

    def _cut(self, image: int, middle: Floats) -> Images:
        x, y = self._corner(middle)
        return self._images[image, y : y + self._side, x : x + self._side]

    def _corner(self, middle: Floats) -> NDArray[np.intp]:
        size = self._images.shape[1]
        return np.clip(middle - self._side / 2, 0, size - self._side).astype(int)
