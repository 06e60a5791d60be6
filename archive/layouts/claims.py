"""What a layout reads off an object key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True)
class Claim:
    """An object that a layout takes for a frame.

    Attributes
    ----------
    station
        Station id, as the key has it.
    folder_night
        The night whose folder the object lies in.
    civil_time
        Start of the exposure in the station's civil time, without zone; None if the name cannot be read.
    """

    station: str
    folder_night: date
    civil_time: datetime | None
