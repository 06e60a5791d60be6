from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from nightsift.archive.nights import night_bounds
from nightsift.archive.stations import Station
from nightsift.archive.sun import SunTrack, dark_seconds, sun_altitude_deg


def place(latitude_deg, longitude_deg, timezone="UTC"):
    return Station(
        id="A",
        network="N",
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        height_msl_m=0,
        timezone=timezone,
        layout="allsky",
        cadence_s=30,
        exposure_s=30,
    )


@pytest.mark.parametrize(("latitude_deg", "longitude_deg"), [(51.9, -1.3), (-33.0, 151.0), (69.6, 18.9)])
def test_altitude_agrees_with_astropy(latitude_deg, longitude_deg):
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, get_sun
    from astropy.time import Time
    from astropy.utils import iers

    times = [datetime(2019, 1, 1, tzinfo=UTC) + timedelta(hours=31.7 * k) for k in range(1000)]
    with iers.conf.set_temp("auto_download", False):
        astropy_times = Time([time.replace(tzinfo=None) for time in times])
        location = EarthLocation.from_geodetic(longitude_deg * u.deg, latitude_deg * u.deg)
        expected = (
            get_sun(astropy_times).transform_to(AltAz(obstime=astropy_times, location=location)).alt.deg
        )
    assert np.abs(sun_altitude_deg(place(latitude_deg, longitude_deg), times) - expected).max() < 0.01


def test_darkness_at_midsummer_and_midwinter_beyond_the_polar_circle():
    tromso = place(69.6, 18.9, "Europe/Oslo")
    assert dark_seconds(tromso, date(2022, 6, 21)) == 0
    assert dark_seconds(tromso, date(2022, 12, 21)) / 3600 == pytest.approx(19.5, abs=0.5)


@pytest.mark.parametrize(
    ("latitude_deg", "longitude_deg", "zone"),
    [(51.9, -1.3, "UTC"), (23.4, -80.0, "America/Havana"), (-77.8, 166.7, "Antarctica/McMurdo")],
)
@pytest.mark.parametrize("night", [date(2021, 6, 21), date(2021, 10, 30), date(2022, 3, 20)])
def test_a_track_follows_the_sun_even_through_the_zenith(latitude_deg, longitude_deg, zone, night):
    station = place(latitude_deg, longitude_deg, zone)
    begin, end = night_bounds(night, station.zone)
    times = [begin + k * (end - begin) / 500 for k in range(501)]
    track = SunTrack(station, night)
    found = np.array([track.altitude_deg(time) for time in times])
    assert np.abs(found - sun_altitude_deg(station, times)).max() < 0.001
