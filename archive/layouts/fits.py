"""FITS files below one folder a night: the time is in the name, or else in the header (DATE-OBS)."""

from __future__ import annotations

import re
from datetime import UTC

from nightsift.archive.layouts.claims import Claim
from nightsift.archive.layouts.layout import Layout
from nightsift.archive.layouts.stamps import day, find_stamp

_ENDING = r"\.(?i:fits?|fts)"


def _read(match: re.Match[str]) -> Claim | None:
    station, folder, name = match.group("station", "folder", "name")
    night = day(folder)
    if night is None:
        return None
    stamp = find_stamp(name)
    if stamp is None:
        return Claim(station, folder_date=night)
    if stamp.time.tzinfo is UTC:
        return Claim(station, folder_date=night, start_utc=stamp.time)
    return Claim(station, folder_date=night, civil_time=stamp.time)


FITS = Layout(
    name="fits",
    clock="in the name on the station's clock, or in the header",
    parts=(
        ("STATION/", r"(?P<station>[^/]+)/"),
        ("[FOLDERS/]", r"(?:[^/]+/)*"),
        ("YYYYMMDD/", r"(?P<folder>[0-9]{4}(?P<dash>[-_]?)[0-9]{2}(?P=dash)[0-9]{2})/"),
        ("NAME.fits", rf"(?:[^/]+/)*(?P<name>[^/]+){_ENDING}"),
    ),
    ending=_ENDING,
    read=_read,
)
