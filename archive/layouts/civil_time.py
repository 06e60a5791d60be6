"""From a camera's civil times to UTC, through both changes of the clocks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from nightsift.archive.stations import Station

_TIE = 1e-6  # what decides for the second pass where the rhythm does not


def is_skipped(civil: datetime, zone: ZoneInfo) -> bool:
    """Whether the clocks jump over this civil time in spring.

    >>> is_skipped(datetime(2021, 3, 28, 2, 30), ZoneInfo("Europe/Madrid"))
    True
    """
    return _utc(civil, zone, 0).astimezone(zone).replace(tzinfo=None) != civil


def is_repeated(civil: datetime, zone: ZoneInfo) -> bool:
    """Whether the clocks show this civil time twice in autumn.

    >>> is_repeated(datetime(2021, 10, 31, 2, 30), ZoneInfo("Europe/Madrid"))
    True
    """
    return not is_skipped(civil, zone) and _utc(civil, zone, 0) != _utc(civil, zone, 1)


def steady_offset(first: datetime, last: datetime, zone: ZoneInfo) -> timedelta | None:
    """The offset from UTC of every civil time from ``first`` to ``last``; None if the clocks change there.

    Both without zone and less than a few days apart: no zone changes its clocks twice in so short a time.

    >>> night = datetime(2021, 3, 27, 19), datetime(2021, 3, 28, 7)
    >>> steady_offset(*night, ZoneInfo("UTC")), steady_offset(*night, ZoneInfo("Europe/Madrid"))
    (datetime.timedelta(0), None)
    """
    margin = timedelta(hours=4)  # more than any change of the clocks
    before, after = ((first - margin).replace(tzinfo=zone), (last + margin).replace(tzinfo=zone))
    return before.utcoffset() if before.utcoffset() == after.utcoffset() else None


def starts_utc(civil_times: Sequence[datetime], station: Station) -> list[datetime]:
    """UTC of a station's exposures, from names in civil time.

    In the hour that repeats in autumn two series of names are interleaved. They are told apart by the
    cadence: the assignment is chosen in which the two passes break the rhythm of exposures least. Where the
    names fit either pass (a cadence that divides the hour: a camera then writes the second pass over the
    first) the second is taken.

    Parameters
    ----------
    civil_times
        Sorted, without zone, in the station's civil time.
    station
        Gives the zone and the cadence.

    Returns
    -------
    list of datetime
        Timezone-aware, in the order of ``civil_times``.
    """
    zone = station.zone
    starts: list[datetime] = []
    groups = [
        (repeated, list(times))
        for repeated, times in groupby(civil_times, lambda civil: is_repeated(civil, zone))
    ]
    for number, (repeated, times) in enumerate(groups):
        if not repeated:
            starts.extend(_utc(civil, zone, 0) for civil in times)
            continue
        before = starts[-1] if starts else None
        after = _utc(groups[number + 1][1][0], zone, 0) if number + 1 < len(groups) else None
        folds = _folds(times, before, after, zone, station.cadence_s)
        starts.extend(_utc(civil, zone, fold) for civil, fold in zip(times, folds, strict=True))
    return starts


def _utc(civil: datetime, zone: ZoneInfo, fold: int) -> datetime:
    return civil.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _broken(earlier: datetime | None, later: datetime | None, cadence_s: float) -> float:
    """How much two neighbours break the rhythm: 0 for a cadence apart, 1 at most."""
    if earlier is None or later is None:
        return 0.0
    ratio = (later - earlier).total_seconds() / cadence_s
    steps = max(1, round(ratio))
    # A frame left out keeps the rhythm: it costs less than a frame out of step.
    return min(1.0, 2 * abs(ratio - steps) + (steps - 1) / 8)


def _missing(earlier: datetime, later: datetime, cadence_s: float) -> float:
    """0 where nothing is missing between two instants, 1 where it is."""
    return min(1.0, max(0.0, (later - earlier).total_seconds() / cadence_s - 1))


def _folds(
    times: list[datetime], before: datetime | None, after: datetime | None, zone: ZoneInfo, cadence_s: float
) -> list[int]:
    """The pass, 0 or 1, of each repeated civil time.

    Dynamic programming over the last frame of either pass (-1: none yet): the sum of broken rhythm is least.
    """
    starts = [[_utc(civil, zone, fold) for civil in times] for fold in (0, 1)]
    # The first pass ends, and the second begins, where the clocks go back.
    seam = starts[1][0].replace(minute=0, second=0)
    best: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {(-1, -1): (0.0, ())}
    for i in range(len(times)):
        following: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}
        for (last0, last1), (total, folds) in best.items():
            previous0 = starts[0][last0] if last0 >= 0 else before
            cost0 = _broken(previous0, starts[0][i], cadence_s) + _TIE
            first1 = _missing(seam, starts[1][i], cadence_s) if previous0 else 0.0
            cost1 = _broken(starts[1][last1], starts[1][i], cadence_s) if last1 >= 0 else first1
            for state, cost, fold in (((i, last1), cost0, 0), ((last0, i), cost1, 1)):
                if state not in following or total + cost < following[state][0]:
                    following[state] = (total + cost, (*folds, fold))
        best = following

    def total_cost(state: tuple[int, int]) -> float:
        end0 = starts[0][state[0]] if state[0] >= 0 else before
        end1 = starts[1][state[1]] if state[1] >= 0 else None
        return best[state][0] + _ends_cost(end0, end1, after, seam, cadence_s)

    return list(best[min(best, key=total_cost)][1])


def _ends_cost(
    end0: datetime | None, end1: datetime | None, after: datetime | None, seam: datetime, cadence_s: float
) -> float:
    """What breaks the rhythm where the passes end: their last frames, the seam, the next frame after it."""
    if end1 is None:
        return _broken(end0, after, cadence_s)
    at_seam = _missing(end0, seam, cadence_s) if end0 else 0.0
    return at_seam + _broken(end1, after, cadence_s)
