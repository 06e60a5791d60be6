"""The Moon over a station."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import erfa
import numpy as np
from numpy.typing import NDArray

from nightsift.archive.stations import Station
from nightsift.archive.sun import JD_1970, TERRESTRIAL_LESS_UTC_S

_EARTH_RADIUS_AU = 6378.137 / 149597870.7


@dataclass(frozen=True, eq=False)
class Moon:
    """The Moon at some instants; (n,) float64 each.

    Attributes
    ----------
    altitude_deg
        Of its centre as seen from the station, without refraction.
    phase_deg
        Angle between Sun and observer at the Moon: 0 when full, 180 when new.
    """

    altitude_deg: NDArray[np.float64]
    phase_deg: NDArray[np.float64]

    @property
    def illumination(self) -> NDArray[np.float64]:
        """Lit fraction of the disc."""
        return np.asarray((1 + np.cos(np.radians(self.phase_deg))) / 2)

    @property
    def light(self) -> NDArray[np.float64]:
        """Light on level ground above the air, 1 for a full Moon in the zenith.

        Krisciunas & Schaefer 1991, PASP 103, 1033, equation 20.
        """
        magnitude = 0.026 * self.phase_deg + 4e-9 * self.phase_deg**4
        return np.asarray(10 ** (-0.4 * magnitude) * np.sin(np.radians(self.altitude_deg)).clip(0))


def moon(station: Station, times_utc: Sequence[datetime]) -> Moon:
    """Where the Moon is and how much of it is lit, seen from a station at timezone-aware instants.

    Notes
    -----
    Meeus's theory as in SOFA's `moon98`, IAU 2006 precession and nutation, a spherical Earth and UT1 taken
    for UTC: altitudes within 0.2 degrees.
    """
    if not times_utc:
        return Moon(np.empty(0), np.empty(0))
    day = np.array([time.timestamp() for time in times_utc]) / 86400
    terrestrial = day + TERRESTRIAL_LESS_UTC_S / 86400
    seen = erfa.moon98(JD_1970, terrestrial)["p"]
    sun = -erfa.epv00(JD_1970, terrestrial)[0]["p"]
    of_date = np.einsum("nij,nj->ni", erfa.pnm06a(JD_1970, terrestrial), seen)
    right_ascension, declination = erfa.c2s(of_date)
    sidereal = erfa.gst06a(JD_1970, day, JD_1970, terrestrial) + np.radians(station.longitude_deg)
    _, altitude = erfa.hd2ae(sidereal - right_ascension, declination, np.radians(station.latitude_deg))
    distance = np.linalg.norm(seen, axis=1)
    parallax = np.arctan2(np.cos(altitude), distance / _EARTH_RADIUS_AU - np.sin(altitude))
    phase = erfa.sepp(seen - sun, seen)
    return Moon(np.degrees(altitude - parallax), np.degrees(phase))
