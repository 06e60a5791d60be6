"""Training samples: the network's input with what it truly shows, from simulated stations."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Final, Literal

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from nightsift.archive.differences import difference
from nightsift.archive.formats.jpeg import decode_gray
from nightsift.archive.simulator import (
    Rates,
    SimulatedNight,
    TrueObject,
    draw_station,
    encode_frame,
)
from nightsift.archive.sun import sun_altitude_deg
from nightsift.models.recipe import Recipe
from nightsift.models.samples import Samples

LEAST_SNR: Final = 2.5
LEAST_LENGTH_PX: Final = 6.0
LEAST_SIGNIFICANCE: Final = 7.0
# Deviation below which quiet surroundings do not make a trail any clearer.
_QUIET_LEVELS: Final = 12.0
_GEOMETRY: Final = ("x_begin_px", "y_begin_px", "x_end_px", "y_end_px", "length_px", "peak", "snr")
OBJECT_COLUMNS: Final = (
    "kind",
    *_GEOMETRY,
    *("x_begin", "y_begin", "x_end", "y_end"),
    *("significance", "clear"),
)
_LONGEST_NIGHT_S: Final = 17 * 3600
_FIRST_NIGHT: Final = date(2020, 1, 1)

Progress = Callable[[int, int], None]
Positive = Annotated[int, Field(gt=0)]


class DataConfig(BaseModel):
    """Which simulated frames are drawn.

    Stations 0 to ``stations - 1`` of the network of ``seed`` train and validate, the last
    ``validation_share`` of them validate; those of the network of ``test_seed`` test. Each station gives
    ``nights`` nights of ``runs`` runs of ``frames`` consecutive frames. Rates are mean numbers per frame,
    far above those of the sky, so that few frames are wasted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Literal["simulated"] = "simulated"
    seed: int
    stations: Positive
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    test_seed: int
    test_stations: Positive
    nights: Positive = 2
    runs: Positive = 3
    frames: Annotated[int, Field(ge=2)] = 10
    meteors: Annotated[float, Field(ge=0)] = 1.2
    satellites: Annotated[float, Field(ge=0)] = 0.3
    aircraft: Annotated[float, Field(ge=0)] = 0.15
    small: bool = False

    @property
    def rates(self) -> Rates:
        """The rates as the simulator takes them; every frame is whole."""
        return Rates(self.meteors, self.satellites, self.aircraft, dropped=0.0, corrupt=0.0)


@dataclass(frozen=True)
class StationNightRun:
    """The frames of one simulated station and night that are drawn; its key in the cache."""

    seed: int
    station: int
    night: int
    data: DataConfig
    recipe: Recipe

    @property
    def file_name(self) -> str:
        """Name that changes with everything that the samples depend on, but for the simulator's own code."""
        drawn = self.data.model_dump_json(
            include={"runs", "frames", "meteors", "satellites", "aircraft", "small"}
        )
        meaning = f"{drawn}{self.recipe.model_dump_json(exclude={'mean', 'std'})}"
        digest = hashlib.sha256(meaning.encode()).hexdigest()[:12]
        return f"{self.seed}-{self.station:03d}-{self.night:02d}-{digest}.npz"


def training_jobs(data: DataConfig, recipe: Recipe) -> tuple[list[StationNightRun], list[StationNightRun]]:
    """What trains and what validates, apart by station."""
    first_validating = data.stations - max(1, round(data.validation_share * data.stations))
    every = _jobs(data, recipe, data.seed, data.stations)
    return (
        [job for job in every if job.station < first_validating],
        [job for job in every if job.station >= first_validating],
    )


def held_out_jobs(data: DataConfig, recipe: Recipe) -> list[StationNightRun]:
    """What tests: stations and nights of another seed."""
    return _jobs(data, recipe, data.test_seed, data.test_stations)


def _jobs(data: DataConfig, recipe: Recipe, seed: int, stations: int) -> list[StationNightRun]:
    return [
        StationNightRun(seed, station, night, data, recipe)
        for station in range(stations)
        for night in range(data.nights)
    ]


def draw_samples(
    jobs: Sequence[StationNightRun],
    cache: Path,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Samples:
    """Draw samples, or read those that ``cache`` already holds.

    Parameters
    ----------
    jobs
        What to draw.
    cache
        Folder of ``.npz`` files, one per station and night. To be emptied when the simulator changes.
    workers
        Processes that draw.
    progress
        Called with the numbers of nights done and in all.
    """
    missing = [job for job in jobs if not (cache / job.file_name).exists()]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        drawn = pool.map(draw_night, missing)
        for done, (job, samples) in enumerate(zip(missing, drawn, strict=True), start=1):
            samples.save(cache / job.file_name)
            progress(done, len(missing))
    return Samples.concatenate([Samples.load(cache / job.file_name) for job in jobs])


def draw_night(job: StationNightRun) -> Samples:
    """Render the runs of one station and night, and subtract frame from frame."""
    drawn = [sample for night, begin in simulated_runs(job) for sample in _draw_run(night, begin, job)]
    sizes = [{"station": job.station, "night": job.night, "height": h, "width": w} for _, (h, w), _ in drawn]
    rows = [{"image": i, **row} for i, (_, _, objects) in enumerate(drawn) for row in objects]
    return Samples(
        np.stack([image for image, _, _ in drawn]),
        pd.DataFrame(sizes),
        pd.DataFrame(rows, columns=["image", *OBJECT_COLUMNS]),
    )


def simulated_runs(job: StationNightRun) -> Iterator[tuple[SimulatedNight, int]]:
    """The night of each run, and the index of its first frame."""
    simulated = draw_station(job.station, job.seed, small=job.data.small)
    rng = np.random.default_rng((job.seed, job.station, job.night))
    day = _FIRST_NIGHT + timedelta(days=int(rng.integers(0, 1826)))
    frames = math.ceil(_LONGEST_NIGHT_S / simulated.station.cadence_s)
    night = SimulatedNight(simulated, day, frames, job.seed, job.data.rates)
    begins = rng.choice(_dark_begins(night, job.data.frames), job.data.runs)
    yield from ((night, int(begin)) for begin in begins)


def _dark_begins(night: SimulatedNight, frames: int) -> NDArray[np.intp]:
    # As in the archive's differences, frames that begin with the Sun above the horizon do not count.
    dark = sun_altitude_deg(night.station, night.starts_utc) < 0
    return np.flatnonzero(np.convolve(dark, np.ones(frames, int), "valid") == frames)


def _draw_run(
    night: SimulatedNight, begin: int, job: StationNightRun
) -> Iterator[tuple[NDArray[np.uint8], tuple[int, int], list[dict[str, object]]]]:
    rendered = (night.render(index) for index in range(begin, begin + job.data.frames))
    decoded = ((decode_gray(encode_frame(image)), objects) for image, objects in rendered)
    for (previous, _), (current, objects) in pairwise(decoded):
        image = job.recipe.resize(difference(current, previous, job.recipe.threshold))
        height, width = current.shape
        yield image, (height, width), [describe(image, item, (height, width), job.recipe) for item in objects]


def describe(
    image: NDArray[np.uint8], item: TrueObject, shape: tuple[int, int], recipe: Recipe
) -> dict[str, object]:
    """One row of `Samples.objects`, without ``image``.

    Parameters
    ----------
    image
        The network's input, uint8, (size, size).
    item
        What the frame truly shows.
    shape
        (height, width) of the frame.
    recipe
        How the difference became ``image``.
    """
    ends = _ends(item, shape, recipe)
    significance = _significance(image, ends * recipe.size_px - 0.5)
    sizeable = item.snr >= LEAST_SNR and item.length_px >= LEAST_LENGTH_PX
    values = (
        item.kind,
        *(getattr(item, name) for name in _GEOMETRY),
        *(float(v) for v in ends.ravel()),
        significance,
        sizeable and significance >= LEAST_SIGNIFICANCE,
    )
    return dict(zip(OBJECT_COLUMNS, values, strict=True))


def _ends(item: TrueObject, shape: tuple[int, int], recipe: Recipe) -> NDArray[np.float64]:
    # (x, y) of begin and end as fractions of the network's input, (2, 2).
    x_px, y_px = np.array([item.x_begin_px, item.x_end_px]), np.array([item.y_begin_px, item.y_end_px])
    return np.stack(recipe.from_frame(x_px, y_px, shape), axis=1)


def _significance(image: NDArray[np.uint8], ends: NDArray[np.float64]) -> float:
    """By how many deviations the mean level on a trail exceeds that of its surroundings."""
    corner = np.maximum(np.floor(ends.min(0)).astype(int) - 8, 0)
    stop = np.ceil(ends.max(0)).astype(int) + 9
    crop = image[corner[1] : stop[1], corner[0] : stop[0]].astype(np.float64)
    on, near, around = (_stroke(crop.shape, ends - corner, thickness) for thickness in (1, 5, 15))
    outside = crop[around & ~near]
    if not outside.size or not on.any():
        return 0.0
    deviation = np.hypot(outside.std(), _QUIET_LEVELS) / np.sqrt(on.sum())
    return float((crop[on].mean() - outside.mean()) / deviation)


def _stroke(shape: tuple[int, ...], ends: NDArray[np.float64], thickness: int) -> NDArray[np.bool_]:
    canvas = np.zeros(shape, np.uint8)
    begin, end = (tuple(int(v) for v in np.rint(point)) for point in ends)
    cv2.line(canvas, begin, end, 1, thickness)
    return canvas.astype(bool)
