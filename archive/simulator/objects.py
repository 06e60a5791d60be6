"""What crosses the sky: meteors, satellites and aircraft, on straight lines above a flat Earth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.simulator.cameras import Camera, Floats, direction
from nightsift.archive.simulator.scenery import Scenery

Kind = Literal["meteor", "satellite", "aircraft"]


@dataclass(frozen=True)
class Rates:
    """Mean numbers per frame of what passes in front of a camera and of what goes wrong in it."""

    meteors: float = 0.06
    satellites: float = 0.05
    aircraft: float = 0.02
    dropped: float = 0.01
    corrupt: float = 0.01


USUAL_RATES = Rates()


@dataclass(frozen=True)
class TrueObject:
    """What a frame shows of one object.

    Positions are of the part that rises a gray level or more above the background inside the frame, first
    in time first; pixel centres at integers, origin top left. ``peak`` is the largest rise in gray levels
    without noise and without the air that a fireball lights, ``snr`` the same in units of the noise of one
    pixel there.
    """

    kind: Kind
    object_id: str
    x_begin_px: float
    y_begin_px: float
    x_end_px: float
    y_end_px: float
    length_px: float
    peak: float
    snr: float


@dataclass(frozen=True)
class LightCurve:
    """Brightness along a life from 0 to 1: rise and fall as powers, and flares (place, width, height)."""

    rise: float = 0.0
    fall: float = 0.0
    flares: tuple[tuple[float, float, float], ...] = ()

    def at(self, age: NDArray[np.float64]) -> NDArray[np.float64]:
        """Relative brightness, largest 1."""
        life = np.linspace(0.001, 0.999, 200)
        inside = np.clip(age, 1e-4, 1 - 1e-4)
        return np.asarray(self._raw(inside) / self._raw(life).max())

    def _raw(self, age: NDArray[np.float64]) -> NDArray[np.float64]:
        smooth = age**self.rise * (1 - age) ** self.fall
        return smooth + sum(
            height * np.exp(-0.5 * ((age - place) / width) ** 2) for place, width, height in self.flares
        )


@dataclass(frozen=True)
class Flyer:
    """An object on a straight line: kilometres east, north and up of the camera, seconds of the night.

    ``peak`` is the height of its trail in gray levels at its nearest, before air and clouds. Flashes last no
    time, come every ``flash_s`` (0: never) and rise ``flash_peak`` levels.
    """

    kind: Kind
    object_id: str
    origin_km: tuple[float, float, float]
    velocity_km_s: tuple[float, float, float]
    begin_s: float
    end_s: float
    peak: float
    curve: LightCurve = field(default_factory=LightCurve)
    flash_s: float = 0.0
    flash_peak: float = 0.0
    afterglow: float = 0.0

    @property
    def nearest_km(self) -> float:
        """Distance at which ``peak`` holds."""
        return float(np.linalg.norm(self.origin_km)) if self.kind == "meteor" else self.origin_km[2]

    def directions(self, seconds: NDArray[np.float64]) -> tuple[Floats, Floats]:
        """Unit vectors (n, 3) and distances in kilometres (n,)."""
        place = np.array(self.origin_km) + (seconds - self.begin_s)[:, None] * np.array(self.velocity_km_s)
        distance = np.linalg.norm(place, axis=1)
        return (place / distance[:, None]).astype(np.float32), distance.astype(np.float32)


def draw_meteors(rng: np.random.Generator, camera: Camera, maps: Scenery, begins: list[float]) -> list[Flyer]:
    """Meteors that begin at given seconds of the night, anywhere in the frame."""
    return [_draw_meteor(rng, camera, maps, begin, number) for number, begin in enumerate(begins)]


def _draw_meteor(
    rng: np.random.Generator, camera: Camera, maps: Scenery, begin_s: float, number: int
) -> Flyer:
    shortest = 7.0 + 0.004 * camera.width
    for _ in range(30):
        meteor = _try_meteor(rng, camera, maps, begin_s, f"meteor-{number:05d}")
        x, y, imaged = camera.lens.project(meteor.directions(np.array([meteor.begin_s, meteor.end_s]))[0])
        if imaged.all() and np.hypot(x[1] - x[0], y[1] - y[0]) > shortest:
            break
    return meteor


def _try_meteor(
    rng: np.random.Generator, camera: Camera, maps: Scenery, begin_s: float, object_id: str
) -> Flyer:
    seen = _line_of_sight(rng, camera, maps)
    distance = rng.uniform(85, 115) / max(seen[2], 0.12)
    radiant = direction(rng.uniform(0, 2 * np.pi), np.arcsin(rng.uniform(0.05, 1)))
    speed = rng.uniform(12, 72)
    lasts = float(np.clip(rng.lognormal(np.log(0.45), 0.6), 0.1, 2.5)) * (30 / speed) ** 0.5
    bright = _meteor_peak(rng, camera)
    flares = rng.poisson(0.25 if bright < 60 else 1.2)
    return Flyer(
        kind="meteor",
        object_id=object_id,
        origin_km=tuple(seen * distance),
        velocity_km_s=tuple(-radiant * speed),
        begin_s=begin_s,
        end_s=begin_s + lasts * min(1 + bright / 400, 2.0),
        peak=bright,
        curve=LightCurve(
            rise=rng.uniform(0.3, 2.5),
            fall=rng.uniform(0.2, 1.6),
            flares=tuple(
                (rng.uniform(0.4, 0.95), rng.uniform(0.01, 0.05), rng.uniform(0.3, 2.5))
                for _ in range(flares)
            ),
        ),
        afterglow=rng.uniform(0.02, 0.15) if bright > 50 and rng.random() < 0.5 else 0.0,
    )


def _line_of_sight(rng: np.random.Generator, camera: Camera, maps: Scenery) -> NDArray[np.float64]:
    """A direction to the open sky, all parts of the frame alike."""
    every = maps.throughput.size // 4096
    sky = np.flatnonzero(maps.throughput.reshape(-1)[::every] > 0.2)
    row, column = np.divmod(int(rng.choice(sky)) * every if len(sky) else 0, camera.width)
    seen, _ = camera.lens.unproject(np.array([column], np.float32), np.array([row], np.float32))
    return np.asarray(seen[0], np.float64)


def _meteor_peak(rng: np.random.Generator, camera: Camera) -> float:
    """Many faint, few bright: counts fall as the brightness to the power of -0.85."""
    faintest = 3.0 + 2.2 * camera.noise
    return float(min(faintest * rng.random() ** (-1 / 0.85), 1500))


def draw_satellites(
    rng: np.random.Generator, camera: Camera, maps: Scenery, middles: list[float]
) -> list[Flyer]:
    """Satellites, each somewhere in the frame at a given second; rarely a train of them."""
    passes: list[Flyer] = []
    for number, middle in enumerate(middles):
        first = _draw_satellite(rng, camera, maps, middle, f"satellite-{number:05d}")
        passes.append(first)
        if rng.random() < 0.01:
            delay = rng.uniform(1.5, 9)
            fading = rng.uniform(0.4, 0.9, rng.integers(6, 25))
            passes += [
                replace(
                    first,
                    object_id=f"{first.object_id}-{member:02d}",
                    begin_s=first.begin_s + delay * member,
                    end_s=first.end_s + delay * member,
                    peak=first.peak * float(dim),
                )
                for member, dim in enumerate(fading, start=1)
            ]
    return passes


def _draw_satellite(
    rng: np.random.Generator, camera: Camera, maps: Scenery, middle_s: float, object_id: str
) -> Flyer:
    height = 350 * 4 ** rng.random()
    speed = 7.9 * np.sqrt(6371 / (6371 + height)) * rng.uniform(0.9, 1.05)
    reach_s = height / speed * rng.uniform(1.2, 2.2)
    begin, end = -reach_s, reach_s
    if rng.random() < 0.35:  # into or out of the Earth's shadow
        edge = rng.uniform(-0.7, 0.7) * reach_s
        begin, end = (begin, edge) if rng.random() < 0.7 else (edge, end)
    middle, path = _pass(_line_of_sight(rng, camera, maps), height, rng.uniform(0, 2 * np.pi))
    tumbles = rng.random() < 0.15
    flares = rng.random() < 0.12
    undiluted = 1.8 if camera.stacked else 1.0  # a maximum keeps what passes, a mean does not
    return Flyer(
        kind="satellite",
        object_id=object_id,
        origin_km=tuple(middle + path * speed * begin),
        velocity_km_s=tuple(path * speed),
        begin_s=middle_s + begin,
        end_s=middle_s + end,
        peak=undiluted * min((3.0 + 1.6 * camera.noise) / rng.random(), 250.0),
        curve=LightCurve(
            rise=0.05,
            fall=0.05,
            flares=((rng.uniform(0.2, 0.8), rng.uniform(0.008, 0.03), rng.uniform(1, 6)),) if flares else (),
        ),
        flash_s=rng.uniform(1.5, 14) if tumbles else 0.0,
        flash_peak=camera.noise * rng.uniform(4, 30) if tumbles else 0.0,
    )


def draw_aircraft(
    rng: np.random.Generator, camera: Camera, maps: Scenery, middles: list[float]
) -> list[Flyer]:
    """Aircraft with steady lights and strobes, each somewhere in the frame at a given second."""
    return [_draw_plane(rng, camera, maps, middle, f"aircraft-{n:05d}") for n, middle in enumerate(middles)]


def _draw_plane(
    rng: np.random.Generator, camera: Camera, maps: Scenery, middle_s: float, object_id: str
) -> Flyer:
    height = rng.uniform(1.5, 12)
    speed = rng.uniform(0.16, 0.26) * min(1, 0.5 + height / 12)
    reach_s = min(height * rng.uniform(2, 5), 45) / speed
    middle, path = _pass(_line_of_sight(rng, camera, maps), height, rng.uniform(0, 2 * np.pi))
    peak = float(min((4 + 2 * camera.noise) * rng.random() ** (-1 / 0.8), 500))
    return Flyer(
        kind="aircraft",
        object_id=object_id,
        origin_km=tuple(middle - path * speed * reach_s),
        velocity_km_s=tuple(path * speed),
        begin_s=middle_s - reach_s,
        end_s=middle_s + reach_s,
        peak=peak * rng.uniform(0.1, 1),
        curve=LightCurve(rise=0.1, fall=0.1),
        flash_s=rng.uniform(0.45, 1.6),
        flash_peak=peak * rng.uniform(0.6, 3),
    )


def _pass(
    seen: NDArray[np.float64], height_km: float, heading: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a level path of a height crosses a line of sight, and its direction."""
    return seen * height_km / max(seen[2], 0.12), direction(heading, 0)
