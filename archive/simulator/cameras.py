"""Stations and cameras that do not exist, drawn from ranges in which real ones lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.stations import Station

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Lens:
    """Where a direction of the sky falls on the sensor.

    Directions are unit vectors (east, north, up). ``focal_px`` is pixels per radian on the axis, ``aspect``
    the height of a pixel's step over its width, ``edge_deg`` the largest angle from the axis that is imaged.
    """

    kind: Literal["equidistant", "rectilinear"]
    focal_px: float
    aspect: float
    centre_x_px: float
    centre_y_px: float
    azimuth_deg: float
    altitude_deg: float
    roll_deg: float
    mirrored: bool
    edge_deg: float

    def axes(self) -> Floats:
        """Rows: image right, image up and the optical axis, as (east, north, up); float32 (3, 3)."""
        azimuth, altitude, roll = np.radians([self.azimuth_deg, self.altitude_deg, self.roll_deg])
        forward = direction(azimuth, altitude)
        up = direction(azimuth, altitude + np.pi / 2)
        right = np.cross(forward, up)
        turned = np.cos(roll) * right + np.sin(roll) * up
        top = np.cos(roll) * up - np.sin(roll) * right
        return np.stack([-turned if self.mirrored else turned, top, forward]).astype(np.float32)

    def project(self, directions: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Pixel positions of directions (n, 3), and which of them the lens images at all."""
        right, up, forward = (directions @ self.axes().T).astype(np.float32).T
        off_axis = np.hypot(right, up)
        angle = np.arctan2(off_axis, forward)
        imaged = angle < np.radians(self.edge_deg)
        radius = np.tan(np.minimum(angle, 1.5)) if self.kind == "rectilinear" else angle
        step = self.focal_px * radius / np.maximum(off_axis, 1e-9)
        return self.centre_x_px + step * right, self.centre_y_px - self.aspect * step * up, imaged

    def unproject(self, x_px: Floats, y_px: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Directions (..., 3) of pixel positions, and which of them lie inside the image circle."""
        right = (x_px - self.centre_x_px) / self.focal_px
        up = (self.centre_y_px - y_px) / (self.focal_px * self.aspect)
        radius = np.hypot(right, up)
        angle = np.arctan(radius) if self.kind == "rectilinear" else radius
        scale = np.sin(angle) / np.maximum(radius, 1e-9)
        seen = np.stack([scale * right, scale * up, np.cos(angle)], axis=-1).astype(np.float32)
        return seen @ self.axes(), angle < np.radians(self.edge_deg)


def direction(azimuth: float, altitude: float) -> NDArray[np.float64]:
    """Unit vector (east, north, up) of an azimuth (north 0, east positive) and altitude in radians."""
    flat = np.cos(altitude)
    return np.array([flat * np.sin(azimuth), flat * np.cos(azimuth), np.sin(altitude)])


@dataclass(frozen=True)
class Camera:
    """What a camera makes of the light. Brightness and noise are in gray levels.

    ``sky`` is the moonless sky and ``noise`` the noise of one pixel on it, of which ``shot_share`` (of the
    variance) grows with the light; ``limiting_magnitude`` is that of a star that peaks at twice the noise.
    ``stacked``: a frame is the maximum of many short exposures, else one long exposure. ``pumping`` is the
    relative change of the gain from frame to frame, ``grain_px`` the width of the grain of the noise.
    """

    width: int
    height: int
    lens: Lens
    colour: bool
    stacked: bool
    sky: float
    offset: float
    noise: float
    shot_share: float
    grain_px: float
    psf_px: float
    limiting_magnitude: float
    auto_exposure: bool
    pumping: float
    moon_bloom_deg: float
    town_glow: float
    trees: float
    lamps: int
    headlights: float
    hot_pixels: int
    watermark_lines: int
    jpeg_quality: int
    scene: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self.height, self.width


@dataclass(frozen=True)
class SimulatedStation:
    """A station as ``stations.toml`` describes it, and the camera that stands there."""

    station: Station
    camera: Camera


class _Place(NamedTuple):
    latitude_deg: float
    longitude_deg: float
    height_msl_m: float
    timezone: str


# All of them change their clocks at 01:00 UTC or never, and have astronomical night in late October.
_PLACES = (
    _Place(41.57, 2.26, 180.0, "Europe/Madrid"),
    _Place(37.06, -3.39, 2896.0, "Europe/Madrid"),
    _Place(51.9, -1.3, 80.0, "UTC"),
    _Place(54.35, -6.65, 60.0, "Europe/London"),
    _Place(48.71, 2.73, 95.0, "Europe/Paris"),
    _Place(28.3, -16.51, 2390.0, "Atlantic/Canary"),
    _Place(52.97, 9.23, 70.0, "Europe/Berlin"),
    _Place(46.95, 7.5, 560.0, "Europe/Zurich"),
    _Place(45.84, 18.1, 110.0, "Europe/Zagreb"),
    _Place(38.22, 21.74, 20.0, "Europe/Athens"),
    _Place(57.05, 9.92, 15.0, "Europe/Copenhagen"),
)
_ALL_SKY_SIZES = ((1304, 976), (1304, 976), (1280, 960), (960, 720), (800, 600), (640, 480), (1280, 720))
_WIDE_SIZES = ((1280, 720), (1280, 720), (960, 540), (720, 576), (640, 480), (640, 360), (320, 180))
_SMALL_SIZES = ((320, 240), (288, 216), (240, 180), (320, 180))
# None divides an hour, so that the names of an autumn night's repeated hour never meet.
_LONG_EXPOSURES_S = ((31, 30), (31, 30), (61, 60), (17, 15), (23, 20), (46, 45), (34, 30))
_STACKS_S = ((51, 51), (11, 11), (62, 60), (31, 31))


def draw_station(index: int, seed: int, *, small: bool = False) -> SimulatedStation:
    """A station of a simulated network: the same for the same ``index``, ``seed`` and ``small``.

    Parameters
    ----------
    index
        0 is always a pleasant all-sky camera of 960 x 720 pixels under Europe/Madrid time.
    seed
        Of the network.
    small
        Frames of at most 320 x 240 pixels.
    """
    rng = np.random.default_rng([seed, index, 1])
    pleasant = index == 0
    place = _PLACES[0 if pleasant else rng.integers(len(_PLACES))]
    all_sky = pleasant or bool(rng.random() < 0.6)
    stacked = not pleasant and bool(rng.random() < (0.15 if all_sky else 0.6))
    size = _draw_size(rng, all_sky, pleasant, small)
    cadence_s, exposure_s = _choice(rng, _STACKS_S if stacked else _LONG_EXPOSURES_S)
    if pleasant:
        cadence_s, exposure_s = 31, 30
    station = Station(
        id=f"SIM{index + 1:03d}",
        network="SIM",
        latitude_deg=place.latitude_deg,
        longitude_deg=place.longitude_deg,
        height_msl_m=place.height_msl_m,
        timezone=place.timezone,
        layout="allsky",
        cadence_s=cadence_s,
        exposure_s=exposure_s,
    )
    lens = _draw_all_sky(rng, size, pleasant) if all_sky else _draw_wide(rng, size)
    return SimulatedStation(station, _draw_camera(rng, size, lens, stacked, pleasant))


def _choice(rng: np.random.Generator, items: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    return items[rng.integers(len(items))]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_size(rng: np.random.Generator, all_sky: bool, pleasant: bool, small: bool) -> tuple[int, int]:
    if small:
        return _SMALL_SIZES[0] if pleasant else _choice(rng, _SMALL_SIZES)
    return (960, 720) if pleasant else _choice(rng, _ALL_SKY_SIZES if all_sky else _WIDE_SIZES)


def _draw_all_sky(rng: np.random.Generator, size: tuple[int, int], pleasant: bool) -> Lens:
    width, height = size
    radius_px = height * (0.52 if pleasant else rng.uniform(0.44, 0.64))
    return Lens(
        kind="equidistant",
        focal_px=radius_px / (np.pi / 2),
        aspect=1.0 if pleasant else float(rng.choice([1.0, 1.0, rng.uniform(0.94, 1.06)])),
        centre_x_px=width * (0.5 + 0.03 * rng.uniform(-1, 1)),
        centre_y_px=height * (0.5 + 0.03 * rng.uniform(-1, 1)),
        azimuth_deg=rng.uniform(0, 360),
        altitude_deg=90 - abs(rng.normal(0, 2.0)),
        roll_deg=rng.uniform(0, 360),
        mirrored=bool(rng.random() < 0.5),
        edge_deg=rng.uniform(89, 97),
    )


def _draw_wide(rng: np.random.Generator, size: tuple[int, int]) -> Lens:
    width, height = size
    field_deg = rng.uniform(40, 120)
    rectilinear = bool(rng.random() < 0.75)
    half = np.radians(field_deg / 2)
    return Lens(
        kind="rectilinear" if rectilinear else "equidistant",
        focal_px=width / 2 / (np.tan(half) if rectilinear else half),
        aspect=1.0,
        centre_x_px=width / 2,
        centre_y_px=height / 2,
        azimuth_deg=rng.uniform(0, 360),
        altitude_deg=rng.uniform(28, 62),
        roll_deg=rng.normal(0, 6),
        mirrored=False,
        edge_deg=85.0,
    )


def _draw_camera(
    rng: np.random.Generator, size: tuple[int, int], lens: Lens, stacked: bool, pleasant: bool
) -> Camera:
    width, height = size
    fine = lens.focal_px / 600  # faint stars need many pixels a degree
    return Camera(
        width=width,
        height=height,
        lens=lens,
        colour=pleasant or (not stacked and bool(rng.random() < 0.6)),
        stacked=stacked,
        sky=42.0 if pleasant else _log_uniform(rng, 12, 85),
        offset=rng.uniform(0, 10),
        noise=1.4 if pleasant else _log_uniform(rng, 0.6, 3.0),
        shot_share=rng.uniform(0.3, 0.95),
        grain_px=float(rng.choice([0.0, rng.uniform(0.3, 0.8)])),
        psf_px=0.75 if pleasant else rng.uniform(0.55, 1.1) * np.clip(width / 800, 0.8, 1.4),
        limiting_magnitude=rng.uniform(6.4 if pleasant else 5.4, 7.1)
        + float(np.clip(1.5 * np.log10(0.5 + fine), -0.4, 1.3)),
        auto_exposure=pleasant or bool(rng.random() < (0.25 if stacked else 0.7)),
        pumping=_log_uniform(rng, 0.0003, 0.01),
        moon_bloom_deg=_log_uniform(rng, 1.0, 4.5),
        town_glow=_log_uniform(rng, 0.15, 3.0),
        trees=rng.uniform(0, 1),
        lamps=int(rng.choice([0, 3, 8, 20])),
        headlights=float(rng.choice([0.0, rng.uniform(0.01, 0.12)])),
        hot_pixels=int(_log_uniform(rng, 2, 0.0003 * width * height)),
        watermark_lines=2 if pleasant else int(rng.choice([0, 1, 1, 2, 3, 4])),
        jpeg_quality=int(rng.integers(85, 96)),
        scene=int(rng.integers(2**31)),
    )
