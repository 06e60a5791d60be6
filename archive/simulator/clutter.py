"""What looks like something else: insects, rain, headlights, contrails, cosmic rays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.simulator.brush import add_patch, add_points, blob, point_spread
from nightsift.archive.simulator.cameras import Camera, Floats
from nightsift.archive.simulator.canvas import Canvas
from nightsift.archive.simulator.scenery import Scenery
from nightsift.archive.simulator.weather import Weather

_CLOUD_HEIGHTS = 6.0


@dataclass(frozen=True)
class Contrail:
    """A straight line on the plane of the clouds that drifts, widens and fades."""

    begin_s: float
    end_s: float
    start: tuple[float, float]
    heading: float
    level: float
    width_px: float

    @classmethod
    def draw(cls, rng: np.random.Generator, camera: Camera, seconds: float) -> Self:
        """One contrail somewhere in a night of so many seconds."""
        begin = rng.uniform(-600, seconds)
        return cls(
            begin_s=begin,
            end_s=begin + rng.uniform(300, 2400),
            start=(rng.uniform(-2, 2), rng.uniform(-2, 2)),
            heading=rng.uniform(0, 2 * np.pi),
            level=camera.sky * np.exp(rng.uniform(np.log(0.03), np.log(0.4))),
            width_px=camera.width / 800 * rng.uniform(1.2, 4),
        )

    def put(self, canvas: Canvas, wind: tuple[float, float], seconds: float) -> None:
        """Draw it as it is at a second of the night."""
        age = (seconds - self.begin_s) / (self.end_s - self.begin_s)
        if not 0 < age < 1:
            return
        # The weather's pattern is sampled at place + wind * time: it moves against `wind`.
        drifted = np.array(self.start) - np.array(wind) * (seconds - self.begin_s)
        along = np.linspace(-_CLOUD_HEIGHTS, _CLOUD_HEIGHTS, 600)[:, None]
        plane = drifted + along * np.array([np.cos(self.heading), np.sin(self.heading)])
        towards = np.concatenate([plane, np.ones((600, 1))], axis=1)
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        x, y, imaged = canvas.camera.lens.project(towards.astype(np.float32))
        width = round(self.width_px * (0.6 + age), 1)
        strength = self.level * np.sin(np.pi * age)
        put_stroke(canvas, x, y, imaged, np.full(600, strength, np.float32), width)


def put_stroke(
    canvas: Canvas, x: Floats, y: Floats, kept: NDArray[np.bool_], rise: Floats, width_px: float
) -> None:
    """A soft line of a rise in gray levels through points, filled in so that neighbours overlap."""
    fill = np.arange(len(x) * 4) / 4
    knots = np.arange(len(x))
    x, y, rise = (np.interp(fill, knots, values).astype(np.float32) for values in (x, y, rise))
    kept = canvas.inside(x, y) & kept[np.minimum(np.rint(fill).astype(int), len(knots) - 1)]
    spacing = np.minimum(np.hypot(np.gradient(x), np.gradient(y)), 2 * width_px)
    x, y, rise, spacing = x[kept], y[kept], rise[kept], spacing[kept]
    light = rise * canvas.clarity(x, y) * np.sqrt(2 * np.pi) * width_px * spacing
    if len(x):
        add_points(canvas.image, x, y, light.astype(np.float32), point_spread(width_px, False))


def put_insect(rng: np.random.Generator, canvas: Canvas) -> None:
    """A blurred, bent streak of something lit close to the lens."""
    height, width = canvas.image.shape
    begin = rng.uniform(0, 1, 2) * (width, height)
    heading = rng.uniform(0, 2 * np.pi)
    length = width * np.exp(rng.uniform(np.log(0.03), np.log(0.5)))
    bend = rng.normal(0, 0.35) * length
    along = np.linspace(0, 1, 160)
    ahead, aside = along * length, 4 * bend * along * (1 - along)
    x = begin[0] + ahead * np.cos(heading) - aside * np.sin(heading)
    y = begin[1] + ahead * np.sin(heading) + aside * np.cos(heading)
    flutter = 1 + rng.uniform(0, 0.9) * np.sin(along * rng.uniform(10, 120))
    rise = np.exp(rng.uniform(np.log(4), np.log(70))) * np.sin(np.pi * along) ** 0.5 * flutter
    wide = round(width / 800 * rng.uniform(1.2, 6), 1)
    everywhere = np.ones(160, np.bool_)
    put_stroke(canvas, x.astype(np.float32), y.astype(np.float32), everywhere, rise.astype(np.float32), wide)


def put_cosmic_rays(rng: np.random.Generator, canvas: Canvas) -> None:
    """A few specks and short scratches of single pixels."""
    height, width = canvas.image.shape
    for _ in range(rng.poisson(1.5)):
        pixels = 1 + rng.geometric(0.4)
        heading = rng.uniform(0, 2 * np.pi)
        x = rng.uniform(0, width) + np.arange(pixels) * np.cos(heading)
        y = rng.uniform(0, height) + np.arange(pixels) * np.sin(heading)
        kept = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        canvas.image[y[kept].astype(int), x[kept].astype(int)] += rng.uniform(8, 120)


def put_drops(rng: np.random.Generator, canvas: Canvas, count: int) -> None:
    """Drops on the dome: soft discs, brighter or darker than the sky."""
    height, width = canvas.image.shape
    for _ in range(count):
        disc = blob(width * np.exp(rng.uniform(np.log(0.004), np.log(0.03))), rng.uniform(2, 6))
        left, top = (rng.uniform(0, 1, 2) * (width, height)).astype(int) - disc.shape[0] // 2
        add_patch(canvas.image, disc * np.float32(rng.normal(0, 0.25) * canvas.camera.sky), left, top)


def headlight(rng: np.random.Generator, camera: Camera, maps: Scenery) -> Floats:
    """A beam that sweeps over the sky from the horizon, gray levels on the coarse grid."""
    azimuth = maps.town_azimuth + rng.normal(0, 0.8)
    level = camera.sky * np.exp(rng.uniform(np.log(0.15), np.log(3)))
    towards = maps.directions @ np.array([np.sin(azimuth), np.cos(azimuth), 0], np.float32)
    across = maps.directions @ np.array([np.cos(azimuth), -np.sin(azimuth), 0], np.float32)
    angle = np.arctan2(across, towards) / rng.uniform(0.05, 0.4)
    return np.asarray(
        level
        * np.exp(-0.5 * angle**2)
        * np.exp(-np.maximum(maps.directions[..., 2], 0) / rng.uniform(0.06, 0.5)),
        np.float32,
    )


def draw_contrails(
    rng: np.random.Generator, camera: Camera, weather: Weather, seconds: float
) -> tuple[Contrail, ...]:
    """The contrails of a night; none form under a closed sky."""
    mean = 0.0 if float(np.median(weather.cover)) > 1 else rng.choice([0.0, 3.0, 12.0])
    return tuple(Contrail.draw(rng, camera, seconds) for _ in range(rng.poisson(mean)))
