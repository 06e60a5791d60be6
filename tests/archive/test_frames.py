import tracemalloc
from datetime import UTC, date, datetime, timedelta

import cv2
import numpy as np
import pytest

from nightsift.archive.errors import NightsiftError, StorageError
from nightsift.archive.frames import ingest_night
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


def night(folder, count, shape=(480, 640)):
    """A night of one file under many names, as an archive and its refs."""
    random = np.random.default_rng(0)
    data = cv2.imencode(".jpg", random.integers(0, 255, shape, dtype=np.uint8))[1].tobytes()
    folder.mkdir(parents=True)
    begin = datetime(2022, 9, 14, 20, tzinfo=UTC)
    refs = []
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(data)
        start = begin + timedelta(seconds=30 * number)
        refs.append(FrameRef("A", UNIT.night, start, f"{number}.jpg", len(data), "t"))
    return Archive(str(folder)), refs


def peak_bytes(folder, count):
    archive, refs = night(folder / "archive", count)
    tracemalloc.start()
    ingest_night(archive, PLACE, UNIT, refs, Workspace(str(folder / "workspace")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_night(tmp_path):
    peak_bytes(tmp_path / "warm", 41)
    short, long = peak_bytes(tmp_path / "short", 60), peak_bytes(tmp_path / "long", 300)
    assert long < 1.2 * short


def test_a_frame_that_vanishes_after_the_listing_is_an_error_of_that_night(tmp_path):
    """Not a reason in the ledger: it may be back tomorrow, and the night would never be read again."""
    archive, refs = night(tmp_path / "archive", 5, (32, 48))
    (tmp_path / "archive" / "2.jpg").unlink()
    with pytest.raises(NightsiftError, match=r"2\.jpg was listed but cannot be read"):
        ingest_night(archive, PLACE, UNIT, refs, Workspace(str(tmp_path / "workspace")))


def test_an_archive_that_vanishes_stops_the_run(tmp_path):
    archive, refs = night(tmp_path / "archive", 5, (32, 48))
    (tmp_path / "archive").rename(tmp_path / "unmounted")
    with pytest.raises(StorageError, match="there is nothing at this url"):
        ingest_night(archive, PLACE, UNIT, refs, Workspace(str(tmp_path / "workspace")))


@pytest.mark.parametrize("odd", [1, 4])
def test_the_size_of_most_frames_is_the_night_s(tmp_path, odd):
    archive, refs = night(tmp_path / "archive", 12, (32, 48))
    for number in range(odd):
        cv2.imwrite(str(tmp_path / "archive" / f"{number}.jpg"), np.zeros((64, 96), np.uint8))
    found = ingest_night(archive, PLACE, UNIT, refs, Workspace(str(tmp_path / "workspace")))
    assert (found.height_px, found.width_px) == (32, 48)
    assert found.reasons == {"wrong-size": odd}
