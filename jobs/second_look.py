"""The second look at what the first model scored: kinds and motions, which need the frames themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.nights import StationNight
from nightsift.archive.replay import SeenFrame, replay_night
from nightsift.archive.stations import Station
from nightsift.archive.stores import Archive, Workspace
from nightsift.models.vetting.package import VettingPackage
from nightsift.models.vetting.stamps import Place

# Frames are vetted from this score of the first model on, whatever the threshold, so that a release can
# lower it; below it, reading five frames for each would cost more than it tells.
VET_FLOOR = 0.05

Rows = list[dict[str, Any]]
Series = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class SecondLook:
    """Where a night's frames are, and what vets them; no package: motions alone."""

    archive: Archive
    workspace: Workspace
    station: Station
    unit: StationNight
    package: VettingPackage | None

    def complete(self, rows: Rows, series: Series) -> int:
        """Give rows their ``kind`` and ``speed_px_s`` in place; how many were vetted.

        Parameters
        ----------
        rows
            One per frame of the night, with ``score_meteor``, ``x_px``, ``y_px`` and the trail's ends.
        series
            ``time``, ``exposure_s`` and ``key`` of the same frames.

        Notes
        -----
        A frame that the archive does not give any more leaves its row without a kind: null is not known.
        """
        chosen = [i for i, row in enumerate(rows) if (row.get("score_meteor") or 0.0) >= VET_FLOOR]
        chosen = [i for i in chosen if rows[i].get("x_px") is not None]
        cutter = self._cutter(rows, series, chosen)
        timed = np.zeros(len(rows), bool)
        timed[[i for i in chosen if rows[i].get("length_px") is not None]] = True
        wanted = cutter.wanted() if self.package else np.zeros(len(rows), bool)
        keys = [str(key) for key in series["key"]]
        place = self.archive, self.workspace, self.station, self.unit
        for frame in replay_night(*place, keys, wanted, timed) if chosen else ():
            if self.package:
                cutter.add(frame.index, frame.levels)
            if timed[frame.index] and frame.timemap is not None:
                rows[frame.index].update(_motion(rows[frame.index], frame))
        return self._add_kinds(rows, cutter.finish())

    def _cutter(self, rows: Rows, series: Series, chosen: list[int]) -> Any:
        from nightsift.models.vetting.stamps import StampRecipe
        from nightsift.models.vetting.vet import Candidate, Cutter

        recipe = self.package.recipe if self.package else StampRecipe()
        candidates = [Candidate(i, _place(rows[i])) for i in chosen] if self.package else []
        return Cutter(recipe, candidates, series["time"] / 1000, series["exposure_s"])

    def _add_kinds(self, rows: Rows, stamps: Mapping[int, Any]) -> int:
        if self.package is None or not stamps:
            return 0
        scores = _vetter(self.package).scores(list(stamps.values()))
        for i, score in zip(stamps, scores, strict=True):
            best = int(score.argmax())
            named = zip(self.package.classes, score.tolist(), strict=True)
            rows[i].update({f"kind_score_{name}": value for name, value in named})
            rows[i].update(kind=self.package.classes[best], kind_score=float(score[best]))
        return len(stamps)


@lru_cache(maxsize=2)
def _vetter(package: VettingPackage) -> Any:
    # torch takes seconds to import: only workers that vet pay for it.
    from nightsift.models.vetting.vet import Vetter

    return Vetter(package)


def _place(row: Mapping[str, Any]) -> Place:
    if row.get("length_px") is None:
        return Place(row["x_px"], row["y_px"])
    return Place.of_trail(*_ends(row))


def _ends(row: Mapping[str, Any]) -> tuple[tuple[float, float], tuple[float, float]]:
    return (row["x_begin_px"], row["y_begin_px"]), (row["x_end_px"], row["y_end_px"])


def _motion(row: Mapping[str, Any], frame: SeenFrame) -> dict[str, float]:
    """Speed, and the ends in order of time; empty where the time map shows no motion."""
    from nightsift.models.motion import Motion

    begin, end = _ends(row)
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=row["start_utc"])
    assert frame.timemap is not None
    motion = Motion.of_trail(frame.levels, frame.timemap, frame.rate_hz or 0.0, start, begin, end)
    if motion is None:
        return {}
    moved = np.subtract(motion.end_px, motion.begin_px)
    if float(moved @ np.subtract(end, begin)) < 0:
        begin, end = end, begin
    ends = dict(zip(("x_begin_px", "y_begin_px", "x_end_px", "y_end_px"), (*begin, *end), strict=True))
    return {**ends, "speed_px_s": motion.speed_px_s}
