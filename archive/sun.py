"""The Sun over a station."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime

import erfa
import numpy as np
from numpy.typing import NDArray

from nightsift.archive.nights import night_bounds
from nightsift.archive.stations import Station

Floats = NDArray[np.float64]

JD_1970 = 2440587.5
TERRESTRIAL_LESS_UTC_S = 69.2  # since 2017; a second more or less moves the Sun by 0.00001 degrees

TRACK_STEP_S = 3600.0


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
    IAU 2006 precession and nutation, without aberration and with UT1 taken for UTC: within 0.01 degrees, and
    no table of the Earth's rotation has to be read or downloaded.
    """
    if not times_utc:
        return np.empty(0)
    hour_angle, declination = _equatorial(station, np.array([time.timestamp() for time in times_utc]))
    return _altitude_deg(station, hour_angle, declination)


def _equatorial(station: Station, timestamps: Floats) -> tuple[Floats, Floats]:
    """Local hour angle and declination in radians."""
    day = timestamps / 86400
    terrestrial = day + TERRESTRIAL_LESS_UTC_S / 86400
    heliocentric, _ = erfa.epv00(JD_1970, terrestrial)
    of_date = np.einsum("nij,nj->ni", erfa.pnm06a(JD_1970, terrestrial), -heliocentric["p"])
    right_ascension, declination = erfa.c2s(of_date)
    sidereal = erfa.gst06a(JD_1970, day, JD_1970, terrestrial) + np.radians(station.longitude_deg)
    return sidereal - right_ascension, declination


def _altitude_deg(station: Station, hour_angle: Floats, declination: Floats) -> Floats:
    _, altitude = erfa.hd2ae(hour_angle, declination, np.radians(station.latitude_deg))
    return np.asarray(np.degrees(altitude), dtype=np.float64)


class SunTrack:
    """Altitude of the Sun over a station through one night, within 0.001 degrees of `sun_altitude_deg`.

    Hour angle and declination, which change evenly, are interpolated between full hours.

    >>> madrid = Station(id="M", network="", latitude_deg=40.4, longitude_deg=-3.7, height_msl_m=650,
    ...                  timezone="Europe/Madrid", layout="allsky", cadence_s=30, exposure_s=30)
    >>> round(SunTrack(madrid, date(2021, 12, 21)).altitude_deg(datetime(2021, 12, 22, tzinfo=UTC)))
    -73
    """

    def __init__(self, station: Station, night: date) -> None:
        begin, end = night_bounds(night, station.zone)
        times = np.arange(begin.timestamp(), end.timestamp() + 2 * TRACK_STEP_S, TRACK_STEP_S)
        hour_angles, declinations = _equatorial(station, times)
        self._begin = float(times[0])
        self._hour_angles, self._declinations = np.unwrap(hour_angles).tolist(), declinations.tolist()
        self._latitude = math.radians(station.latitude_deg)

    def altitude_deg(self, time_utc: datetime) -> float:
        """Altitude at an instant of the night, in degrees."""
        # Asked for every frame: ten times as fast as arrays of one value are.
        position = (time_utc.timestamp() - self._begin) / TRACK_STEP_S
        hour = min(max(int(position), 0), len(self._declinations) - 2)
        later = position - hour
        hour_angle, declination = (
            values[hour] * (1 - later) + values[hour + 1] * later
            for values in (self._hour_angles, self._declinations)
        )
        upright = math.sin(self._latitude) * math.sin(declination)
        slanting = math.cos(self._latitude) * math.cos(declination) * math.cos(hour_angle)
        return math.degrees(math.asin(max(-1.0, min(1.0, upright + slanting))))


def dark_seconds(station: Station, night: date, below_deg: float = -6.0) -> float:
    """For how long the Sun is below ``below_deg`` in a night, in seconds; sampled every ten minutes.

    >>> madrid = Station(id="M", network="", latitude_deg=40.4, longitude_deg=-3.7, height_msl_m=650,
    ...                  timezone="Europe/Madrid", layout="allsky", cadence_s=30, exposure_s=30)
    >>> round(dark_seconds(madrid, date(2021, 12, 21)) / 3600)
    14
    """
    begin, end = night_bounds(night, station.zone)
    times = np.arange(begin.timestamp(), end.timestamp() + 1, 600.0)
    track = SunTrack(station, night)
    altitudes = np.array([track.altitude_deg(datetime.fromtimestamp(t, UTC)) for t in times])
    # Each step counts by the share of it that lies below, the altitude taken as linear within it.
    low, high = np.minimum(altitudes[:-1], altitudes[1:]), np.maximum(altitudes[:-1], altitudes[1:])
    share = np.clip((below_deg - low) / np.maximum(high - low, 1e-9), 0.0, 1.0)
    return float(np.sum(share * np.diff(times)))
