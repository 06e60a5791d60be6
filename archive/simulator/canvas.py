"""A frame in the making, on which flyers are drawn and what can be seen of them is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.simulator.brush import add_points, point_spread
from nightsift.archive.simulator.cameras import Camera, Floats
from nightsift.archive.simulator.objects import Flyer, TrueObject

_POINTS_PER_PIXEL = 2
_VISIBLE = 1.0  # gray levels


class _Points(NamedTuple):
    """Points of an object's image: when, where, by how much they rise and the light that they bring."""

    seconds: Floats
    x_px: Floats
    y_px: Floats
    rise: Floats
    light: Floats


@dataclass(frozen=True)
class Canvas:
    """A frame in gray levels without noise, changed in place.

    ``throughput`` (height, width) is what obstacles and lens leave of the sky's light, ``transmission``
    (coarse) what air and clouds leave, ``gain`` what the exposure does.
    """

    image: Floats
    throughput: Floats
    transmission: Floats
    gain: float
    camera: Camera

    def clarity(self, x_px: Floats, y_px: Floats) -> Floats:
        """Part of an object's light that is recorded at positions inside the frame."""
        (height, width), (rows, columns) = self.image.shape, self.transmission.shape
        x, y = np.rint(x_px).astype(int), np.rint(y_px).astype(int)
        air = self.transmission[y * rows // height, x * columns // width]
        return np.asarray(self.throughput[y, x] * air * np.float32(self.gain))

    def inside(self, x_px: Floats, y_px: Floats) -> NDArray[np.bool_]:
        """Which positions lie between the first and the last pixel centres."""
        height, width = self.image.shape
        return np.asarray((x_px >= 0) & (x_px <= width - 1) & (y_px >= 0) & (y_px <= height - 1))

    def noise_at(self, level: float) -> float:
        """Noise of a pixel at a gray level."""
        camera = self.camera
        return camera.noise * float(np.sqrt(1 - camera.shot_share + camera.shot_share * level / camera.sky))

    def add(self, flyer: Flyer, begin_s: float, end_s: float) -> TrueObject | None:
        """Draw what a flyer leaves between two instants; None if nothing of it can be seen."""
        begin_s, end_s = max(begin_s, flyer.begin_s), min(end_s, flyer.end_s)
        if begin_s >= end_s:
            return None
        trail, flashes = self._trail(flyer, begin_s, end_s), self._flashes(flyer, begin_s, end_s)
        points = _Points(*(np.concatenate(pair) for pair in zip(trail, flashes, strict=True)))
        seen = points.rise >= _VISIBLE
        if not seen.any():
            return None
        peak, snr = self._deposit(points)
        if peak < _VISIBLE:
            return None
        x, y, seconds = points.x_px[seen], points.y_px[seen], points.seconds[seen]
        first, last = int(seconds.argmin()), int(seconds.argmax())
        x0, y0, x1, y1 = (float(value) for value in (x[first], y[first], x[last], y[last]))
        return TrueObject(
            flyer.kind, flyer.object_id, x0, y0, x1, y1, float(np.hypot(x1 - x0, y1 - y0)), peak, snr
        )

    def _trail(self, flyer: Flyer, begin_s: float, end_s: float) -> _Points:
        x, y, _ = self._place(flyer, np.linspace(begin_s, end_s, 24))
        length = float(np.nansum(np.hypot(np.diff(x), np.diff(y))))
        seconds = np.linspace(begin_s, end_s, int(np.clip(length * _POINTS_PER_PIXEL, 6, 8000)))
        x, y, nearness = self._place(flyer, seconds)
        age = (seconds - flyer.begin_s) / (flyer.end_s - flyer.begin_s)
        rise = nearness * flyer.peak * flyer.curve.at(age)
        spacing = np.minimum(np.hypot(np.gradient(x), np.gradient(y)), 1.0)
        return self._points(seconds, x, y, rise, np.sqrt(2 * np.pi) * self.camera.psf_px * spacing)

    def _flashes(self, flyer: Flyer, begin_s: float, end_s: float) -> _Points:
        if not flyer.flash_s:
            return _Points(*(np.zeros(0, np.float32) for _ in _Points._fields))
        first = np.ceil((begin_s - flyer.begin_s) / flyer.flash_s)
        seconds = flyer.begin_s + flyer.flash_s * np.arange(first, (end_s - flyer.begin_s) / flyer.flash_s)
        x, y, nearness = self._place(flyer, seconds)
        area = np.full(len(x), 2 * np.pi * self.camera.psf_px**2)
        return self._points(seconds, x, y, nearness * flyer.flash_peak, area)

    def _place(self, flyer: Flyer, seconds: NDArray[np.float64]) -> tuple[Floats, Floats, Floats]:
        """Pixel positions (NaN where not imaged) and how much of the light is left by distance."""
        towards, distance = flyer.directions(seconds)
        x, y, imaged = self.camera.lens.project(towards)
        imaged &= towards[:, 2] > 0
        nearness = np.minimum(flyer.nearest_km / distance, 1.0)
        return np.where(imaged, x, np.nan), np.where(imaged, y, np.nan), nearness

    def _points(
        self,
        seconds: NDArray[np.float64],
        x_px: Floats,
        y_px: Floats,
        rise: Floats,
        area: Floats,
    ) -> _Points:
        kept = self.inside(x_px, y_px) & np.isfinite(area)
        x, y, area = x_px[kept], y_px[kept], area[kept]
        clear = rise[kept] * self.clarity(x, y)
        return _Points(seconds[kept], x, y, clear, clear * area)

    def _deposit(self, points: _Points) -> tuple[float, float]:
        """Add the points to the image; the largest rise that they cause and its part of the noise."""
        spread = point_spread(round(self.camera.psf_px, 2), bool(points.rise.max() > 40))
        reach = spread.shape[2] // 2 + 1
        left, top = max(int(points.x_px.min()) - reach, 0), max(int(points.y_px.min()) - reach, 0)
        view = self.image[top : int(points.y_px.max()) + reach + 2, left : int(points.x_px.max()) + reach + 2]
        layer = np.zeros(view.shape, np.float32)
        add_points(layer, points.x_px - left, points.y_px - top, points.light, spread)
        background = np.minimum(view, 255)
        risen = np.minimum(view + layer, 255) - background
        at = np.unravel_index(int(risen.argmax()), risen.shape)
        view += layer
        return float(risen[at]), float(risen[at]) / self.noise_at(float(background[at]))
