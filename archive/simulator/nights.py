"""One night of one simulated camera: when its frames begin and what each of them shows."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from nightsift.archive.nights import night_bounds
from nightsift.archive.simulator.brush import add_patch, add_points, blob, point_spread
from nightsift.archive.simulator.cameras import Camera, Floats, SimulatedStation
from nightsift.archive.simulator.canvas import Canvas
from nightsift.archive.simulator.clutter import (
    draw_contrails,
    headlight,
    put_cosmic_rays,
    put_drops,
    put_insect,
    put_stroke,
)
from nightsift.archive.simulator.objects import (
    USUAL_RATES,
    Flyer,
    Rates,
    TrueObject,
    draw_aircraft,
    draw_meteors,
    draw_satellites,
)
from nightsift.archive.simulator.output import coloured, watermark
from nightsift.archive.simulator.scenery import Lamp, Scenery, scenery
from nightsift.archive.simulator.sky import Ephemeris, equatorial_to_local, moonlight, stars, twilight
from nightsift.archive.simulator.weather import Clouds, Weather

_DUSK_DEG = -6.0
_BRIGHTEST_SKY = 110.0
_SEEN = 0.3  # of the light that reaches a pixel: less, and something stands before the sky
# Typical time in view, which turns numbers per frame into numbers of passes.
_SATELLITE_S = 180.0
_AIRCRAFT_S = 120.0


class SimulatedNight:
    """A night, each of whose frames depends on its number and these parameters alone.

    Parameters
    ----------
    simulated
        The camera, from `draw_station`.
    night
        Date of the evening.
    frames
        How many frames. If they reach from dusk to dawn they are contiguous, else they come in three
        stretches: from dusk, around 01:00 UTC (when European clocks change) and until dawn.
    seed
        Of the network.
    rates
        How often things happen.

    Attributes
    ----------
    starts_utc
        Begin of each exposure, whole seconds.
    """

    def __init__(
        self, simulated: SimulatedStation, night: date, frames: int, seed: int, rates: Rates = USUAL_RATES
    ) -> None:
        self.station, self.camera, self.night = simulated.station, simulated.camera, night
        self._key = (seed, simulated.camera.scene, night.toordinal())
        begin, end = night_bounds(night, self.station.zone)
        self._ephemeris = Ephemeris.over(self.station, begin, end)
        self._seconds = (end - begin).total_seconds()
        self.starts_utc = _starts(self._ephemeris, night, frames, self.station.cadence_s)
        rng = self._rng(0, 0)
        self._weather = Weather.draw(rng, self._seconds, self.camera.lens.focal_px * 360 / self.camera.width)
        self._contrails = draw_contrails(rng, self.camera, self._weather, self._seconds)
        self._insects = float(rng.choice([0.0, 0.01, 0.05]))
        self._rain = bool(np.median(self._weather.cover) > -0.5 and rng.random() < 0.25)
        self._pumping = self.camera.pumping * rng.uniform(0.3, 1.5)
        self._rates = rates

    def render(self, index: int) -> tuple[NDArray[np.uint8], list[TrueObject]]:
        """Frame ``index`` before JPEG, uint8 (H, W) or (H, W, 3) BGR, and what can be seen in it."""
        rng = self._rng(1, index)
        maps, camera, start = scenery(self.camera), self.camera, self.starts_utc[index]
        begin_s = self._ephemeris.seconds(start)
        light, transmission = self._sky(rng, maps, start, begin_s)
        gain = self._gain(rng, light)
        image = _expose(rng, light * np.float32(gain), maps, camera)
        canvas = Canvas(image, maps.throughput, transmission, gain, camera)
        self._put_stars(rng, canvas, start)
        for contrail in self._contrails:
            contrail.put(canvas, self._weather.wind, begin_s)
        for number, lamp in enumerate(maps.lamps):
            _put_lamp(rng, image, lamp, self._rng(2, 100 * (index // 40) + number))
        seen = self._put_flyers(canvas, begin_s)
        self._put_clutter(rng, canvas, index)
        image.reshape(-1)[maps.hot[0]] += maps.hot[1] * rng.normal(1, 0.12, len(maps.hot[0])).astype(
            np.float32
        )
        gray = _read_out(rng, image, maps, camera)
        pixels = coloured(rng, gray, maps, camera) if camera.colour else gray
        watermark(pixels, camera, self.station, start, gain)
        return pixels, seen

    def cloud(self, index: int) -> float:
        """What clouds take of the stars' light in frame ``index``, 0 to 1, mean over the sky that is seen."""
        maps, begin_s = scenery(self.camera), self._ephemeris.seconds(self.starts_utc[index])
        thickness = self._clouds.thickness(begin_s, self.station.exposure_s, self.camera.stacked)
        size = thickness.shape[::-1]
        seen = cv2.resize(maps.throughput, size, interpolation=cv2.INTER_AREA) > _SEEN
        return float(1 - np.exp(-self._weather.opacity * thickness[seen]).mean())

    def is_dropped(self, index: int) -> bool:
        """Whether the frame never reached the archive."""
        return bool(self._rng(3, index).random() < self._rates.dropped)

    def is_corrupt(self, index: int) -> bool:
        """Whether the frame's file is damaged."""
        return bool(self._rng(4, index).random() < self._rates.corrupt)

    def _rng(self, purpose: int, index: int) -> np.random.Generator:
        return np.random.default_rng([*self._key, purpose, index])

    def _sky(
        self, rng: np.random.Generator, maps: Scenery, start: datetime, begin_s: float
    ) -> tuple[Floats, Floats]:
        """Light of the sky with its clouds in gray levels at full exposure, and what they let through."""
        moon, sun = self._ephemeris.moon_at(start), self._ephemeris.sun_at(start)
        weather, camera = self._weather, self.camera
        dusk = twilight(maps.directions, sun)
        lunar = moonlight(maps.directions, moon, self._ephemeris.illumination, camera.moon_bloom_deg)
        cloud = self._clouds.thickness(begin_s, self.station.exposure_s, camera.stacked)
        through = np.exp(-weather.opacity * cloud - weather.haze / np.maximum(maps.directions[..., 2], 0.15))
        ambient = maps.glow * (0.6 + camera.town_glow) + np.minimum(lunar, 30) + dusk
        light = (maps.glow + dusk + lunar) * through
        light += (1 - np.exp(-weather.opacity * cloud)) * weather.brightness * ambient
        light = np.asarray(light * camera.sky, np.float32)
        if rng.random() < camera.headlights:
            light += headlight(rng, camera, maps)
        return light, (through * maps.extinction).astype(np.float32)

    def _gain(self, rng: np.random.Generator, light: Floats) -> float:
        """Exposure relative to the longest; it aims at a mean brightness and jitters a little."""
        jitter = float(np.exp(rng.normal(0, self._pumping)))
        if not self.camera.auto_exposure:
            return jitter
        step = 1 + 2 * self._pumping
        wanted = min(1.0, max(_BRIGHTEST_SKY, 1.3 * self.camera.sky) / float(light.mean()))
        return float(step ** np.round(np.log(wanted) / np.log(step))) * jitter

    def _put_stars(self, rng: np.random.Generator, canvas: Canvas, start: datetime) -> None:
        camera = self.camera
        vectors, magnitudes = stars()
        count = int(np.searchsorted(magnitudes, camera.limiting_magnitude + 0.25))
        at = [start, start + timedelta(seconds=self.station.exposure_s)]
        (x0, y0, imaged), (x1, y1, _) = (
            camera.lens.project(vectors[:count] @ equatorial_to_local(self.station, t).T.astype(np.float32))
            for t in at
        )
        kept = imaged & canvas.inside(x0, y0) & canvas.inside(x1, y1)
        x0, y0, x1, y1 = x0[kept], y0[kept], x1[kept], y1[kept]
        area = 2 * np.pi * camera.psf_px**2
        faintest = 2 * camera.noise * area
        light = faintest * 10 ** (0.4 * (camera.limiting_magnitude - magnitudes[:count][kept]))
        light = light * canvas.clarity(x0, y0) * rng.lognormal(0, 0.12, len(x0))
        trail = np.hypot(x1 - x0, y1 - y0)
        steps = int(np.clip(np.ceil(trail.max(initial=0) / camera.psf_px), 1, 12))
        if camera.stacked:
            light = light * np.maximum(1, trail / (2.5 * camera.psf_px))
        bright = light > 60 * area
        for chosen, halo in ((~bright, False), (bright, True)):
            spread = point_spread(round(camera.psf_px, 2), halo)
            for part in (np.arange(steps) + 0.5) / steps:
                x, y = x0 + part * (x1 - x0), y0 + part * (y1 - y0)
                add_points(canvas.image, x[chosen], y[chosen], (light[chosen] / steps), spread)

    def _put_flyers(self, canvas: Canvas, begin_s: float) -> list[TrueObject]:
        end_s = begin_s + self.station.exposure_s
        seen = []
        for flyer in self._flyers:
            if flyer.begin_s < end_s and flyer.end_s > begin_s:
                if flyer.kind == "meteor" and flyer.peak > 300:
                    _put_flash(canvas, flyer)
                seen.append(canvas.add(flyer, begin_s, end_s))
            elif flyer.afterglow and 0 <= begin_s - flyer.end_s < 40:
                _put_afterglow(canvas, flyer, begin_s - flyer.end_s)
        return [true for true in seen if true]

    @cached_property
    def _clouds(self) -> Clouds:
        maps = scenery(self.camera)
        return Clouds(self._weather, maps.plane, maps.fine)

    @cached_property
    def _flyers(self) -> tuple[Flyer, ...]:
        """Everything that passes in the night; meteors begin inside exposures."""
        rng, rates, station, maps = self._rng(5, 0), self._rates, self.station, scenery(self.camera)
        begins = np.array([self._ephemeris.seconds(start) for start in self.starts_utc])
        number = rng.poisson(rates.meteors * len(begins))
        meteors = rng.choice(begins, number) + rng.uniform(0, station.exposure_s, number)
        return (
            *draw_meteors(rng, self.camera, maps, [float(v) for v in meteors]),
            *draw_satellites(
                rng, self.camera, maps, self._passes(rng, begins, rates.satellites, _SATELLITE_S)
            ),
            *draw_aircraft(rng, self.camera, maps, self._passes(rng, begins, rates.aircraft, _AIRCRAFT_S)),
        )

    def _passes(
        self, rng: np.random.Generator, begins: NDArray[np.float64], rate: float, lasts_s: float
    ) -> list[float]:
        """Middles of passes of which each frame sees ``rate`` on average."""
        field = min(1.0, self.camera.width / self.camera.lens.focal_px / 2.4)  # of a whole sky
        lasts_s *= field
        share = self.station.cadence_s / (lasts_s + self.station.exposure_s)
        number = rng.poisson(rate * len(begins) * share)
        middles = rng.choice(begins, number) + rng.uniform(-0.5, 0.5, number) * lasts_s
        return [float(middle) for middle in middles]

    def _put_clutter(self, rng: np.random.Generator, canvas: Canvas, index: int) -> None:
        if rng.random() < self._insects:
            put_insect(rng, canvas)
        if self._rain:  # old drops stay for some frames, new ones come with each
            put_drops(self._rng(6, index // 8), canvas, 8)
            put_drops(rng, canvas, 1)
        put_cosmic_rays(rng, canvas)


def _starts(ephemeris: Ephemeris, night: date, frames: int, cadence_s: float) -> list[datetime]:
    dusk, dawn = (moment.replace(microsecond=0) for moment in ephemeris.dark_between(_DUSK_DEG))
    if frames * cadence_s >= (dawn - dusk).total_seconds():
        return _run(dusk, frames, cadence_s)
    third, rest = divmod(frames, 3)
    evening, middle = third + (rest > 0), third + (rest > 1)
    change = datetime.combine(night + timedelta(days=1), time(1), UTC)
    return [
        *_run(dusk, evening, cadence_s),
        *_run(change - timedelta(seconds=middle // 2 * cadence_s), middle, cadence_s),
        *_run(dawn - timedelta(seconds=third * cadence_s), third, cadence_s),
    ]


def _run(begin: datetime, frames: int, cadence_s: float) -> list[datetime]:
    return [begin + timedelta(seconds=number * cadence_s) for number in range(frames)]


def _expose(rng: np.random.Generator, light: Floats, maps: Scenery, camera: Camera) -> Floats:
    """Light on the coarse grid to levels of all pixels, behind lens and obstacles."""
    image = cv2.resize(light, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR)
    brightness = float(np.minimum(light, 255).mean()) / camera.sky
    swaying = image.reshape(-1)[maps.leaves]
    image *= maps.throughput
    image += maps.foreground * np.float32(0.5 + 0.5 * min(brightness, 3))
    wind = np.float32(rng.normal(0, 1))
    image.reshape(-1)[maps.leaves] += swaying * np.clip(maps.sway * wind, -0.4, 0.4)
    return np.asarray(image)


def _put_lamp(rng: np.random.Generator, image: Floats, lamp: Lamp, block: np.random.Generator) -> None:
    spread = {"steady": 0.01, "twinkling": 0.15, "switched": 0.03}[lamp.kind]
    lit = lamp.kind != "switched" or block.random() < 0.5
    if lit:
        add_patch(image, lamp.glow * np.float32(rng.lognormal(0, spread)), lamp.left, lamp.top)


def _put_flash(canvas: Canvas, fireball: Flyer) -> None:
    """A fireball lights the air around it."""
    middle = (fireball.begin_s + fireball.end_s) / 2
    x, y, imaged = canvas.camera.lens.project(fireball.directions(np.array([middle]))[0])
    if imaged[0]:
        halo = blob(canvas.camera.width * 0.14, 2) * np.float32(fireball.peak / 30 * canvas.gain)
        add_patch(canvas.image, halo, int(x[0]) - halo.shape[0] // 2, int(y[0]) - halo.shape[0] // 2)


def _put_afterglow(canvas: Canvas, meteor: Flyer, age_s: float) -> None:
    """A bright meteor's train in the next frame: weaker, wider, fading."""
    seconds = np.linspace(meteor.begin_s, meteor.end_s, 400)
    x, y, imaged = canvas.camera.lens.project(meteor.directions(seconds)[0])
    life = (seconds - meteor.begin_s) / (meteor.end_s - meteor.begin_s)
    level = meteor.afterglow * min(meteor.peak, 250) * np.exp(-age_s / 20)
    put_stroke(canvas, x, y, imaged, (level * meteor.curve.at(life)).astype(np.float32), 2.0)


def _read_out(rng: np.random.Generator, image: Floats, maps: Scenery, camera: Camera) -> NDArray[np.uint8]:
    """Noise and the converter's 8 bits."""
    deviation = np.maximum(image, 0)
    deviation *= np.float32(camera.noise**2 * camera.shot_share / camera.sky)
    deviation += np.float32(camera.noise**2 * (1 - camera.shot_share))
    np.sqrt(deviation, out=deviation)
    grain = maps.grains[rng.integers(len(maps.grains))]
    top, left = (
        rng.integers(0, grain.shape[0] - camera.height),
        rng.integers(0, grain.shape[1] - camera.width),
    )
    deviation *= grain[top : top + camera.height, left : left + camera.width]
    deviation += image
    return np.asarray(cv2.convertScaleAbs(np.maximum(deviation, 0, out=deviation)))
