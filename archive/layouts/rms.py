"""The layout of RMS, the Global Meteor Network's software: FF files, named in UTC.

``FF_STATION_YYYYMMDD_HHMMSS_mmm_NNNNNNN.fits`` in a folder ``STATION_YYYYMMDD_HHMMSS_uuuuuu`` named after the
begin of the night's capture (``RMS/Compression.py``, ``RMS/StartCapture.py``). The fraction has three digits
or six (``RMS/Formats/FFfile.py``). Which folders lie around does not matter: the station is in the file's
name. JPEG copies of FF files are not claimed: they have the start of the file that they were made from.
"""

from __future__ import annotations

import re
from datetime import UTC

from nightsift.archive.layouts.claims import Claim
from nightsift.archive.layouts.layout import Layout
from nightsift.archive.layouts.stamps import moment

_ENDING = r"\.(?i:fits?)"
_CAPTURE = r"(?P<folder>[0-9]{8})_(?P<begin>[0-9]{6})_[0-9]{6}"
_NIGHT_FOLDER = re.compile(rf"_{_CAPTURE}[^/]*/$")


def _read(match: re.Match[str]) -> Claim | None:
    folders, station, date, time, fraction = match.group("folders", "station", "date", "time", "fraction")
    start = moment(date + time, fraction) if date else None
    if start is not None:
        return Claim(station, start_utc=start.replace(tzinfo=UTC))
    capture = _NIGHT_FOLDER.search(folders)
    begin = moment(capture["folder"] + capture["begin"]) if capture else None
    return Claim(station, folder_date=begin.date(), reason="unparsable-name") if begin else None


RMS = Layout(
    name="rms",
    clock="UTC",
    parts=(
        ("[FOLDERS/]", r"(?P<folders>(?:[^/]+/)*)"),
        ("FF_STATION", r"FF_(?P<station>[^/_]+)"),
        (
            "_YYYYMMDD_HHMMSS_mmm_NNNNNNN",
            r"_(?:(?P<date>[0-9]{8})_(?P<time>[0-9]{6})_(?P<fraction>[0-9]{3}(?:[0-9]{3})?)_[0-9]+|[^/.]*)",
        ),
        (".fits", _ENDING),
    ),
    ending=_ENDING,
    read=_read,
    night=rf"(?:[^/]+/)*(?P<station>[^/_]+)_{_CAPTURE}(?:_[a-z_]+)?",
)
