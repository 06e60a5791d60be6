"""An archive's objects, sorted into station-nights."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from nightsift.archive.layouts.claims import Claim, FrameRef, without_duplicates
from nightsift.archive.layouts.containers import is_container
from nightsift.archive.layouts.known import LAYOUTS
from nightsift.archive.layouts.layout import Layout
from nightsift.archive.layouts.nightly import Claimed, night_of_claim, night_refs, of_one_camera
from nightsift.archive.nights import StationNight
from nightsift.archive.stations import Station, Stations
from nightsift.archive.stores import StoredObject

_MOST_FORMS = 50
_DIGITS = re.compile(r"[0-9]+")


@dataclass
class Unclaimed:
    """The objects that nobody claims: how many, and one example of each form of name.

    Bounded in memory: past the first forms met, others are only counted.

    >>> unclaimed = Unclaimed()
    >>> for key in ("A/1/keogram-1.jpg", "A/2/keogram-2.jpg", "A/readme.txt"):
    ...     unclaimed.add(key)
    >>> unclaimed.count, unclaimed.examples
    (3, {'A/1/keogram-1.jpg': 2, 'A/readme.txt': 1})
    """

    count: int = 0
    _forms: dict[tuple[int, str], tuple[str, int]] = field(default_factory=dict)

    def add(self, key: str) -> None:
        """Count an object."""
        self.count += 1
        form = key.count("/"), _DIGITS.sub("0", key.rpartition("/")[2])
        if form in self._forms:
            example, count = self._forms[form]
            self._forms[form] = example, count + 1
        elif len(self._forms) < _MOST_FORMS:
            self._forms[form] = key, 1

    @property
    def examples(self) -> dict[str, int]:
        """The first key of each form of name, and how many have that form; the most frequent first."""
        return dict(sorted(self._forms.values(), key=lambda pair: -pair[1]))


@dataclass(frozen=True)
class Inventory:
    """What an archive holds: the frames of each station-night in time order, and what nobody claims."""

    nights: Mapping[StationNight, tuple[FrameRef, ...]]
    unclaimed: Unclaimed

    @property
    def frames(self) -> int:
        """Number of claimed objects."""
        return sum(len(refs) for refs in self.nights.values())


def inventory(objects: Iterable[StoredObject], stations: Stations, now: datetime | None = None) -> Inventory:
    """Sort the objects of an archive into station-nights.

    An object is claimed when a layout that a station has takes it for a frame of that station.

    Parameters
    ----------
    now
        The present, by default the clock's: frames from the future are ``implausible-time``.

    Raises
    ------
    ConfigurationError
        A layout in use claims an object for a station that ``stations`` does not describe.
    """
    described = _Described(stations)
    unclaimed = Unclaimed()
    claimed: defaultdict[tuple[str, date], list[Claimed]] = defaultdict(list)
    for item in objects:
        claims = described.claims(item.key)
        for station, night, claim in claims:
            claimed[station.id, night].append((claim, item))
        if not claims:
            unclaimed.add(item.key)
    if described.unknown:
        raise stations.unknown(described.unknown)
    nights = {}
    for station_id, night in sorted(claimed):
        station = stations[station_id]
        kept, others = of_one_camera(station, claimed.pop((station_id, night)))
        for _, item in others:
            unclaimed.add(item.key)
        refs = night_refs(station, night, kept, now or datetime.now(UTC))
        nights[StationNight(station_id, night)] = without_duplicates(refs)
    return Inventory(nights, unclaimed)


class _Described:
    """The stations by layout and name in the archive, and the names that no station has."""

    def __init__(self, stations: Stations) -> None:
        used = {station.layout for station in stations.values()}
        self.layouts = [layout for name, layout in LAYOUTS.items() if name in used]
        self.by_name: defaultdict[tuple[str, str], list[Station]] = defaultdict(list)
        for station in stations.values():
            self.by_name[station.layout, station.name_in_archive].append(station)
        self.names = {station.name_in_archive for station in stations.values()}
        self.unknown: dict[str, str] = {}

    def claims(self, key: str) -> Sequence[tuple[Station, date, Claim]]:
        """Who claims a key; several where an archive holds the frames of several cameras."""
        if not _can_be_written(key):
            return ()
        for layout in self.layouts:
            claim = layout.claim(key)
            if claim is not None:
                found = self._of_frame(layout, claim)
            elif is_container(key) and (claim := layout.claim_night(key)):
                entries = self._of_night(layout, claim)
                found = [
                    (station, night, claim._replace(start_utc=None, camera=station.camera))
                    for station, night, _ in entries
                ]
            else:
                continue
            if found:
                return found
            if claim.station not in self.names:
                self.unknown[claim.station] = layout.name
        return ()

    def _of_night(self, layout: Layout, claim: Claim) -> list[tuple[Station, date, Claim]]:
        entries = self.by_name.get((layout.name, claim.station), ())
        nights = ((station, night_of_claim(claim, station)) for station in entries)
        return [(station, night, claim) for station, night in nights if night and station.holds_on(night)]

    def _of_frame(self, layout: Layout, claim: Claim) -> list[tuple[Station, date, Claim]]:
        """The entry for this very camera, or else the one for any."""
        found = self._of_night(layout, claim)
        exact = [entry for entry in found if entry[0].camera == claim.camera]
        return (exact or [entry for entry in found if entry[0].camera is None])[:1]


def _can_be_written(key: str) -> bool:
    """Whether products can hold a key: not so the name of a local file that is no UTF-8."""
    return key.isascii() or not any("\ud800" <= character <= "\udfff" for character in key)
