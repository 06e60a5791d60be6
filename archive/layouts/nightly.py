"""From claims to the frames of one station-night: starts in UTC, and what is wrong with the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

from nightsift.archive.layouts.civil_time import is_skipped, starts_utc, steady_offset
from nightsift.archive.layouts.claims import Claim, FrameRef
from nightsift.archive.nights import night_of
from nightsift.archive.stations import Station
from nightsift.archive.stores import StoredObject

FIRST_YEAR = 1990  # no digital camera network is older: earlier names come from clocks that were never set
CLOCK_ERROR = timedelta(days=1)  # how far ahead of ours a camera's clock may be

_END = datetime.max.replace(tzinfo=UTC)

Claimed = tuple[Claim, StoredObject]


def night_of_claim(claim: Claim, station: Station) -> date | None:
    """The night of a claim: that of its time, or of its folder where the name tells no time."""
    if claim.start_utc is not None:
        return night_of(claim.start_utc, station.zone)
    if claim.civil_time is not None and station.clock == "utc":
        return night_of(claim.civil_time.replace(tzinfo=UTC), station.zone)
    if claim.civil_time is not None:
        return (claim.civil_time - timedelta(hours=12)).date()
    if claim.folder_date is None:
        return None
    return claim.folder_date - timedelta(days=1 if station.folder_date == "morning" else 0)


def night_refs(
    station: Station, night: date, claimed: Iterable[Claimed], now: datetime | None = None
) -> Iterator[FrameRef]:
    """The frames of one station-night, in no order.

    Parameters
    ----------
    claimed
        Claims of this night, with their objects.
    now
        Times later than a day after it are ``implausible-time``; by default nothing is.
    """
    latest = now + CLOCK_ERROR if now else _END
    civil = []
    for claim, item in claimed:
        if claim.civil_time is not None and station.clock == "local":
            civil.append((claim.civil_time, item))
        else:
            start = claim.start_utc or (claim.civil_time and claim.civil_time.replace(tzinfo=UTC))
            yield _ref(station, night, start, item, claim.reason, latest)
    if not civil:
        return
    civil.sort(key=lambda pair: (pair[0], pair[1].key))
    offset = steady_offset(civil[0][0], civil[-1][0], station.zone)
    if offset is not None:
        for time, item in civil:
            yield _ref(station, night, time.replace(tzinfo=UTC) - offset, item, None, latest)
        return
    starts = starts_utc([time for time, _ in civil], station)
    for (time, item), start in zip(civil, starts, strict=True):
        reason = "nonexistent-time" if is_skipped(time, station.zone) else None
        yield _ref(station, night, start, item, reason, latest)


def _ref(
    station: Station,
    night: date,
    start: datetime | None,
    item: StoredObject,
    reason: str | None,
    latest: datetime,
) -> FrameRef:
    late = night > latest.date() if start is None else start > latest
    if reason is None and (late or night.year < FIRST_YEAR):
        reason = "implausible-time"
    return FrameRef(station.id, night, start, item.key, item.size, item.etag, reason)


def of_one_camera(station: Station, claimed: Sequence[Claimed]) -> tuple[list[Claimed], list[Claimed]]:
    """The claims of a station-night that are of its camera, and the others.

    Where the stations file names no camera, it is the one that most of the night's names have: frames of
    two cameras must never be subtracted from one another.
    """
    named = Counter(claim.camera for claim, _ in claimed if claim.civil_time or claim.start_utc)
    camera = station.camera
    if camera is None and named:
        camera = min(named, key=lambda name: (-named[name], name or ""))
    kept: list[Claimed] = []
    others: list[Claimed] = []
    for claim, item in claimed:
        nameless = station.camera is None and not (claim.civil_time or claim.start_utc)
        (kept if nameless or claim.camera == camera else others).append((claim, item))
    return kept, others
