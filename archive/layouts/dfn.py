"""The layout of the Desert Fireball Network: ``NNN_YYYY-MM-DD_HHMMSS_T_DSC_XXXX``, in UTC.

The number of the observatory, the begin of the exposure in UTC, the type of the camera (absent or S:
DFNSMALL, E: DFNEXT, K: DFNKIT) and the camera's own name for the picture; below any folders, commonly
``DFNEXT022/2018/01/2018-01-31_DFNEXT022_1517440320/`` (DFN observatories technical wiki, "Data folder
structure"). Raw ``.NEF`` files and cut-out tiles are not read.
"""

from __future__ import annotations

import re
from datetime import UTC

from nightsift.archive.layouts.claims import Claim
from nightsift.archive.layouts.layout import Layout
from nightsift.archive.layouts.stamps import day, moment

_ENDING = r"\.(?i:jpe?g|png|tiff?)"
_SESSION = re.compile(r"(?:^|/)([0-9]{4}-[0-9]{2}-[0-9]{2})_")


def _read(match: re.Match[str]) -> Claim | None:
    folders, station, date, time = match.group("folders", "station", "date", "time")
    start = moment(date.replace("-", "") + time)
    if start is not None:
        return Claim(station, start_utc=start.replace(tzinfo=UTC))
    session = _SESSION.search(folders)
    night = day(session[1]) if session else None
    return Claim(station, folder_date=night, reason="unparsable-name") if night else None


DFN = Layout(
    name="dfn",
    clock="UTC",
    parts=(
        ("[FOLDERS/]", r"(?P<folders>(?:[^/]+/)*)"),
        ("NNN", r"(?P<station>[0-9]{1,4})(?=_)"),
        ("_YYYY-MM-DD", r"_(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"),
        ("_HHMMSS", r"_(?P<time>[0-9]{6})"),
        ("[_T]", r"(?:_[A-Z])?"),
        ("_DSC_XXXX", r"_[A-Za-z]{3,4}_?[0-9]{4}"),
        ("[.thumb]", r"(?:\.thumb)?"),
        (".jpg", _ENDING),
    ),
    ending=_ENDING,
    read=_read,
    night=r"(?:[^/]+/)*(?P<folder>[0-9]{4}-[0-9]{2}-[0-9]{2})_DFN[A-Z]+(?P<station>[0-9]{1,4})_[0-9]+",
)
