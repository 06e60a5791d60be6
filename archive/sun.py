"""The Sun over a station."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.nights import night_bounds
from nightsift.archive.stations import Station


def sun_altitude_deg(station: Station, times_utc: Sequence[datetime]) -> NDArray[np.float64]:
    """Altitude of the Sun's centre, in degrees, without refraction.

    Parameters
    ----------
    station
        Gives the place.
    times_utc
        Timezone-aware instants.

    Returns
    -------
    (n,) float64 array

    Notes
    -----
    Earth rotation is taken from the tables bundled with astropy; where they end the error stays below
    0.01 degrees. Nothing is downloaded.
    """
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, get_sun
    from astropy.time import Time
    from astropy.utils import iers

    if not times_utc:
        return np.empty(0)
    place = EarthLocation.from_geodetic(
        station.longitude_deg * u.deg, station.latitude_deg * u.deg, station.height_msl_m * u.m
    )
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "ignore"):
        times = Time([time.replace(tzinfo=None) for time in times_utc], scale="utc")
        altitude = get_sun(times).transform_to(AltAz(obstime=times, location=place)).alt
        return np.asarray(altitude.to_value(u.deg), dtype=np.float64)


def dark_seconds(station: Station, night: date, below_deg: float = -6.0) -> float:
    """For how long the Sun is below ``below_deg`` in a night, in seconds; sampled every ten minutes.

    >>> madrid = Station(id="M", network="", latitude_deg=40.4, longitude_deg=-3.7, height_msl_m=650,
    ...                  timezone="Europe/Madrid", layout="allsky", cadence_s=30, exposure_s=30)
    >>> round(dark_seconds(madrid, date(2021, 12, 21)) / 3600)
    14
    """
    begin, end = night_bounds(night, station.zone)
    times = np.arange(begin.timestamp(), end.timestamp() + 1, 600.0)
    altitudes = sun_altitude_deg(station, [datetime.fromtimestamp(t, UTC) for t in times])
    # Each step counts by the share of it that lies below, the altitude taken as linear within it.
    low, high = np.minimum(altitudes[:-1], altitudes[1:]), np.maximum(altitudes[:-1], altitudes[1:])
    share = np.clip((below_deg - low) / np.maximum(high - low, 1e-9), 0.0, 1.0)
    return float(np.sum(share * np.diff(times)))
