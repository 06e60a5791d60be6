"""Motion: where a trail was when, and how fast it went, from the time map of its frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from nightsift.archive.formats import Levels
from nightsift.archive.timemaps import TrailPosition, trail_positions

LEAST_POSITIONS: Final = 3

Point = tuple[float, float]


@dataclass(frozen=True)
class MovingPoint:
    """Where a trail was brightest during one short exposure.

    ``offset_s`` is the begin of the short exposure after that of the frame; pixel centres are at integers.
    """

    offset_s: float
    x_px: float
    y_px: float


@dataclass(frozen=True)
class Motion:
    """Positions of one object in order of time.

    Attributes
    ----------
    start_utc
        Begin of the frame.
    points
        By rising time, one per short exposure.
    speed_px_s, speed_error_px_s
        Slope of the distance along the path against time by least squares, and its standard error: that of a
        steady motion, so a meteor that slows down has a larger one.
    """

    start_utc: datetime
    points: tuple[MovingPoint, ...]
    speed_px_s: float
    speed_error_px_s: float

    @property
    def times_utc(self) -> tuple[datetime, ...]:
        """Begin of the short exposure of each point."""
        return tuple(self.start_utc + timedelta(seconds=point.offset_s) for point in self.points)

    @property
    def begin_px(self) -> Point:
        """(x, y) of the first point."""
        return self.points[0].x_px, self.points[0].y_px

    @property
    def end_px(self) -> Point:
        """(x, y) of the last point."""
        return self.points[-1].x_px, self.points[-1].y_px

    @classmethod
    def of_trail(
        cls,
        maximum: Levels,
        timemap: Levels,
        rate_hz: float,
        start_utc: datetime,
        begin_px: Point,
        end_px: Point,
    ) -> Motion | None:
        """Follow a known trail through the short exposures behind a frame.

        Parameters
        ----------
        maximum, timemap
            (y, x) levels, and the short exposure at which each pixel reached its level.
        rate_hz
            Short exposures a second.
        start_utc
            Begin of the frame, timezone-aware.
        begin_px, end_px
            (x, y) of the ends of the trail in either order, good to a few pixels.

        Returns
        -------
        Motion or None
            None where fewer than three short exposures show the trail, or all show it at one place.

        Notes
        -----
        The read-out of a rolling shutter, which takes up to one short exposure from the first row to the
        last, is not corrected.
        """
        found = trail_positions(maximum, timemap, begin_px, end_px)
        if len(found) < LEAST_POSITIONS or not rate_hz > 0:
            return None
        fitted = _speed(found, rate_hz)
        if fitted is None:
            return None
        points = tuple(MovingPoint(item.index / rate_hz, item.x_px, item.y_px) for item in found)
        return cls(start_utc, points, *fitted)


def _speed(found: tuple[TrailPosition, ...], rate_hz: float) -> tuple[float, float] | None:
    """Speed along the principal axis and its standard error; None where nothing moves."""
    seconds = np.array([item.index for item in found]) / rate_hz
    place = np.array([(item.x_px, item.y_px) for item in found])
    centred = place - place.mean(0)
    # The principal axis in closed form: a solver's last bits would depend on the number of threads.
    x, y = centred.T
    xx, yy, xy = float((x * x).sum()), float((y * y).sum()), float((x * y).sum())
    axis = 0.5 * math.atan2(2 * xy, xx - yy)
    along = centred @ np.array([math.cos(axis), math.sin(axis)])
    after = seconds - seconds.mean()
    spread = float((after**2).sum())
    slope = float((after * along).sum()) / spread
    if slope == 0:
        return None
    rest = float(((along - slope * after) ** 2).sum())
    return abs(slope), math.sqrt(rest / (len(found) - 2) / spread)
