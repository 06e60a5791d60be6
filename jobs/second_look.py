"""The second look at what the first model scored: kinds and motions, which need the frames themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
from nightsift.models.vetting.stamps import Place, StampRecipe

# Frames are vetted from this score of the first model on, whatever the threshold, so that a release can
# lower it; below it, reading five frames for each would cost more than it tells.
VET_FLOOR = 0.05

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = dict[str, Any]
Rows = list[Row]
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
        chosen = [
            (i, place)
            for i, row in enumerate(rows)
            for place in (row, *row.get("more", ()))
            if _score(place) >= VET_FLOOR and place.get("x_px") is not None
        ]
        stamps = self.stamps(self.package.recipe if self.package else None, chosen, series)
        return self._add_kinds([place for _, place in chosen], stamps)

    def stamps(
        self, recipe: StampRecipe | None, chosen: Sequence[tuple[int, Row]], series: Series
    ) -> dict[int, Any]:
        """Stamps of chosen places by their number in ``chosen``; those of frames with a time map get a speed.

        Without a ``recipe`` there are no stamps, and only frames with a time map are read.
        """
        from nightsift.models.vetting.vet import Candidate, Cutter

        candidates = [Candidate(i, _place(row)) for i, row in chosen] if recipe else []
        cutter = Cutter(recipe or StampRecipe(), candidates, series["time"] / 1000, series["exposure_s"])
        timed = np.zeros(len(series["time"]), bool)
        timed[[i for i, row in chosen if _is_known(row.get("length_px"))]] = True
        keys = [str(key) for key in series["key"]]
        place = self.archive, self.workspace, self.station, self.unit
        for frame in replay_night(*place, keys, cutter.wanted(), timed) if chosen else ():
            cutter.add(frame.index, frame.levels)
            if timed[frame.index] and frame.timemap is not None:
                start = _EPOCH + timedelta(milliseconds=int(series["time"][frame.index]))
                for row in (row for i, row in chosen if i == frame.index and _is_known(row.get("length_px"))):
                    row.update(_motion(row, frame, start))
        return cutter.finish()

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


def _score(row: Row) -> float:
    return float(row.get("score_meteor") or row.get("score") or 0.0)


@lru_cache(maxsize=2)
def _vetter(package: VettingPackage) -> Any:
    # torch takes seconds to import: only workers that vet pay for it.
    from nightsift.models.vetting.vet import Vetter

    return Vetter(package)


def _place(row: Mapping[str, Any]) -> Place:
    if not _is_known(row.get("length_px")):
        return Place(row["x_px"], row["y_px"])
    return Place.of_trail(*_ends(row))


def _is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _ends(row: Mapping[str, Any]) -> tuple[tuple[float, float], tuple[float, float]]:
    return (row["x_begin_px"], row["y_begin_px"]), (row["x_end_px"], row["y_end_px"])


def _motion(row: Mapping[str, Any], frame: SeenFrame, start_utc: datetime) -> dict[str, float]:
    """Speed, and the ends in order of time; empty where the time map shows no motion."""
    from nightsift.models.motion import Motion

    begin, end = _ends(row)
    assert frame.timemap is not None
    motion = Motion.of_trail(frame.levels, frame.timemap, frame.rate_hz or 0.0, start_utc, begin, end)
    if motion is None:
        return {}
    moved = np.subtract(motion.end_px, motion.begin_px)
    if float(moved @ np.subtract(end, begin)) < 0:
        begin, end = end, begin
    ends = dict(zip(("x_begin_px", "y_begin_px", "x_end_px", "y_end_px"), (*begin, *end), strict=True))
    return {**ends, "speed_px_s": motion.speed_px_s}
