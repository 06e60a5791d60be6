"""Sequences of stamps with what they truly show, from simulated stations."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Final, Self

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from nightsift.archive.differences import difference
from nightsift.archive.formats import Levels
from nightsift.archive.formats.jpeg import decode_gray
from nightsift.archive.simulator import Rates, SimulatedNight, TrueObject, draw_station, encode_frame
from nightsift.archive.sun import sun_altitude_deg
from nightsift.models.trails import fit_trail
from nightsift.models.vetting.package import KINDS
from nightsift.models.vetting.stamps import Place, StampRecipe, Stamps, normalised

LEAST_SNR: Final = 3.0
LEAST_LENGTH_PX: Final = 5.0
MAX_GAP_S: Final = 120.0
THRESHOLD: Final = 3.5
_FITTED_SHARE: Final = 0.7
_KNOWN_SHARE: Final = 0.6
_VISIBLE_SNR: Final = 2.0
_ID_LENGTH: Final = len("satellite-00000")
_NOTHING: Final[dict[str, Any]] = {"kind": "other", "snr": np.nan, "length_px": np.nan, "recurs": False}
_FALSE_A_FRAME: Final = 1
_LONGEST_NIGHT_S: Final = 17 * 3600
_FIRST_NIGHT: Final = date(2020, 1, 1)

Difference = NDArray[np.bool_]
Positive = Annotated[int, Field(gt=0)]


class VettingData(BaseModel):
    """Which simulated sequences are drawn; as `nightsift.models.dataset.DataConfig`.

    ``dropped`` is the share of frames that are missing. Satellites and aircraft are far more frequent than in
    the sky, so that few frames are wasted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    stations: Annotated[int, Field(ge=2)]
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_seed: int
    test_stations: Positive
    nights: Positive = 1
    runs: Positive = 6
    frames: Annotated[int, Field(ge=3)] = 12
    meteors: Annotated[float, Field(ge=0)] = 1.4
    satellites: Annotated[float, Field(ge=0)] = 1.4
    aircraft: Annotated[float, Field(ge=0)] = 0.5
    dropped: Annotated[float, Field(ge=0, lt=1)] = 0.03
    small: bool = False

    @property
    def rates(self) -> Rates:
        """The rates as the simulator takes them."""
        return Rates(self.meteors, self.satellites, self.aircraft, dropped=self.dropped, corrupt=0.0)


@dataclass(frozen=True)
class Job:
    """One simulated station and night; its key in the cache."""

    seed: int
    station: int
    night: int
    data: VettingData
    recipe: StampRecipe

    @property
    def file_name(self) -> str:
        """Name that changes with everything that the samples depend on, but for the code itself."""
        places = {"seed", "test_seed", "stations", "test_stations", "validation_share", "nights"}
        meaning = f"{self.data.model_dump_json(exclude=places)}{self.recipe.model_dump_json()}"
        digest = hashlib.sha256(meaning.encode()).hexdigest()[:12]
        return f"vetting-{self.seed}-{self.station:04d}-{self.night:02d}-{digest}.npz"


@dataclass(frozen=True)
class StampSamples:
    """Sequences and their truth.

    Attributes
    ----------
    codes, steps
        int8 (n, frames, size, size) and float32 (n, frames, 4), as in `Stamps`.
    truth
        One row each: ``station``, ``night``, ``kind``; ``source`` (``object``, or what led to a false
        candidate: ``line``, ``patch``, ``anywhere``); ``snr`` and ``length_px`` of the object, nan for false
        ones; ``recurs``, whether the same object shows in another frame of the sequence.
    """

    codes: NDArray[np.int8]
    steps: NDArray[np.float32]
    truth: pd.DataFrame

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Index of each kind in `KINDS`."""
        return self.truth["kind"].map(KINDS.index).to_numpy(np.int64)

    def rows(self, chosen: NDArray[np.integer[Any]]) -> Self:
        """Some of the samples."""
        truth = self.truth.iloc[chosen].reset_index(drop=True)
        return type(self)(self.codes[chosen], self.steps[chosen], truth)

    @classmethod
    def of(cls, drawn: Sequence[tuple[Stamps, dict[str, Any]]], recipe: StampRecipe) -> Self:
        """From single sequences with their rows of ``truth``."""
        size = recipe.size_px
        codes = np.zeros((len(drawn), recipe.frames, size, size), np.int8)
        steps = np.zeros((len(drawn), recipe.frames, 4), np.float32)
        for i, (stamps, _) in enumerate(drawn):
            codes[i], steps[i] = stamps.codes, stamps.steps
        return cls(codes, steps, pd.DataFrame([row for _, row in drawn], columns=list(_COLUMNS)))

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All samples of all parts, in order."""
        return cls(
            np.concatenate([part.codes for part in parts]),
            np.concatenate([part.steps for part in parts]),
            pd.concat([part.truth for part in parts], ignore_index=True),
        )

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file without pickles: there whole or not at all."""
        tables: dict[str, Any] = {
            f"truth_{name}": self.truth[name].to_numpy(dtype) for name, dtype in _COLUMNS.items()
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, codes=self.codes, steps=self.steps, **tables)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            truth = pd.DataFrame({name: arrays[f"truth_{name}"] for name in _COLUMNS})
            return cls(arrays["codes"], arrays["steps"], truth)


_COLUMNS: Final[dict[str, Any]] = {
    "station": "int64",
    "night": "int64",
    "kind": "U16",
    "source": "U16",
    "snr": "float64",
    "length_px": "float64",
    "recurs": "bool",
}


def training_jobs(data: VettingData, recipe: StampRecipe) -> tuple[list[Job], list[Job]]:
    """What trains and what validates, apart by station."""
    first = data.stations - max(1, round(data.validation_share * data.stations))
    every = _jobs(data, recipe, data.seed, data.stations)
    return [job for job in every if job.station < first], [job for job in every if job.station >= first]


def held_out_jobs(data: VettingData, recipe: StampRecipe) -> list[Job]:
    """What tests: stations and nights of another seed."""
    return _jobs(data, recipe, data.test_seed, data.test_stations)


def _jobs(data: VettingData, recipe: StampRecipe, seed: int, stations: int) -> list[Job]:
    return [Job(seed, s, night, data, recipe) for s in range(stations) for night in range(data.nights)]


def draw_samples(
    jobs: Sequence[Job],
    cache: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StampSamples:
    """Draw samples, or read those that ``cache`` (a folder of ``.npz`` files) already holds."""
    missing = [job for job in jobs if not (cache / job.file_name).exists()]
    if missing:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            drawn = pool.map(draw_night, missing)
            for done, (job, samples) in enumerate(zip(missing, drawn, strict=True), start=1):
                samples.save(cache / job.file_name)
                progress(done, len(missing))
    return StampSamples.concatenate([StampSamples.load(cache / job.file_name) for job in jobs])


def draw_night(job: Job) -> StampSamples:
    """Render the runs of one station and night, and cut sequences around what is there and what is not."""
    simulated = draw_station(job.station, job.seed, small=job.data.small)
    rng = np.random.default_rng((job.seed, job.station, job.night, 9))
    day = _FIRST_NIGHT + timedelta(days=int(rng.integers(0, 1826)))
    frames = math.ceil(_LONGEST_NIGHT_S / simulated.station.cadence_s)
    night = SimulatedNight(simulated, day, frames, job.seed, job.data.rates)
    dark = sun_altitude_deg(night.station, night.starts_utc) < 0
    length = job.data.frames
    begins = np.flatnonzero(np.convolve(dark, np.ones(length, int), "valid") == length)
    place = {"station": job.station, "night": job.night}
    drawn = [
        (stamps, {**place, **row})
        for begin in rng.choice(begins, job.data.runs)
        for stamps, row in _Run.render(night, int(begin), length).draw(rng, job.recipe)
    ]
    return StampSamples.of(drawn, job.recipe)


@dataclass(frozen=True)
class _Run:
    """Consecutive frames that reached the archive, with what they show."""

    levels: Sequence[Levels]
    objects: Sequence[Sequence[TrueObject]]
    begins_s: Sequence[float]
    exposure_s: float

    @classmethod
    def render(cls, night: SimulatedNight, begin: int, frames: int) -> Self:
        kept = [index for index in range(begin, begin + frames) if not night.is_dropped(index)]
        rendered = [night.render(index) for index in kept]
        start = night.starts_utc[begin]
        return cls(
            [decode_gray(encode_frame(image, night.camera.jpeg_quality)) for image, _ in rendered],
            [objects for _, objects in rendered],
            [(night.starts_utc[index] - start).total_seconds() for index in kept],
            night.station.exposure_s,
        )

    def draw(self, rng: np.random.Generator, recipe: StampRecipe) -> Iterator[tuple[Stamps, dict[str, Any]]]:
        """Sequences around every clear object and around some false candidates of each pair of frames."""
        for i in range(1, len(self.levels)):
            if self.begins_s[i] - self.begins_s[i - 1] > MAX_GAP_S:
                continue
            risen = difference(self.levels[i], self.levels[i - 1], THRESHOLD)
            for item in self.objects[i]:
                if item.snr >= LEAST_SNR and item.length_px >= LEAST_LENGTH_PX:
                    place = _near(rng, risen, item)
                    if not self._disturbed(place, item, i, recipe):
                        row = {**_described(item), "recurs": self._recurs(item, i, recipe)}
                        yield self._cut(place, i, recipe), row
            for place, source in _false_places(rng, risen, _FALSE_A_FRAME):
                if not self._shows(place, i, recipe):
                    yield self._cut(place, i, recipe), {**_NOTHING, "source": source}

    def _around(self, i: int, recipe: StampRecipe) -> range:
        return range(max(0, i - recipe.before), min(len(self.levels), i + recipe.after + 1))

    def _recurs(self, item: TrueObject, i: int, recipe: StampRecipe) -> bool:
        others = (other for k in self._around(i, recipe) if k != i for other in self.objects[k])
        return any(other.object_id == item.object_id and other.snr >= LEAST_SNR for other in others)

    def _shows(self, place: Place, i: int, recipe: StampRecipe) -> bool:
        """Whether anything true passes the window of a false candidate in its own frame."""
        window = recipe.window(place, _shape(self.levels[i]))
        return any(_distance(place, item) < 0.6 * window.side for item in self.objects[i])

    def _disturbed(self, place: Place, item: TrueObject, i: int, recipe: StampRecipe) -> bool:
        """Whether another object passes the window in any frame, which the rates make far too frequent."""
        reach = 0.6 * recipe.window(place, _shape(self.levels[i])).side
        return any(
            _distance(place, other) < reach
            for k in self._around(i, recipe)
            for other in self.objects[k]
            # Members of one train of satellites are called after its first.
            if other.object_id[:_ID_LENGTH] != item.object_id[:_ID_LENGTH] and other.snr > _VISIBLE_SNR
        )

    def _cut(self, place: Place, i: int, recipe: StampRecipe) -> Stamps:
        window = recipe.window(place, _shape(self.levels[i]))
        around = {k - i + recipe.before: k for k in self._around(i, recipe)}
        cut = {at: window.cut(self.levels[k], recipe.size_px) for at, k in around.items()}
        begins = {at: self.begins_s[k] - self.begins_s[i] for at, k in around.items()}
        return normalised(cut, begins, dict.fromkeys(around, self.exposure_s), window, recipe)


def _shape(levels: Levels) -> tuple[int, int]:
    height, width = levels.shape
    return height, width


def _described(item: TrueObject) -> dict[str, Any]:
    return {"kind": item.kind, "source": "object", "snr": item.snr, "length_px": item.length_px}


def _near(rng: np.random.Generator, risen: Difference, item: TrueObject) -> Place:
    """Where a run would find an object: at its fitted trail, or at a position that is somewhat off."""
    true = Place.of_trail((item.x_begin_px, item.y_begin_px), (item.x_end_px, item.y_end_px))
    off = rng.normal(0, 0.008 * max(risen.shape), 2)
    x_px = float(np.clip(true.x_px + off[0], 0, risen.shape[1] - 1))
    y_px = float(np.clip(true.y_px + off[1], 0, risen.shape[0] - 1))
    fitted = _fit(risen, x_px, y_px) if rng.random() < _FITTED_SHARE else None
    if fitted is not None and _distance(fitted, item) < 6 + 0.2 * item.length_px:
        return fitted
    if rng.random() < _KNOWN_SHARE:
        angle = true.angle_deg + rng.normal(0, 4)
        return Place(x_px, y_px, angle, item.length_px * rng.uniform(0.7, 1.3))
    return Place(x_px, y_px)


def _false_places(rng: np.random.Generator, risen: Difference, count: int) -> Iterator[tuple[Place, str]]:
    """Places where nothing true is looked for: lines, dense patches, and anywhere."""
    height, width = risen.shape
    for source in rng.choice(["line", "line", "patch", "patch", "anywhere"], count):
        x_px, y_px = _dense(rng, risen) if source != "anywhere" else rng.uniform(0, (width - 1, height - 1))
        fitted = _fit(risen, float(x_px), float(y_px)) if source == "line" else None
        if fitted is not None:
            yield fitted, "line"
        elif rng.random() < _KNOWN_SHARE:
            yield Place(float(x_px), float(y_px), rng.uniform(0, 180), rng.uniform(8, 60)), str(source)
        else:
            yield Place(float(x_px), float(y_px)), str(source)


def _fit(risen: Difference, x_px: float, y_px: float) -> Place | None:
    half = risen.shape[1] / 14  # a cell of 7 x 7, as Grad-CAM names it
    trail = fit_trail(risen, x_px, y_px, np.array([x_px - half, y_px - half, x_px + half, y_px + half]))
    if trail is None:
        return None
    return Place.of_trail((trail.x_begin_px, trail.y_begin_px), (trail.x_end_px, trail.y_end_px))


def _dense(rng: np.random.Generator, risen: Difference) -> tuple[float, float]:
    """A place chosen by how much rose around it, the densest most often."""
    cell = 16
    size = (max(1, risen.shape[1] // cell), max(1, risen.shape[0] // cell))
    counts = cv2.resize(risen.view(np.uint8).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    weight = counts.ravel() ** rng.uniform(0, 1) + 1e-9
    row, column = divmod(int(rng.choice(weight.size, p=weight / weight.sum())), size[0])
    x_px, y_px = (np.array([column, row]) + rng.random(2)) * cell
    return min(x_px, risen.shape[1] - 1.0), min(y_px, risen.shape[0] - 1.0)


def _distance(place: Place, item: TrueObject) -> float:
    """Pixels from a place to the straight line between an object's ends."""
    begin = np.array([item.x_begin_px, item.y_begin_px])
    along = np.array([item.x_end_px, item.y_end_px]) - begin
    apart = np.array([place.x_px, place.y_px]) - begin
    reach = float(np.clip(apart @ along / max(along @ along, 1e-9), 0, 1))
    return float(np.hypot(*(apart - reach * along)))
