"""Differences against guAIta's recipe (Regordosa 2021, §3.2) written plainly with OpenCV."""

import math
from datetime import date
from itertools import pairwise

import cv2
import numpy as np
import pytest
import xarray as xr

from nightsift.archive.differences import (
    DifferenceSettings,
    difference,
    pair_reason,
    peak_along,
    sigmas,
)
from nightsift.archive.frames import FrameSettings, ingest_night
from nightsift.archive.kernels import Sample, risen
from nightsift.archive.night_store import SHARD_FRAMES
from nightsift.archive.nights import StationNight
from tests.archive.one_night import encoded, jpeg_night, noisy


def noise_of(current, previous):
    return Sample.of(current).noise(Sample.of(previous))


def reference(current, previous, threshold=3.5):
    return cv2.threshold(cv2.subtract(current, previous), threshold, 255, cv2.THRESH_BINARY)[1]


@pytest.mark.parametrize("threshold", [0, 3, 3.5, 3.999, 4, 254.5, 255])
def test_bit_identical_to_opencv(threshold):
    random = np.random.default_rng(1)
    current, previous = random.integers(0, 256, (2, 97, 131), dtype=np.uint8)
    ours = difference(current, previous, threshold)
    assert np.array_equal(ours.view(np.uint8) * 255, reference(current, previous, threshold))


def test_sixteen_bits_keep_their_own_gray_levels():
    current, previous = np.array([[1005, 1004, 900]], np.uint16), np.full((1, 3), 1000, np.uint16)
    assert difference(current, previous, 4).tolist() == [[True, False, False]]


def test_noise_is_that_of_the_difference_and_ignores_a_meteor():
    random = np.random.default_rng(2)
    frames = np.clip(random.normal(100, 5, (2, 400, 600)).round(), 0, 255).astype(np.uint8)
    expected = 5 * np.sqrt(2)
    assert noise_of(frames[1], frames[0]) == pytest.approx(expected, rel=0.03)
    frames[1][100:110, :] = 255
    assert noise_of(frames[1], frames[0]) == pytest.approx(expected, rel=0.06)


def test_block_maxima_and_the_peak_along_a_trail():
    image = np.zeros((40, 50), np.uint8)
    image[20, 33] = 90
    blocks = risen(image, np.zeros_like(image), 3.5).blocks
    assert blocks.shape == (3, 4)
    assert blocks[1, 2] == 90
    assert blocks.sum() == 90
    assert peak_along(blocks, (30, 10), (36, 30)) == 90
    assert peak_along(blocks, (2, 2), (10, 38)) == 0


@pytest.mark.parametrize(
    ("gap_s", "sun_altitude_deg", "reason"),
    [
        (51, -1, ""),
        (120, -1, ""),
        (121, -1, "gap"),
        (math.nan, -1, "first"),
        (51, 1, "daylight"),
        (math.nan, 1, "daylight"),
    ],
)
def test_pairs_respect_the_gap_and_daylight(gap_s, sun_altitude_deg, reason):
    assert pair_reason(gap_s, sun_altitude_deg, DifferenceSettings(max_gap_s=120)) == reason


@pytest.mark.parametrize("threshold", ["5", "sigma", "-1 sigma", "5sigma", "\u0665 sigma", "5 sigma "])
def test_a_threshold_is_gray_levels_or_sigmas(threshold):
    with pytest.raises(ValueError, match="5 sigma"):
        sigmas(threshold)


def test_a_threshold_in_sigmas_follows_the_noise():
    random = np.random.default_rng(4)
    rates = []
    for deviation in (8, 24):
        frames = random.normal(120, deviation, (2, 400, 600)).round().clip(0, 255).astype(np.uint8)
        rates.append(difference(frames[1], frames[0], "3 sigma").mean())
    assert rates == pytest.approx([0.00135, 0.00135], rel=0.35)


@pytest.fixture
def long_night(tmp_path):
    """A night longer than two shards, in the store and as plain arrays."""
    frames = noisy(2 * SHARD_FRAMES + 7)
    night = jpeg_night(tmp_path, frames)
    ingest_night(night, FrameSettings("zstd"), DifferenceSettings())
    decoded = [
        cv2.imdecode(np.frombuffer(encoded(frame), np.uint8), cv2.IMREAD_GRAYSCALE) for frame in frames
    ]
    return tmp_path / "workspace", decoded


@pytest.mark.filterwarnings("ignore:Numcodecs codecs")
def test_a_night_is_bit_identical_to_the_reference_across_shards(long_night):
    workspace, decoded = long_night
    frames = xr.open_zarr(workspace / "frames/A/2022-09-14.zarr")
    assert np.array_equal(frames["frame"], decoded)
    made = xr.open_zarr(workspace / "differences/A/2022-09-14.zarr")
    expected = [reference(current, previous) for previous, current in pairwise(decoded)]
    assert np.array_equal(made["difference"][1:].values.view(np.uint8) * 255, expected)
    assert not made["difference"][0].any()
    assert made["usable"].values.tolist() == [False] + [True] * (len(decoded) - 1)


@pytest.mark.filterwarnings("ignore:Numcodecs codecs")
def test_the_stores_open_with_named_dimensions_utc_and_units(long_night):
    workspace, decoded = long_night
    frames = xr.open_zarr(workspace / "frames/A/2022-09-14.zarr")
    assert frames["frame"].dims == ("time", "y", "x")
    assert frames["frame"].dtype == np.uint8
    assert frames["time"].values[0] == np.datetime64("2022-09-14T20:00:00")
    assert frames["exposure_s"].attrs["units"] == "s"
    made = xr.open_zarr(workspace / "differences/A/2022-09-14.zarr")
    assert made["difference"].dtype == np.bool_
    assert made["difference"].encoding["shards"] == (SHARD_FRAMES, 90, 120)
    files = (workspace / "differences/A/2022-09-14.zarr/difference").rglob("*")
    stored = sum(path.stat().st_size for path in files if path.is_file())
    assert stored < len(decoded) * 90 * 120 / 8 * 1.15


def test_a_unit_prints_as_its_path():
    assert str(StationNight("UK0006", date(2022, 9, 14))) == "UK0006/2022-09-14"
