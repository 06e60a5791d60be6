"""One station-night of small frames, to be ingested."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np

from nightsift.archive.frames import Night
from nightsift.archive.layouts import FrameRef
from nightsift.archive.nights import StationNight
from nightsift.archive.stations import Station
from nightsift.archive.stores import Archive, Workspace

UNIT = StationNight("A", date(2022, 9, 14))
PLACE = Station(
    id="A",
    network="N",
    latitude_deg=0,
    longitude_deg=0,
    height_msl_m=0,
    timezone="UTC",
    layout="allsky",
    cadence_s=30,
    exposure_s=30,
)
BEGIN = datetime(2022, 9, 14, 20, tzinfo=UTC)


def noisy(count, shape=(90, 120), level=60, deviation=4, dtype=np.uint8):
    """Frames of noise; a new meteor-like line in every fifth."""
    random = np.random.default_rng(3)
    frames = []
    for number in range(count):
        frame = random.normal(level, deviation, shape)
        if number % 5 == 0:
            frame[number % shape[0], 10:50] += 30 * deviation
        frames.append(frame.clip(0, np.iinfo(dtype).max).astype(dtype))
    return frames


def encoded(frame, ending=".jpg"):
    return cv2.imencode(ending, frame)[1].tobytes()


def write_night(folder: Path, files: dict[str, bytes], **station) -> Night:
    """A night of files, 30 s apart in the order given."""
    archive = folder / "archive"
    archive.mkdir(parents=True)
    refs = []
    for number, (name, data) in enumerate(files.items()):
        (archive / name).write_bytes(data)
        refs.append(
            FrameRef("A", UNIT.night, BEGIN + timedelta(seconds=30 * number), name, len(data), f"t{number}")
        )
    place = PLACE.model_copy(update=station)
    return Night(Archive(str(archive)), Workspace(str(folder / "workspace")), place, UNIT, tuple(refs))


def jpeg_night(folder: Path, frames) -> Night:
    return write_night(folder, {f"{number}.jpg": encoded(frame) for number, frame in enumerate(frames)})


def without_refs(night: Night, *keys: str) -> Night:
    return replace(night, refs=tuple(ref for ref in night.refs if ref.key not in keys))
