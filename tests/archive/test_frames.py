import tracemalloc
from dataclasses import replace
from datetime import timedelta

import cv2
import numpy as np
import pytest
import xarray as xr

from nightsift.archive.differences import DifferenceSettings, difference_night
from nightsift.archive.errors import NightsiftError, StorageError
from nightsift.archive.exclusions import Exclusion
from nightsift.archive.frames import FrameSettings, ingest_night, read_frame
from nightsift.archive.layouts import FrameRef
from nightsift.archive.receipts import write_objects
from tests.archive.one_night import UNIT, encoded, jpeg_night, noisy, without_refs, write_night
from tests.conftest import products

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs", "ignore:Consolidated metadata")


def opened(night, product="frames"):
    return xr.open_zarr(f"{night.workspace.url}/{product}/{UNIT}.zarr")


def peak_bytes(folder, count):
    random = np.random.default_rng(0)
    data = encoded(random.integers(0, 255, (480, 640), dtype=np.uint8))
    night = write_night(folder, {f"{number}.jpg": data for number in range(count)})
    tracemalloc.start()
    ingest_night(night, FrameSettings(), DifferenceSettings())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_night(tmp_path):
    peak_bytes(tmp_path / "warm", 41)
    short, long = peak_bytes(tmp_path / "short", 60), peak_bytes(tmp_path / "long", 300)
    assert long < 1.6 * short  # five times as many frames; a shard may be under way or not


@pytest.mark.parametrize("broken", ["gone", "dangling"])
def test_a_file_that_the_archive_does_not_give_costs_no_night(tmp_path, broken):
    night = jpeg_night(tmp_path, noisy(25))
    (tmp_path / "archive" / "2.jpg").unlink()
    if broken == "dangling":
        (tmp_path / "archive" / "2.jpg").symlink_to("nowhere")
    found = ingest_night(night, FrameSettings())
    assert found.frames == 24
    ((only),) = found.rejected
    assert (only.key, only.reason) == ("2.jpg", "unreadable")


def test_a_file_named_jpg_holds_a_jpeg_however_frames_are_kept(tmp_path):
    files = {f"{i}.jpg": encoded(frame) for i, frame in enumerate(noisy(6))}
    files["3.jpg"] = encoded(noisy(1)[0], ".png")
    for keep in ("jpeg", "zstd"):
        found = ingest_night(write_night(tmp_path / keep, files), FrameSettings(keep))
        assert found.reasons == {"unsupported": 1}


def test_of_overlapping_exposures_the_longer_is_kept_and_unlike_ones_are_no_pair(tmp_path, shared):
    """A clip of 293 frames ends with a short block; the next clip begins before that block does."""
    clip = (shared / "freeture" / "meteor4.flv").read_bytes()
    night = write_night(tmp_path, {"a.flv": clip, "b.flv": clip, "c.flv": clip}, cadence_s=10, exposure_s=10)
    starts = [night.refs[0].start_utc + timedelta(seconds=s) for s in (0, 10.1, 40)]
    refs = tuple(replace(ref, start_utc=start) for ref, start in zip(night.refs, starts, strict=True))
    found = ingest_night(replace(night, refs=refs), FrameSettings(), DifferenceSettings())
    assert {item.key: item.reason for item in found.rejected} == {"a.flv#256": "overlap"}
    assert opened(night)["key"].values.tolist() == ["a.flv", "b.flv", "b.flv#256", "c.flv", "c.flv#256"]
    reasons = opened(night, "differences")["reason"].values.tolist()
    assert reasons == ["first", "", "other-exposure", "other-exposure", "other-exposure"]


def test_an_archive_that_vanishes_stops_the_run(tmp_path):
    night = jpeg_night(tmp_path, noisy(5))
    (tmp_path / "archive").rename(tmp_path / "unmounted")
    with pytest.raises(StorageError, match="there is nothing at this url"):
        ingest_night(night, FrameSettings())


@pytest.mark.parametrize("odd", [1, 4])
def test_the_size_of_most_frames_is_the_night_s(tmp_path, odd):
    night = jpeg_night(tmp_path, noisy(12, (32, 48)))
    for number in range(odd):
        cv2.imwrite(str(tmp_path / "archive" / f"{number}.jpg"), np.zeros((64, 96), np.uint8))
    found = ingest_night(night, FrameSettings())
    assert (found.height_px, found.width_px) == (32, 48)
    assert found.reasons == {"wrong-size": odd}


def test_sixteen_bits_stay_sixteen_bits_and_eight_among_them_are_refused(tmp_path):
    deep = noisy(6, level=30_000, deviation=900, dtype=np.uint16)
    files = {f"{number}.png": encoded(frame, ".png") for number, frame in enumerate(deep)}
    files["3.png"] = encoded(noisy(1)[0], ".png")
    night = write_night(tmp_path, files)
    found = ingest_night(night, FrameSettings(), DifferenceSettings(threshold="5 sigma"))
    assert found.reasons == {"wrong-depth": 1}
    assert found.bits == 16
    stored = opened(night)["frame"]
    assert stored.dtype == np.uint16
    assert np.array_equal(stored, np.stack([frame for i, frame in enumerate(deep) if i != 3]))
    made = opened(night, "differences")
    assert made["noise"].values[1] == pytest.approx(900 * np.sqrt(2), rel=0.05)
    assert made["threshold"].values[1] == pytest.approx(5 * made["noise"].values[1])
    assert made["rise"].dtype == np.uint16
    assert made["difference"][4].sum() == pytest.approx(40, abs=3)  # the line of the sixth frame, on noise


@pytest.mark.parametrize("keep", ["jpeg", "zstd", "lz4"])
def test_however_frames_are_kept_they_are_the_same_frames(tmp_path, keep):
    frames = noisy(47)
    night = jpeg_night(tmp_path, frames)
    found = ingest_night(night, FrameSettings(keep))
    assert found.frames == 47
    decoded = [cv2.imdecode(np.frombuffer(encoded(frame), np.uint8), 0) for frame in frames]
    assert np.array_equal(opened(night)["frame"], decoded)


@pytest.mark.parametrize("keep", ["jpeg", "zstd", "lz4", False])
def test_differences_are_the_same_on_the_way_and_afterwards_however_frames_are_kept(tmp_path, keep):
    night = jpeg_night(tmp_path, noisy(47))
    ingest_night(night, FrameSettings(keep), DifferenceSettings())
    on_the_way = products(night.workspace.url)
    plain = jpeg_night(tmp_path / "plain", noisy(47))
    ingest_night(plain, FrameSettings("zstd"))
    difference_night(plain.station, UNIT, plain.workspace, DifferenceSettings())
    afterwards = products(plain.workspace.url)
    made = {key for key in on_the_way if key.startswith("differences/")}
    assert len(made) > 10
    assert {key: on_the_way[key] for key in made} == {key: afterwards[key] for key in made}


def test_frames_that_are_not_kept_leave_their_ledger_and_can_be_read_from_the_archive(tmp_path):
    night = jpeg_night(tmp_path, noisy(8))
    ingest_night(night, FrameSettings(keep_frames=False), DifferenceSettings())
    assert "frame" not in opened(night)
    assert opened(night)["key"].values.tolist() == [f"{number}.jpg" for number in range(8)]
    write_objects(night.workspace, UNIT, night.refs)
    frame = read_frame(night.archive, night.workspace, night.station, UNIT, "5.jpg")
    assert np.array_equal(frame, cv2.imread(str(tmp_path / "archive" / "5.jpg"), 0))
    with pytest.raises(NightsiftError, match="holds no frames"):
        difference_night(night.station, UNIT, night.workspace, DifferenceSettings())


def test_colour_is_kept_beside_the_gray_levels_when_asked(tmp_path):
    random = np.random.default_rng(1)
    frames = [random.integers(0, 255, (32, 48, 3), dtype=np.uint8) for _ in range(5)]
    night = write_night(tmp_path, {f"{i}.png": encoded(frame, ".png") for i, frame in enumerate(frames)})
    ingest_night(night, FrameSettings(keep_colour=True))
    stored = opened(night)
    assert stored["colour"].dims == ("time", "y", "x", "channel")
    assert np.array_equal(stored["colour"][..., ::-1], frames)  # OpenCV writes blue first
    assert np.array_equal(stored["frame"][0], cv2.cvtColor(frames[0], cv2.COLOR_BGR2GRAY))


def test_excluded_pixels_are_never_set_nor_measured(tmp_path):
    frames = noisy(6)
    for number, frame in enumerate(frames):
        frame[:12, :40] = 255 * (number % 2)  # a watermark that changes
    night = replace(jpeg_night(tmp_path, frames), exclusion=Exclusion(boxes=((0, 0, 48, 16),)))
    ingest_night(night, FrameSettings("zstd"), DifferenceSettings())
    made = opened(night, "differences")
    assert not made["difference"][:, :16, :48].any()
    assert made["difference"][5, :, 48:].any()
    assert made["rise"][:, 0, :3].max() == 0


def test_time_that_only_the_header_tells_orders_the_night(tmp_path, shared):
    """The real FITS file, under names that tell no time."""
    data = (shared / "pyasc" / "IMG01329.FIT").read_bytes()
    later = data.replace(b"TIME-OBS= '05:12:22'", b"TIME-OBS= '05:12:52'")
    silent = data.replace(b"DATE-OBS", b"DATE-OLD").replace(b"TIME-OBS", b"TIME-OLD")
    night = write_night(
        tmp_path, {"1.FIT": later, "2.FIT": data, "3.FIT": data, "4.FIT": silent}, layout="fits"
    )
    unit = replace(UNIT, night=UNIT.night.replace(2015, 11, 7))
    refs = tuple(replace(ref, start_utc=None, night=unit.night) for ref in night.refs)
    found = ingest_night(replace(night, unit=unit, refs=refs), FrameSettings())
    stored = xr.open_zarr(f"{night.workspace.url}/frames/{unit}.zarr")
    assert stored["key"].values.tolist() == ["2.FIT", "1.FIT"]
    assert stored["time"].values[0] == np.datetime64("2015-11-08T05:12:22")
    assert stored["exposure_s"].values.tolist() == [25, 25]
    assert stored["frame"].dtype == np.uint16
    assert {item.key: item.reason for item in found.rejected} == {
        "3.FIT": "duplicate-time",
        "4.FIT": "unparsable-name",
    }


def test_a_frame_that_starts_with_the_one_before_is_refused(tmp_path):
    night = jpeg_night(tmp_path, noisy(4))
    twice = FrameRef("A", UNIT.night, night.refs[2].start_utc + timedelta(microseconds=400), "3.jpg", 1, "t")
    found = ingest_night(replace(night, refs=(*without_refs(night, "3.jpg").refs, twice)), FrameSettings())
    assert found.reasons == {"duplicate-time": 1}
