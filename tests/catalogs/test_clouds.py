from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nightsift.archive.moon import moon
from nightsift.archive.simulator import draw_station
from nightsift.catalogs.clouds import MOONLIGHT, Sightings, cloud_fractions, frame_clouds

STATION = draw_station(0, 1).station
NEW_MOON = datetime(2021, 12, 4, 21, tzinfo=UTC)
FULL_MOON = datetime(2021, 11, 19, 0, tzinfo=UTC)


def night(begin: datetime, cells: list[float], sun_deg: float = -30.0) -> Sightings:
    times = tuple(begin + timedelta(minutes=5 * number) for number in range(len(cells)))
    return Sightings(times, np.array(cells, np.float32), np.full(len(cells), sun_deg))


def clear(begin: datetime = NEW_MOON, cells: float = 100, frames: int = 40) -> Sightings:
    rng = np.random.default_rng(3)
    return night(begin, (cells + 0.05 * cells * rng.normal(size=frames)).tolist())


def test_a_night_without_stars_is_overcast_and_one_with_its_usual_stars_clear():
    half = [100.0] * 10 + [0.0] * 10
    said = cloud_fractions(STATION, [clear(), night(NEW_MOON, [0.0] * 9), night(NEW_MOON, half)])
    assert said == pytest.approx([0, 1, 0.5], abs=0.03)


def test_half_the_sky_is_half():
    (_, frames) = frame_clouds(STATION, [clear(), night(NEW_MOON, [50.0, 75.0, 25.0, 130.0])])
    assert frames == pytest.approx([0.5, 0.25, 0.75, 0], abs=0.06)


def test_moonlight_is_not_taken_for_cloud():
    """Each kind of moonlight is judged by its own clear skies."""
    lights = moon(STATION, [NEW_MOON, FULL_MOON]).light
    assert np.digitize(lights, MOONLIGHT).tolist() == [0, 2]
    said = cloud_fractions(STATION, [clear(), clear(FULL_MOON, 40), night(FULL_MOON, [20.0] * 9)])
    assert said == pytest.approx([0, 0, 0.45], abs=0.05)


def test_moonlight_under_which_no_clear_sky_is_known_cannot_be_told():
    assert cloud_fractions(STATION, [clear(), night(FULL_MOON, [40.0] * 9)])[1] is None
    assert cloud_fractions(STATION, [clear(), clear(FULL_MOON, 20)])[1] is None  # always cloudy, or blinded


def test_twilight_cannot_be_told():
    assert cloud_fractions(STATION, [clear(), night(NEW_MOON, [0.0] * 9, sun_deg=-11)])[1] is None


def test_a_station_that_shows_few_stars_cannot_tell():
    assert cloud_fractions(STATION, [clear(cells=12)]) == [None]


def test_too_few_frames_cannot_tell():
    assert cloud_fractions(STATION, [clear(frames=19)]) == [None]
    assert cloud_fractions(STATION, [clear(), night(NEW_MOON, [3.0, 3.0])])[1] is None
    assert cloud_fractions(STATION, [night(NEW_MOON, [])]) == [None]
    assert cloud_fractions(STATION, []) == []


def test_a_meteor_of_a_frame_makes_no_reference():
    """One frame full of false stars does not make the others look cloudy."""
    said = cloud_fractions(STATION, [clear(), night(NEW_MOON, [190.0])])
    assert said[0] == pytest.approx(0, abs=0.02)
