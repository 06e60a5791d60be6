"""The Sun over a station."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

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
