"""A whole simulated archive on disk, with the truth about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import tomli_w
from numpy.typing import NDArray

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.simulator.cameras import SimulatedStation, draw_station
from nightsift.archive.simulator.nights import SimulatedNight
from nightsift.archive.simulator.objects import USUAL_RATES, Rates

FIRST_NIGHT = date(2021, 10, 30)
_CHUNK = 16
_NOTHING = dict.fromkeys(
    ("object_id", "x_begin_px", "y_begin_px", "x_end_px", "y_end_px", "length_px", "peak", "snr")
)

Row = dict[str, object]


def encode_frame(image: NDArray[np.uint8], quality: int = 92) -> bytes:
    """A frame as the bytes of a JPEG, as AllSky writes it."""
    encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ValueError(f"cannot be written as JPEG: {image.dtype} {image.shape}")
    return data.tobytes()


@dataclass(frozen=True)
class _Chunk:
    """Some consecutive frames of one night, the unit of work of one process."""

    destination: Path
    simulated: SimulatedStation
    night: date
    frames: int
    seed: int
    rates: Rates
    first: int

    def indices(self) -> range:
        return range(self.first, min(self.first + _CHUNK, self.frames))


def write_archive(
    destination: Path,
    *,
    stations: int,
    nights: int,
    frames: int,
    seed: int,
    rates: Rates = USUAL_RATES,
    small: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Write ``archive/`` in the allsky layout and ``stations.toml`` into an empty folder.

    Parameters
    ----------
    destination
        Folder, made if absent.
    stations, nights, frames
        How many stations, nights of each from 2021-10-30 on, and frames of each night.
    seed
        The same archive, byte for byte, for the same seed and arguments.
    rates
        How often things happen.
    small
        Frames of at most 320 x 240 pixels.
    workers
        Processes; all processors if None.
    progress
        Called with frames done and frames in all.

    Returns
    -------
    list of dict
        One row per visible object, corrupt frame and dropped frame, in order of station, night and time.

    Raises
    ------
    ConfigurationError
        If the folder is not empty.
    """
    _claim(destination)
    network = [draw_station(index, seed, small=small) for index in range(stations)]
    chunks = [
        _Chunk(
            destination / "archive", simulated, FIRST_NIGHT + timedelta(days=day), frames, seed, rates, first
        )
        for simulated in network
        for day in range(nights)
        for first in range(0, frames, _CHUNK)
    ]
    described = {"station": [simulated.station.model_dump(exclude_defaults=True) for simulated in network]}
    (destination / "stations.toml").write_text(tomli_w.dumps(described), encoding="utf-8")
    rows: dict[_Chunk, list[Row]] = {}
    for chunk, found in _write_all(chunks, workers or os.cpu_count() or 1):
        rows[chunk] = found
        if progress:
            progress(sum(len(done.indices()) for done in rows), stations * nights * frames)
    return [row for chunk in chunks for row in rows[chunk]]


def _claim(destination: Path) -> None:
    if destination.is_dir() and any(destination.iterdir()):
        raise ConfigurationError(
            f"{destination} is not empty",
            expected="an empty or absent folder for the simulated archive",
            found=", ".join(sorted(entry.name for entry in destination.iterdir())[:3]),
            mend="name another folder or remove this one",
        )
    destination.mkdir(parents=True, exist_ok=True)


def _write_all(chunks: list[_Chunk], workers: int) -> Iterator[tuple[_Chunk, list[Row]]]:
    if workers == 1:
        yield from ((chunk, _write(chunk)) for chunk in chunks)
        return
    # Forked copies of a process that has threads may hang: start fresh ones.
    with ProcessPoolExecutor(workers, get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
        pending = {pool.submit(_write, chunk): chunk for chunk in chunks}
        try:
            for future in as_completed(pending):
                yield pending[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@lru_cache(maxsize=2)
def _night(simulated: SimulatedStation, night: date, frames: int, seed: int, rates: Rates) -> SimulatedNight:
    return SimulatedNight(simulated, night, frames, seed, rates)


def _write(chunk: _Chunk) -> list[Row]:
    night = _night(chunk.simulated, chunk.night, chunk.frames, chunk.seed, chunk.rates)
    return [row for index in chunk.indices() for row in _write_frame(chunk, night, index)]


def _write_frame(chunk: _Chunk, night: SimulatedNight, index: int) -> list[Row]:
    start, station = night.starts_utc[index], chunk.simulated.station
    local = start.astimezone(station.zone)
    key = f"{station.id}/{chunk.night:%Y%m%d}/image-{local:%Y%m%d%H%M%S}.jpg"
    frame: Row = {"station": station.id, "night": chunk.night, "start_utc": start, "frame_key": key}
    if night.is_dropped(index):
        return [{**frame, "kind": "dropped", **_NOTHING}]
    image, seen = night.render(index)
    data = encode_frame(image, chunk.simulated.camera.jpeg_quality)
    path = chunk.destination / key
    path.parent.mkdir(parents=True, exist_ok=True)
    if night.is_corrupt(index):
        # Damage as disks and networks leave it: nothing at all, or the first part of the file.
        path.write_bytes(data[: len(data) * (index % 3) // 4])
        return [{**frame, "kind": "corrupt", **_NOTHING}]
    path.write_bytes(data)
    return [{**frame, **asdict(true)} for true in seen]
