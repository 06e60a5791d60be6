"""Training samples at full size: differences of simulated stations, packed to bits, with what they show."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from nightsift.archive.differences import threshold_levels
from nightsift.archive.formats.jpeg import decode_gray
from nightsift.archive.kernels import RISE_BLOCK_PX, Sample, risen
from nightsift.archive.simulator import SimulatedNight, TrueObject, encode_frame
from nightsift.models.dataset import StationNightRun, simulated_runs
from nightsift.models.package import METEOR
from nightsift.models.streaks import CELL_PX, in_noise, logarithm

Floats = NDArray[np.float32]
Cells = NDArray[np.int64]
Progress = Callable[[int, int], None]

THRESHOLDS: Final = (3.5, "4 sigma")
NOTHING, METEOR_CELL, OTHER_CELL, NOT_JUDGED = 0, 1, 2, -1

_LEAST_SNR: Final = 2.5
_LEAST_LENGTH_PX: Final = 6.0
_LEAST_SIGNIFICANCE: Final = 6.0
# In a sky that rose as a whole the trail has no edge in the difference, only in the rises.
_LEAST_RISE: Final = 3.0
_LEAST_SNR_BY_RISE: Final = 6.0
_BESIDE: Final = ((-8, -8), (-8, 8), (8, -8), (8, 8))


class Things(NamedTuple):
    """What the differences of a night show, one entry each.

    ``image`` is the index of the difference; ``meteor`` tells meteors from satellites and aircraft; ``ends``
    are x and y of begin and end in pixels, (n, 4); ``significance`` is that of the trail in the difference;
    ``clear`` tells whether it can be told from the noise at all.
    """

    image: NDArray[np.int64]
    meteor: NDArray[np.bool_]
    ends: NDArray[np.float64]
    length_px: NDArray[np.float64]
    snr: NDArray[np.float64]
    significance: NDArray[np.float64]
    clear: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class NightSamples:
    """The differences of one simulated night.

    Attributes
    ----------
    shape
        (height, width) of the frames.
    bits
        uint8, (n, thresholds, height, width / 8): rows packed to bits, one image for each of `THRESHOLDS`.
    rises
        float16, (n, rows, columns): largest rises of blocks over the pair's noise.
    things
        What they show.
    """

    shape: tuple[int, int]
    bits: NDArray[np.uint8]
    rises: NDArray[np.float16]
    things: Things

    def __len__(self) -> int:
        return len(self.bits)

    def whole(self, index: int, threshold: int = 0) -> NDArray[np.bool_]:
        """One difference, (height, width)."""
        rows = np.unpackbits(self.bits[index, threshold], axis=1)[:, : self.shape[1]]
        return rows.view(np.bool_)

    def crop(self, index: int, threshold: int, corner: tuple[int, int], side: int, factor: int) -> Crop:
        """A square of ``side`` pixels, reduced by ``factor`` from ``side * factor`` pixels of the frame.

        Parameters
        ----------
        corner
            (y, x) of its first pixel, multiples of 32; it may reach beyond the frame.
        """
        y, x = corner
        reach = side * factor
        packed = self.bits[index, threshold, y : y + reach, x // 8 : (x + reach) // 8]
        seen = np.unpackbits(packed, axis=1)[:, : max(0, self.shape[1] - x)]
        image = _set_into(reach, seen)
        blocks = reach // RISE_BLOCK_PX
        first = y // RISE_BLOCK_PX, x // RISE_BLOCK_PX
        rise = _set_into(blocks, logarithm(self.rises[index, first[0] :, first[1] :][:blocks, :blocks]))
        if factor > 1:
            image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
            rise = rise.reshape(side // RISE_BLOCK_PX, factor, side // RISE_BLOCK_PX, factor).max((1, 3))
        return Crop(image, rise, self.cells(index, corner, side, factor))

    def cells(self, index: int, corner: tuple[int, int], side: int, factor: int) -> Cells:
        """Class of each cell of a crop: that of the clear thing that passes it.

        `NOT_JUDGED` where a thing passes that is not clear, beside trails, and outside the frame.
        """
        cells = np.zeros((side // CELL_PX,) * 2, np.int64)
        for axis in (0, 1):
            inside = -(-(self.shape[axis] - corner[axis]) // (factor * CELL_PX))
            np.moveaxis(cells, axis, 0)[max(0, inside) :] = NOT_JUDGED
        here = np.flatnonzero(self.things.image == index)
        clear = self._clear(here, factor)
        # Meteors come last, clear ones after the others: they outrank what they cross.
        for order in np.lexsort([clear, self.things.meteor[here]]):
            thing = here[order]
            kind = METEOR_CELL if self.things.meteor[thing] else OTHER_CELL
            passed = list(self._passed(thing, corner, factor, len(cells)))
            for beside in passed[1:]:
                cells[beside] = np.where(cells[beside] == NOTHING, NOT_JUDGED, cells[beside])
            cells[passed[0]] = kind if clear[order] else NOT_JUDGED
        return cells

    def _clear(self, here: NDArray[np.intp], factor: int) -> NDArray[np.bool_]:
        if factor == 1:
            return self.things.clear[here]
        long_enough = self.things.length_px[here] / factor >= _LEAST_LENGTH_PX
        bright = self.things.snr[here] >= _LEAST_SNR * factor**0.5
        significant = self.things.significance[here] / factor**0.5 >= _LEAST_SIGNIFICANCE
        return np.asarray(self.things.clear[here] & long_enough & bright & significant)

    def _passed(
        self, thing: int, corner: tuple[int, int], factor: int, count: int
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Cells on the trail, then those half a cell to each side."""
        ends = self.things.ends[thing].reshape(2, 2)
        steps = np.linspace(0, 1, max(2, int(self.things.length_px[thing] / factor / 4)))[:, None]
        x, y = ((ends[0] + steps * (ends[1] - ends[0]) - (corner[1], corner[0])) / factor).T
        for down, right in ((0, 0), *_BESIDE):
            row, column = ((at // CELL_PX).astype(np.intp) for at in (y + down, x + right))
            kept = (row >= 0) & (column >= 0) & (row < count) & (column < count)
            yield row[kept], column[kept]

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file without pickles: there whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            arrays = {"shape": np.array(self.shape), "bits": self.bits, "rises": self.rises}
            np.savez_compressed(file, allow_pickle=False, **arrays, **self.things._asdict())
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            height, width = (int(side) for side in arrays["shape"])
            things = Things(**{name: arrays[name] for name in Things._fields})
            return cls((height, width), arrays["bits"], arrays["rises"], things)


class Crop(NamedTuple):
    """float32 (side, side) difference, float32 (side / 16, side / 16) rises, and (side / 32,) * 2 cells."""

    image: Floats
    rise: Floats
    cells: Cells


def _set_into(side: int, part: NDArray[np.generic]) -> Floats:
    whole = np.zeros((side, side), np.float32)
    whole[: part.shape[0], : part.shape[1]] = part
    return whole


def draw_nights(
    jobs: Sequence[StationNightRun],
    cache: Path,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> list[NightSamples]:
    """Draw nights, or read those that ``cache`` already holds; as `nightsift.models.dataset.draw_samples`."""
    paths = {job: cache / f"full-{_file_name(job)}" for job in jobs}
    missing = [job for job, path in paths.items() if not path.exists()]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        drawn = pool.map(draw_night, missing)
        for done, (job, night) in enumerate(zip(missing, drawn, strict=True), start=1):
            night.save(paths[job])
            progress(done, len(missing))
    return [NightSamples.load(path) for path in paths.values()]


def _file_name(job: StationNightRun) -> str:
    digest = hashlib.sha256(repr((job.data, THRESHOLDS)).encode()).hexdigest()[:12]
    return f"{job.seed}-{job.station:03d}-{job.night:02d}-{digest}.npz"


def draw_night(job: StationNightRun) -> NightSamples:
    """Render the runs of one station and night, and subtract frame from frame."""
    pairs = [pair for night, begin in simulated_runs(job) for pair in _pairs(night, begin, job.data.frames)]
    height, width = pairs[0].shape
    rows = [row for image, pair in enumerate(pairs) for row in pair.rows(image)]
    columns = zip(*rows, strict=True) if rows else ([] for _ in Things._fields)
    dtypes = (np.int64, bool, np.float64, np.float64, np.float64, np.float64, bool)
    arrays = [np.array(column, dtype) for column, dtype in zip(columns, dtypes, strict=True)]
    arrays[2] = arrays[2].reshape(-1, 4)
    return NightSamples(
        (height, width),
        np.stack([np.packbits(pair.images, axis=2) for pair in pairs]),
        np.stack([pair.rise for pair in pairs]).astype(np.float16),
        Things(*arrays),
    )


@dataclass(frozen=True, eq=False)
class _Pair:
    images: NDArray[np.bool_]
    rise: Floats
    objects: Sequence[TrueObject]

    @property
    def shape(self) -> tuple[int, int]:
        return self.images.shape[1], self.images.shape[2]

    def rows(self, image: int) -> Iterator[tuple[object, ...]]:
        for item in self.objects:
            ends = item.x_begin_px, item.y_begin_px, item.x_end_px, item.y_end_px
            significance = max(significance_of(shown, ends) for shown in self.images)
            by_rise = _rise_of(self.rise, ends, item.length_px) >= _LEAST_RISE
            sizeable = item.snr >= _LEAST_SNR and item.length_px >= _LEAST_LENGTH_PX
            told = significance >= _LEAST_SIGNIFICANCE or (by_rise and item.snr >= _LEAST_SNR_BY_RISE)
            is_meteor, clear = item.kind == METEOR, sizeable and told
            yield image, is_meteor, ends, item.length_px, item.snr, significance, clear


def _pairs(night: SimulatedNight, begin: int, frames: int) -> Iterator[_Pair]:
    rendered = (night.render(index) for index in range(begin, begin + frames))
    decoded = ((decode_gray(encode_frame(image)), objects) for image, objects in rendered)
    for (previous, _), (current, objects) in pairwise(decoded):
        noise = Sample.of(current).noise(Sample.of(previous))
        rise = cv2.subtract(current, previous)
        images = [rise > int(threshold_levels(threshold, noise)) for threshold in THRESHOLDS]
        yield _Pair(np.stack(images), in_noise(risen(current, previous, 0).blocks, noise), objects)


def significance_of(difference: NDArray[np.bool_], ends: Sequence[float]) -> float:
    """By how many deviations a trail is denser than what surrounds it in a difference."""
    points = np.array(ends).reshape(2, 2)
    low = np.maximum(points.min(0) - 12, 0).astype(int)
    high = np.maximum(points.max(0) + 13, 0).astype(int)
    crop = difference[low[1] : high[1], low[0] : high[0]]
    if min(crop.shape) < 4:
        return 0.0
    begin, end = (tuple(int(v) for v in np.rint(point - low)) for point in points)
    on, near, far = (
        cv2.line(np.zeros(crop.shape, np.uint8), begin, end, 1, width) > 0 for width in (2, 9, 21)
    )
    around = far & ~near
    if not around.any() or not on.any():
        return 0.0
    density = float(crop[around].mean())
    return float((crop[on].mean() - density) / np.sqrt((density * (1 - density) + 0.01) / on.sum()))


def _rise_of(rise: Floats, ends: Sequence[float], length_px: float) -> float:
    """By how many deviations the rises along a trail exceed those of the blocks around it."""
    points = np.array(ends).reshape(2, 2)
    steps = np.linspace(0, 1, max(2, int(length_px / 4)))[:, None]
    column, row = ((points[0] + steps * (points[1] - points[0])) // RISE_BLOCK_PX).astype(int).T
    row, column = np.clip(row, 0, rise.shape[0] - 1), np.clip(column, 0, rise.shape[1] - 1)
    on = np.zeros(rise.shape, np.uint8)
    on[row, column] = 1
    ring = cv2.dilate(on, np.ones((7, 7), np.uint8)) > cv2.dilate(on, np.ones((3, 3), np.uint8))
    if not ring.any():
        return 0.0
    above = np.median(rise[row, column]) - np.median(rise[ring])
    return float(above / max(float(rise[ring].std()), 0.5))
