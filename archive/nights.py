"""Nights: from local noon to local noon, labelled by the evening they begin in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class StationNight:
    """The unit of work: one station, one night."""

    station: str
    night: date

    def __str__(self) -> str:
        return f"{self.station}/{self.night.isoformat()}"


def night_of(start_utc: datetime, zone: ZoneInfo) -> date:
    """The night that an exposure belongs to.

    Parameters
    ----------
    start_utc
        Timezone-aware start of the exposure.
    zone
        The station's civil time zone.

    Examples
    --------
    >>> night_of(datetime(2021, 3, 28, 1, 30, tzinfo=UTC), ZoneInfo("Europe/Madrid"))
    datetime.date(2021, 3, 27)
    """
    local = start_utc.astimezone(zone).replace(tzinfo=None)
    return (local - timedelta(hours=12)).date()


def night_bounds(night: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """First and last instant (exclusive) of a night, in UTC.

    A night in which the clocks change lasts 23 or 25 hours.

    >>> begin, end = night_bounds(date(2021, 10, 30), ZoneInfo("Europe/Madrid"))
    >>> (end - begin).total_seconds() / 3600
    25.0
    """
    noon = time(12)
    begin = datetime.combine(night, noon, zone).astimezone(UTC)
    end = datetime.combine(night + timedelta(days=1), noon, zone).astimezone(UTC)
    return begin, end
