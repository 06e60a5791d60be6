"""The light above the weather: Sun, Moon, stars and their places over a station."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.simulator.cameras import Floats
from nightsift.archive.stations import Station

_STARS = 60_000
_FAINTEST = 8.2
_STEP_S = 900.0


@dataclass(frozen=True)
class Ephemeris:
    """Sun and Moon over a station, every quarter of an hour from ``begin_utc``."""

    begin_utc: datetime
    sun: NDArray[np.float64]
    moon: NDArray[np.float64]
    illumination: float

    @classmethod
    def over(cls, station: Station, begin_utc: datetime, end_utc: datetime) -> Self:
        """Directions by astropy's built-in ephemerides; needs no network."""
        from astropy import units
        from astropy.coordinates import AltAz, EarthLocation, get_body
        from astropy.time import Time
        from astropy.utils import iers

        steps = int((end_utc - begin_utc).total_seconds() / _STEP_S) + 2
        with iers.conf.set_temp("auto_download", False):
            times = Time(begin_utc) + np.arange(steps) * _STEP_S * units.s
            place = EarthLocation(
                lon=station.longitude_deg * units.deg,
                lat=station.latitude_deg * units.deg,
                height=station.height_msl_m * units.m,
            )
            sky = AltAz(obstime=times, location=place)
            sun, moon = (get_body(body, times, place).transform_to(sky) for body in ("sun", "moon"))
        sun_at, moon_at = (_east_north_up(body.az.radian, body.alt.radian) for body in (sun, moon))
        elongation = np.arccos(np.clip((sun_at * moon_at).sum(axis=1).mean(), -1, 1))
        return cls(begin_utc, sun_at, moon_at, float((1 - np.cos(elongation)) / 2))

    def seconds(self, time_utc: datetime) -> float:
        """Seconds since ``begin_utc``."""
        return (time_utc - self.begin_utc).total_seconds()

    def sun_at(self, time_utc: datetime) -> NDArray[np.float64]:
        """Direction of the Sun."""
        return self._interpolate(self.sun, time_utc)

    def moon_at(self, time_utc: datetime) -> NDArray[np.float64]:
        """Direction of the Moon."""
        return self._interpolate(self.moon, time_utc)

    def dark_between(self, below_deg: float) -> tuple[datetime, datetime]:
        """Evening and morning at which the Sun crosses an altitude, to about a minute."""
        seconds = np.arange(0, (len(self.sun) - 1) * _STEP_S, 60.0)
        up = np.interp(seconds, np.arange(len(self.sun)) * _STEP_S, self.sun[:, 2])
        dark = seconds[up < np.sin(np.radians(below_deg))]
        return (
            self.begin_utc + timedelta(seconds=float(dark[0])),
            self.begin_utc + timedelta(seconds=float(dark[-1])),
        )

    def _interpolate(self, vectors: NDArray[np.float64], time_utc: datetime) -> NDArray[np.float64]:
        place = self.seconds(time_utc) / _STEP_S
        before = int(np.clip(place, 0, len(vectors) - 2))
        vector = vectors[before] + (place - before) * (vectors[before + 1] - vectors[before])
        return np.asarray(vector / np.linalg.norm(vector))


def _east_north_up(azimuth: NDArray[np.float64], altitude: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = np.cos(altitude)
    return np.stack([flat * np.sin(azimuth), flat * np.cos(azimuth), np.sin(altitude)], axis=-1)


def equatorial_to_local(station: Station, time_utc: datetime) -> NDArray[np.float64]:
    """Matrix that turns equatorial unit vectors into (east, north, up); mean sidereal time, 0.1 s."""
    days = (time_utc.timestamp() - 946728000.0) / 86400
    turned = np.radians(280.46061837 + 360.98564736629 * days + station.longitude_deg)
    latitude = np.radians(station.latitude_deg)
    cos_t, sin_t, cos_l, sin_l = np.cos(turned), np.sin(turned), np.cos(latitude), np.sin(latitude)
    return np.array(
        [
            [-sin_t, cos_t, 0.0],
            [-sin_l * cos_t, -sin_l * sin_t, cos_l],
            [cos_l * cos_t, cos_l * sin_t, sin_l],
        ]
    )


@lru_cache(maxsize=1)
def stars() -> tuple[Floats, Floats]:
    """Equatorial unit vectors (n, 3) and magnitudes (n,), the brightest first.

    Counts grow by a factor of 10^0.51 a magnitude, as naked-eye stars do, and crowd towards a plane.
    """
    rng = np.random.default_rng(20211030)
    magnitudes = np.sort(_FAINTEST + np.log10(rng.random(_STARS)) / 0.51).astype(np.float32)
    vectors = rng.normal(size=(_STARS, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    crowded = rng.random(_STARS) < 0.25
    pole = np.array([-0.868, -0.198, 0.456])  # north galactic pole
    out_of_plane = (vectors @ pole)[:, None] * pole
    vectors = np.where(crowded[:, None], vectors - 0.6 * out_of_plane, vectors)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), magnitudes


def air_mass(sine_altitude: Floats) -> Floats:
    """Path through the air in zenith units (Rozenberg 1966)."""
    sine = np.maximum(sine_altitude, 0.0)
    return np.asarray(1 / (sine + 0.025 * np.exp(-11 * sine)), np.float32)


def twilight(directions: Floats, sun: NDArray[np.float64]) -> Floats:
    """Brightness of the twilight sky for directions (..., 3), 1 being that of the moonless night."""
    altitude_deg = np.degrees(np.arcsin(sun[2]))
    if altitude_deg < -18:
        return np.zeros(directions.shape[:-1], np.float32)
    strength = 10 ** (0.33 * min(altitude_deg + 10.5, 11.0))
    towards = directions @ np.array([sun[0], sun[1], 0.0], np.float32) / np.hypot(sun[0], sun[1])
    low = np.exp(-np.maximum(directions[..., 2], 0) / 0.35)
    return np.asarray(
        strength * (0.35 + 0.25 * (1 + towards) + 0.9 * low * (1 + towards) ** 2 / 4), np.float32
    )


def moonlight(directions: Floats, moon: NDArray[np.float64], illumination: float, bloom_deg: float) -> Floats:
    """Brightness of the moonlit sky and of the glare around the Moon, 1 being the moonless night."""
    if moon[2] < -0.02:
        return np.zeros(directions.shape[:-1], np.float32)
    phase = illumination**2.2 * np.clip(moon[2] / 0.1 + 0.2, 0.05, 1) ** 0.6
    cosine = np.clip(directions @ moon.astype(np.float32), -1, 1)
    angle_deg = np.degrees(np.arccos(cosine))
    scattered = 0.8 * (1.06 + cosine**2) + 9 * np.exp(-angle_deg / 16) + 25 * np.exp(-angle_deg / 5)
    disc = 400 * np.exp(-0.5 * (angle_deg / bloom_deg) ** 2) + 120 / (1 + (angle_deg / bloom_deg) ** 2.5)
    return np.asarray(phase * (scattered + disc * (moon[2] > 0)), np.float32)
