"""The layout of AllSky (Thomas Jacquin's, for Raspberry Pi): one folder a night, names in local civil time.

AllSky names a frame ``FILENAME-YYYYMMDDHHMMSS.EXT`` below the date twelve hours before
(``scripts/saveImage.sh``). ``FILENAME`` is a setting, ``image`` unless changed; what a name has besides it
tells cameras apart that share a folder.
"""

from __future__ import annotations

import re

from nightsift.archive.layouts.claims import Claim
from nightsift.archive.layouts.layout import Layout
from nightsift.archive.layouts.stamps import day, moment

_ENDING = r"\.(?i:jpe?g|png)"
_FRAME = r"(?:(?P<before>[^/]+?)-(?P<stamp>[0-9]{14})(?P<after>[-_][^/]*?)?|image-[^/]*?)"


def _read(match: re.Match[str]) -> Claim | None:
    station, folder, before, stamp, after = match.group("station", "folder", "before", "stamp", "after")
    night = day(folder)
    if night is None:
        return None
    civil = moment(stamp) if stamp else None
    camera = None if before == "image" and not after else _camera(before or "", after or "")
    return Claim(station, camera, night, civil, reason=None if civil else "unparsable-name")


def _camera(before: str, after: str) -> str | None:
    named = (before.removeprefix("image").strip("-_."), after.strip("-_."))
    return "-".join(filter(None, named)) or None


ALLSKY = Layout(
    name="allsky",
    clock="local civil time",
    parts=(
        ("STATION/", r"(?P<station>[^/]+)/"),
        ("[images/]", r"(?:images/)?"),
        ("YYYYMMDD/", r"(?P<folder>[0-9]{8})/"),
        ("image-YYYYMMDDHHMMSS", _FRAME),
        (".jpg", _ENDING),
    ),
    ending=_ENDING,
    read=_read,
    night=r"(?P<station>[^/]+)/(?:images/)?(?P<folder>[0-9]{8})",
    beside=r"(?:^|/)(?:keogram|startrails|thumbnails|notification)[^/]*(?:/|$)",
)
