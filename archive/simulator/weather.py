"""Clouds: fractal layers that drift over a station on a plane above it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from nightsift.archive.simulator.cameras import Floats

_SIZE = 512
_KNOT_S = 700.0


@lru_cache(maxsize=6)
def fractal(kind: int, roughness: float) -> Floats:
    """A periodic random field of mean 0 and deviation 1, float32 (512, 512), power falling as a power law."""
    rng = np.random.default_rng([kind, 77])
    frequency = np.hypot(np.fft.fftfreq(_SIZE)[:, None], np.fft.rfftfreq(_SIZE)[None]) * _SIZE
    amplitude = np.maximum(frequency, 2.0) ** -roughness
    amplitude[0, 0] = 0
    waves = amplitude * np.exp(2j * np.pi * rng.random(frequency.shape))
    field = np.fft.irfft2(waves, (_SIZE, _SIZE))
    return np.asarray(field / field.std(), np.float32)


@dataclass(frozen=True)
class Weather:
    """The clouds of one night.

    ``cover`` (from about -2, clear, to 2, overcast) changes from knot to knot; winds are in cloud heights a
    second, ``grain`` is texture pixels a cloud height.
    """

    cover: Floats
    opacity: float
    softness: float
    brightness: float
    wind: tuple[float, float]
    shear: tuple[float, float]
    grain: float
    haze: float
    kind: int

    @classmethod
    def draw(cls, rng: np.random.Generator, seconds: float, pixels_per_radian: float) -> Self:
        """The weather of a night of so many seconds."""
        mood = rng.choice(["clear", "clear", "clear", "partly", "partly", "thin", "overcast", "changing"])
        centre = {"clear": -2.6, "partly": -0.6, "thin": 0.2, "overcast": 1.6, "changing": -0.6}[mood]
        spread = {"clear": 0.8, "partly": 0.7, "thin": 0.7, "overcast": 0.4, "changing": 1.8}[mood]
        knots = int(seconds / _KNOT_S) + 3
        steps = rng.normal(size=knots + 4)
        walk = np.convolve(steps, np.ones(4) / 2, mode="valid")[:knots]
        speed = np.exp(rng.uniform(np.log(0.0006), np.log(0.008)))
        heading = rng.uniform(0, 2 * np.pi)
        aside = heading + rng.normal(0, 0.5)
        thin = mood == "thin"
        return cls(
            cover=(centre + spread * walk).astype(np.float32),
            opacity=rng.uniform(0.15, 0.7) if thin else np.exp(rng.uniform(np.log(0.5), np.log(4.0))),
            softness=rng.uniform(1.2, 3.0) if thin else rng.uniform(0.6, 2.2),
            brightness=rng.uniform(0.2, 0.8) if thin else np.exp(rng.uniform(np.log(0.3), np.log(3.0))),
            wind=(speed * np.cos(heading), speed * np.sin(heading)),
            shear=(1.4 * speed * np.cos(aside), 1.4 * speed * np.sin(aside)),
            grain=pixels_per_radian * np.exp(rng.uniform(np.log(0.35), np.log(1.5))),
            haze=rng.uniform(0.0, 0.25) ** 2,
            kind=int(rng.integers(3)),
        )


class _Layer:
    """A fractal seen along fixed lines of sight, moved by wind alone."""

    def __init__(self, texture: Floats, plane: Floats, texels: float, wind: tuple[float, float]) -> None:
        self._texture = np.tile(texture, (2, 2))
        self._places = plane * np.float32(texels) % _SIZE
        self._texels_s = np.array(wind) * texels

    def at(self, seconds: float) -> Floats:
        drift = self._texels_s * seconds % _SIZE
        column, row = drift.astype(int)
        x, y = cv2.split(self._places + (drift % 1).astype(np.float32))
        moved = self._texture[row : row + _SIZE + 2, column : column + _SIZE + 2]
        return np.asarray(cv2.remap(moved, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


class Clouds:
    """The clouds of a night as one camera sees them.

    Parameters
    ----------
    weather
        Of the night.
    plane, fine
        From `plane_of`.
    """

    def __init__(self, weather: Weather, plane: Floats, fine: Floats) -> None:
        self._weather, self._fine = weather, np.float32(0.45) * fine
        self._coarse = _Layer(fractal(weather.kind, 1.9), plane, weather.grain, weather.wind)
        self._detail = _Layer(fractal(weather.kind + 3, 1.5), plane, 2.3 * weather.grain, weather.shear)

    def thickness(self, seconds: float, exposure_s: float, stacked: bool) -> Floats:
        """Thickness over an exposure, 0 (none) to about 3, (h, w).

        Parameters
        ----------
        seconds
            Begin of the exposure since the night's.
        exposure_s, stacked
            A long exposure smears the clouds, a maximum of short ones keeps their bright edges.
        """
        weather = self._weather
        cover = np.interp(seconds / _KNOT_S, np.arange(len(weather.cover)), weather.cover)
        if cover < -3.5:
            return np.zeros(self._fine.shape, np.float32)
        drift = np.hypot(*weather.wind) * exposure_s * weather.grain
        moments = int(np.clip(np.ceil(drift / 4), 1, 6))
        times = seconds + exposure_s * (np.arange(moments) + 0.5) / moments
        fields = [self._coarse.at(time) + self._fine * self._detail.at(time) for time in times]
        field = np.maximum.reduce(fields) if stacked else sum(fields[1:], fields[0]) / np.float32(moments)
        excess = (field + np.float32(cover)) * np.float32(3 / weather.softness)
        soft = np.maximum(excess, 0) + np.log1p(np.exp(-np.abs(excess)))
        return np.asarray(np.maximum(soft / 3 - 0.02, 0), np.float32)


def plane_of(directions: Floats) -> tuple[Floats, Floats]:
    """Where lines of sight (h, w, 3) meet the plane of the clouds, and how much fine structure shows."""
    up = np.maximum(directions[..., 2], 0.09)
    fine = np.clip((directions[..., 2] - 0.1) / 0.3, 0, 1).astype(np.float32)
    return (directions[..., :2] / up[..., None]).astype(np.float32), fine


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], blur_px: float) -> NDArray[np.float32]:
    """A blurred random field of deviation 1."""
    field = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), blur_px)
    return np.asarray(field / field.std(), np.float32)
