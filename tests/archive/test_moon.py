from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nightsift.archive.moon import moon
from nightsift.archive.simulator import draw_station

STATION = draw_station(0, 1).station


def at(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)


def test_full_and_new_moons_are_those_of_the_almanac():
    """Instants of the US Naval Observatory."""
    full, new = at(2021, 11, 19, 8, 57), at(2021, 12, 4, 7, 43)
    seen = moon(STATION, [full, new])
    assert seen.illumination == pytest.approx([1, 0], abs=0.002)


def test_places_are_those_of_astropy():
    from astropy import units
    from astropy.coordinates import AltAz, EarthLocation, get_body
    from astropy.time import Time
    from astropy.utils import iers

    times = [at(2024, 2, 1) + timedelta(hours=31 * number) for number in range(24)]
    place = EarthLocation(
        lon=STATION.longitude_deg * units.deg,
        lat=STATION.latitude_deg * units.deg,
        height=STATION.height_msl_m * units.m,
    )
    with iers.conf.set_temp("auto_download", False):
        when = Time(times)
        expected = get_body("moon", when, place).transform_to(AltAz(obstime=when, location=place))
    assert moon(STATION, times).altitude_deg == pytest.approx(expected.alt.deg, abs=0.2)


def test_moonlight_falls_with_phase_and_towards_the_horizon():
    times = [at(2021, 11, 19) + timedelta(minutes=30 * number) for number in range(60)]
    seen = moon(STATION, times)
    below = seen.altitude_deg < 0
    assert below.any()
    assert (seen.light[below] == 0).all()
    high = seen.altitude_deg > 20
    share = seen.light[high] / np.sin(np.radians(seen.altitude_deg[high]))
    assert share == pytest.approx(0.85, abs=0.15)  # within a day of full
    half = moon(STATION, [at(2021, 11, 27, 12, 28)])
    assert half.illumination == pytest.approx([0.5], abs=0.01)
    assert half.light.max() < 0.12


def test_no_instants():
    assert len(moon(STATION, []).light) == 0
