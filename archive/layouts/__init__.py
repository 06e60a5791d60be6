"""Layouts: how a network names the objects of its archive.

A layout turns an object key into a `Claim` without opening the object. `inventory` gives every claimed
object a start in UTC and a night, and keeps with its reason what cannot have one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from nightsift.archive.layouts.allsky import claim_allsky
from nightsift.archive.layouts.civil_time import is_skipped, starts_utc
from nightsift.archive.layouts.claims import Claim
from nightsift.archive.nights import StationNight, night_of
from nightsift.archive.stations import Station, Stations
from nightsift.archive.stores import StoredObject

LAYOUTS: Mapping[str, Callable[[str], Claim | None]] = {"allsky": claim_allsky}


@dataclass(frozen=True)
class FrameRef:
    """A frame of an archive, known from its name alone.

    Attributes
    ----------
    start_utc
        Start of the exposure; None where the name does not tell it.
    reason
        Why the frame cannot be used, as the ledger names it; None if nothing is known against it.
    """

    station: str
    night: date
    start_utc: datetime | None
    key: str
    size: int
    etag: str
    reason: str | None = None


@dataclass(frozen=True)
class Inventory:
    """What an archive holds: the frames of each station-night in time order, and the keys nobody claims."""

    nights: Mapping[StationNight, tuple[FrameRef, ...]]
    unclaimed: tuple[str, ...]

    @property
    def frames(self) -> int:
        """Number of claimed objects."""
        return sum(len(refs) for refs in self.nights.values())


def inventory(objects: Iterable[StoredObject], stations: Stations) -> Inventory:
    """Sort the objects of an archive into station-nights.

    Raises
    ------
    ConfigurationError
        A claimed object belongs to a station that ``stations`` does not describe.
    """
    claimed: defaultdict[str, list[tuple[Claim, StoredObject]]] = defaultdict(list)
    unclaimed = []
    for item in objects:
        claim = _claim(item.key)
        if claim is None:
            unclaimed.append(item.key)
        else:
            claimed[claim.station].append((claim, item))
    nights: defaultdict[StationNight, list[FrameRef]] = defaultdict(list)
    for station_id in sorted(claimed):
        for ref in _refs(stations[station_id], claimed[station_id]):
            nights[StationNight(ref.station, ref.night)].append(ref)
    ordered = sorted(nights.items(), key=lambda pair: (pair[0].station, pair[0].night))
    return Inventory({night: _without_duplicates(refs) for night, refs in ordered}, tuple(unclaimed))


def _claim(key: str) -> Claim | None:
    return next((found for claim in LAYOUTS.values() if (found := claim(key))), None)


def _refs(station: Station, claimed: list[tuple[Claim, StoredObject]]) -> Iterable[FrameRef]:
    named = sorted(
        ((claim.civil_time, item) for claim, item in claimed if claim.civil_time),
        key=lambda pair: (pair[0], pair[1].key),
    )
    for claim, item in claimed:
        if claim.civil_time is None:
            yield FrameRef(
                station.id, claim.folder_night, None, item.key, item.size, item.etag, "unparsable-name"
            )
    starts = starts_utc([civil for civil, _ in named], station)
    for (civil, item), start in zip(named, starts, strict=True):
        reason = "nonexistent-time" if is_skipped(civil, station.zone) else None
        night = night_of(start, station.zone)
        yield FrameRef(station.id, night, start, item.key, item.size, item.etag, reason)


def _without_duplicates(refs: list[FrameRef]) -> tuple[FrameRef, ...]:
    """Refs in time order; of several with one start the first by key that is not empty stays."""
    epoch = datetime.min.replace(tzinfo=UTC)
    ordered = sorted(refs, key=lambda ref: (ref.start_utc or epoch, ref.size == 0, ref.key))
    seen: set[datetime] = set()
    result = []
    for ref in ordered:
        if ref.reason is None and ref.start_utc in seen:
            ref = FrameRef(
                ref.station, ref.night, ref.start_utc, ref.key, ref.size, ref.etag, "duplicate-time"
            )
        elif ref.reason is None and ref.start_utc is not None:
            seen.add(ref.start_utc)
        result.append(ref)
    return tuple(result)
