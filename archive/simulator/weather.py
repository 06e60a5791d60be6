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

    ``cover`` (from about −2, clear, to 2, overcast) changes from knot to knot; winds are in cloud heights a
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
        mood = rng.choice(["clear", "clear", "partly", "partly", "thin", "overcast", "changing"])
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
            opacity=rng.uniform(0.3, 1.0) if thin else rng.uniform(1.2, 5.0),
            softness=rng.uniform(1.5, 3.0) if thin else rng.uniform(0.5, 1.8),
            brightness=rng.uniform(0.2, 0.8) if thin else np.exp(rng.uniform(np.log(0.3), np.log(3.0))),
            wind=(speed * np.cos(heading), speed * np.sin(heading)),
            shear=(1.4 * speed * np.cos(aside), 1.4 * speed * np.sin(aside)),
            grain=pixels_per_radian * np.exp(rng.uniform(np.log(0.35), np.log(1.5))),
            haze=rng.uniform(0.0, 0.25) ** 2,
            kind=int(rng.integers(3)),
        )

    def density(self, plane: Floats, fine: Floats, seconds: float, exposure_s: float, stacked: bool) -> Floats:
        """Cloud from 0 (none) to 1 over an exposure, (h, w).

        Parameters
        ----------
        plane
            Where each line of sight meets the plane of the clouds, cloud heights, (h, w, 2).
        fine
            Weight of the fine structure, (h, w): 0 where a pixel covers many of its waves.
        seconds
            Begin of the exposure since the night's.
        exposure_s, stacked
            A long exposure smears the clouds, a maximum of short ones keeps their bright edges.
        """
        cover = np.interp(seconds / _KNOT_S, np.arange(len(self.cover)), self.cover)
        if cover < -3:
            return np.zeros(plane.shape[:2], np.float32)
        drift_px = np.hypot(*self.wind) * exposure_s * self.grain
        moments = int(np.clip(np.ceil(drift_px / 4), 1, 7))
        times = seconds + exposure_s * (np.arange(moments) + 0.5) / moments
        fields = [self._field(plane, fine, float(time)) for time in times]
        field = np.maximum.reduce(fields) if stacked else np.mean(fields, axis=0)
        return np.asarray(np.clip((field + cover) / self.softness + 0.5, 0, 1), np.float32)

    def _field(self, plane: Floats, fine: Floats, seconds: float) -> Floats:
        coarse = self._sample(fractal(self.kind, 1.9), plane, self.wind, 1.0, seconds)
        detail = self._sample(fractal(self.kind + 3, 1.5), plane, self.shear, 2.3, seconds)
        return coarse + 0.45 * fine * detail

    def _sample(
        self, texture: Floats, plane: Floats, wind: tuple[float, float], scale: float, seconds: float
    ) -> Floats:
        places = (plane + np.array(wind, np.float32) * np.float32(seconds)) * np.float32(self.grain * scale)
        places %= _SIZE
        return np.asarray(
            cv2.remap(texture, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        )


def plane_of(directions: Floats) -> tuple[Floats, Floats]:
    """Where lines of sight (h, w, 3) meet the plane of the clouds, and how much fine structure shows there."""
    up = np.maximum(directions[..., 2], 0.09)
    fine = np.clip((directions[..., 2] - 0.1) / 0.3, 0, 1).astype(np.float32)
    return (directions[..., :2] / up[..., None]).astype(np.float32), fine


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], blur_px: float) -> NDArray[np.float32]:
    """A blurred random field of deviation 1."""
    field = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), blur_px)
    return np.asarray(field / field.std(), np.float32)
