"""What a layout reads off an object key, and what an inventory makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import NamedTuple


class Claim(NamedTuple):
    """An object that a layout takes for a frame.

    Attributes
    ----------
    station
        As the key has it; see `nightsift.archive.stations.Station.archive_name`.
    camera
        As the key has it; None where it names none.
    folder_date
        The date of the night's folder, if the key has one.
    civil_time
        Start of the exposure on the camera's clock, without zone.
    start_utc
        The same in a layout whose names are always UTC. With neither, the time is inside the file.
    reason
        Why the frame cannot be used: ``unparsable-name`` where a time should be in the name and is not.
    """

    station: str
    camera: str | None = None
    folder_date: date | None = None
    civil_time: datetime | None = None
    start_utc: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class FrameRef:
    """A frame of an archive, known from its name alone.

    Attributes
    ----------
    night
        Where the name tells no time, the night of its folder.
    start_utc
        Start of the exposure. None without a ``reason`` means that the file itself tells its time, or that
        it is an archive of a night (`nightsift.archive.layouts.is_container`).
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


_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def without_duplicates(refs: Iterable[FrameRef]) -> tuple[FrameRef, ...]:
    """Refs of one station in time order; of several with one start only one stays usable.

    That one is the first by key that is not empty; the others get the reason ``duplicate-time``. Refs
    without a time come first and are left as they are.

    >>> start, night = datetime(2022, 9, 14, 22, tzinfo=UTC), date(2022, 9, 14)
    >>> refs = [FrameRef("A", night, start, key, 1, "") for key in ("b.jpg", "a.jpg")]
    >>> [(ref.key, ref.reason) for ref in without_duplicates(refs)]
    [('a.jpg', None), ('b.jpg', 'duplicate-time')]
    """
    ordered = sorted(refs, key=lambda ref: (ref.start_utc or _BEFORE_ALL, ref.size == 0, ref.key))
    seen: set[datetime] = set()
    result = []
    for ref in ordered:
        if ref.reason is None and ref.start_utc is not None:
            if ref.start_utc in seen:
                ref = replace(ref, reason="duplicate-time")
            seen.add(ref.start_utc)  # type: ignore[arg-type]
        result.append(ref)
    return tuple(result)
