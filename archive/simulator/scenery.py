"""What does not move in front of a camera: horizon, trees, lamps, the lens and the sensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from nightsift.archive.simulator.cameras import Camera, Floats
from nightsift.archive.simulator.sky import air_mass
from nightsift.archive.simulator.weather import plane_of, smooth_noise

_COARSE_WIDTH = 360
_MARGIN = 96


@dataclass(frozen=True)
class Lamp:
    """A light at the horizon: ``kind`` is steady, twinkling or switched."""

    left: int
    top: int
    glow: Floats
    kind: str


@dataclass(frozen=True)
class Scenery:
    """Maps of one camera, shared by all of its frames.

    Full-size maps are (height, width); coarse ones cover the frame with about 360 columns.

    Attributes
    ----------
    throughput
        Part of the sky's light that reaches each pixel: vignetting, image circle, obstacles.
    foreground
        Light of the obstacles themselves, gray levels.
    leaves, sway
        Flat indices of the pixels at swaying edges, and how far their throughput moves.
    directions, plane, fine, extinction, glow
        Coarse: lines of sight, where they meet the clouds, what air takes, the moonless sky.
    grains
        Noise textures of mean 0 and deviation 1, larger than the frame.
    hot
        Flat indices and levels of the hot pixels.
    """

    throughput: Floats
    foreground: Floats
    leaves: NDArray[np.intp]
    sway: Floats
    directions: Floats
    plane: Floats
    fine: Floats
    extinction: Floats
    glow: Floats
    town_azimuth: float
    grains: tuple[Floats, ...]
    hot: tuple[NDArray[np.intp], Floats]
    lamps: tuple[Lamp, ...]


@lru_cache(maxsize=3)
def scenery(camera: Camera) -> Scenery:
    """The maps of a camera."""
    rng = np.random.default_rng([camera.scene, 2])
    seen, inside = camera.lens.unproject(*pixel_grid(camera.width, camera.height, 1))
    clearance_deg, leafy = _clearance(rng, camera, seen)
    soft = np.where(leafy, 0.5, 1.0) * camera.lens.focal_px / 57.3
    open_sky = np.clip(clearance_deg * soft + 0.5, 0, 1)
    for _ in range(rng.poisson(0.2)):
        open_sky *= _wire(rng, camera)
    lit = _vignetting(camera, seen) * inside
    town = rng.uniform(0, 2 * np.pi)
    factor = max(1, round(camera.width / _COARSE_WIDTH))
    coarse, _ = camera.lens.unproject(*pixel_grid(camera.width, camera.height, factor))
    plane, fine = plane_of(coarse)
    leaves = np.flatnonzero(leafy & inside & (np.abs(clearance_deg) < 1.5))
    return Scenery(
        throughput=(lit * open_sky).astype(np.float32),
        foreground=_foreground(rng, camera, inside, 1 - open_sky),
        leaves=leaves,
        sway=smooth_noise(rng, camera.shape, 1.5).reshape(-1)[leaves] * np.float32(rng.uniform(0, 0.2)),
        directions=coarse,
        plane=plane,
        fine=fine,
        extinction=_extinction(coarse),
        glow=_glow(rng, camera, coarse, town),
        town_azimuth=town,
        grains=tuple(_grain(rng, camera) for _ in range(3)),
        hot=_hot_pixels(rng, camera),
        lamps=tuple(_lamps(rng, camera, town)),
    )


def pixel_grid(width: int, height: int, factor: int) -> tuple[Floats, Floats]:
    """Positions x and y of the pixel centres of a frame shrunk by ``factor``, each (h, w)."""
    columns, rows = -(-width // factor), -(-height // factor)
    x = (np.arange(columns) + 0.5) * width / columns - 0.5
    y = (np.arange(rows) + 0.5) * height / rows - 0.5
    return tuple(np.meshgrid(x.astype(np.float32), y.astype(np.float32)))  # type: ignore[return-value]


def _clearance(rng: np.random.Generator, camera: Camera, seen: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Height of each pixel above the obstacles in degrees, and where those are trees."""
    degrees = np.arange(720) / 2
    hills = rng.uniform(-1, 5) + 2.0 * _ring_noise(rng, 40) + 0.8 * _ring_noise(rng, 6)
    houses = rng.uniform(0, 2.5) * (_ring_noise(rng, 3) > 0.8)
    crowns = np.zeros(720)
    for _ in range(rng.poisson(6 * camera.trees)):
        apart = (degrees - rng.uniform(0, 360) + 180) % 360 - 180
        crowns = np.maximum(
            crowns,
            rng.uniform(4, 26) * np.exp(-0.5 * np.abs(apart / rng.uniform(5, 25)) ** rng.uniform(2, 4)),
        )
    azimuth_deg = np.degrees(np.arctan2(seen[..., 0], seen[..., 1])) % 360
    place = (azimuth_deg * 2).astype(np.int32) % 720
    crown = crowns.astype(np.float32)[place]
    scale = camera.width / 800
    rough = sum(0.7 * smooth_noise(rng, camera.shape, px * scale) for px in (0.9, 2.5, 8))
    leafy = crown > 3
    altitude_deg = np.degrees(np.arcsin(np.clip(seen[..., 2], -1, 1)))
    ground = (hills + houses).astype(np.float32)[place]
    clearance = altitude_deg - np.maximum(ground, crown) + leafy * rough * np.minimum(crown / 6, 2.5)
    return clearance.astype(np.float32), leafy


def _wire(rng: np.random.Generator, camera: Camera) -> Floats:
    """What a sagging cable leaves of the sky."""
    canvas = np.zeros(camera.shape, np.uint8)
    begin, end = (rng.uniform(-0.2, 1.2, 2) * (camera.width, camera.height) for _ in range(2))
    sag = rng.uniform(0, 0.06) * camera.height
    along = np.linspace(0, 1, 40)[:, None]
    points = begin + along * (end - begin) + np.array([0, 4 * sag]) * along * (1 - along)
    cv2.polylines(canvas, [(points * 16).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 4)
    return np.asarray(1 - canvas / 255 * rng.uniform(0.2, 0.8), np.float32)


def _ring_noise(rng: np.random.Generator, width: float) -> NDArray[np.float64]:
    """Smooth noise around the horizon, deviation 1, 720 values."""
    kernel = np.exp(-0.5 * (((np.arange(720) + 360) % 720 - 360) / width) ** 2)
    noise = np.fft.irfft(np.fft.rfft(rng.normal(size=720)) * np.fft.rfft(kernel), 720)
    return np.asarray(noise / noise.std())


def _vignetting(camera: Camera, seen: Floats) -> Floats:
    on_axis = np.clip(seen @ camera.lens.axes()[2], 0.05, 1)
    return np.asarray(on_axis ** (0.25 if camera.lens.kind == "equidistant" else 1.5), np.float32)


def _foreground(
    rng: np.random.Generator, camera: Camera, inside: NDArray[np.bool_], hidden: Floats
) -> Floats:
    shade = camera.sky * rng.uniform(0.03, 0.35)
    texture = 1 + 0.2 * (smooth_noise(rng, camera.shape, 1.5) + smooth_noise(rng, camera.shape, 12))
    light = np.where(inside, hidden * shade * np.maximum(texture, 0.2), 0)
    if camera.lens.edge_deg > 88:  # the dome's own reflections around the image circle
        rim = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        broad = cv2.GaussianBlur(rim.astype(np.float32), (0, 0), camera.width / 300)
        light = light + rng.uniform(0, 2.0) * camera.sky * broad
    return (light + camera.offset).astype(np.float32)


def _extinction(coarse: Floats) -> Floats:
    return np.asarray(10 ** (-0.4 * 0.25 * np.minimum(air_mass(coarse[..., 2]) - 1, 20)), np.float32)


def _glow(rng: np.random.Generator, camera: Camera, coarse: Floats, town: float) -> Floats:
    """The moonless sky in units of its zenith: airglow that rises to the horizon, and towns."""
    low = np.exp(-np.maximum(coarse[..., 2], 0) / 0.22)
    light = 1 + 0.35 * low
    for azimuth in (town, *rng.uniform(0, 2 * np.pi, 2)):
        towards = coarse @ np.array([np.sin(azimuth), np.cos(azimuth), 0], np.float32)
        light = light + camera.town_glow * rng.uniform(0.2, 1) * low * np.exp(2 * (towards - 1))
    return np.asarray(light, np.float32)


def _grain(rng: np.random.Generator, camera: Camera) -> Floats:
    shape = (camera.height + _MARGIN, camera.width + _MARGIN)
    # The maximum of many normal values follows Gumbel's law: skewed to the bright side.
    noise = rng.gumbel(size=shape) if camera.stacked else rng.standard_normal(shape, dtype=np.float32)
    noise = noise.astype(np.float32)
    if camera.grain_px:
        noise = cv2.GaussianBlur(noise, (0, 0), camera.grain_px)
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def _hot_pixels(rng: np.random.Generator, camera: Camera) -> tuple[NDArray[np.intp], Floats]:
    places = rng.integers(0, camera.width * camera.height, camera.hot_pixels)
    return places, np.minimum(4 * rng.pareto(0.9, camera.hot_pixels) + 3, 220).astype(np.float32)


def _lamps(rng: np.random.Generator, camera: Camera, town: float) -> list[Lamp]:
    azimuths = town + rng.normal(0, 0.6, camera.lamps)
    altitudes = np.radians(rng.uniform(-1, 5, camera.lamps))
    places = np.stack(
        [np.cos(altitudes) * np.sin(azimuths), np.cos(altitudes) * np.cos(azimuths), np.sin(altitudes)],
        axis=1,
    )
    x, y, imaged = camera.lens.project(places.astype(np.float32))
    within = imaged & (x > 0) & (x < camera.width - 1) & (y > 0) & (y < camera.height - 1)
    return [_lamp(rng, camera, x_px, y_px) for x_px, y_px in zip(x[within], y[within], strict=True)]


def _lamp(rng: np.random.Generator, camera: Camera, x_px: float, y_px: float) -> Lamp:
    size = camera.width / 800 * rng.uniform(0.6, 3.5)
    reach = int(9 * size) + 2
    row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    radius = np.hypot(row, column) / size
    spikes = (
        1 + rng.uniform(0, 2) * np.cos(rng.integers(2, 5) * np.arctan2(row, column) + rng.uniform(0, 6)) ** 8
    )
    peak = rng.uniform(40, 600)
    glow = peak * (np.exp(-0.5 * radius**2) + 0.06 * spikes * np.exp(-radius / 2.2))
    left, top = round(float(x_px)) - reach, round(float(y_px)) - reach
    kind = str(rng.choice(["steady", "twinkling", "twinkling", "switched"]))
    return Lamp(left, top, glow.astype(np.float32), kind)
