"""The layout of indi-allsky (Aaron Morris): ``ccd1_YYYYMMDD_HHMMSS``, in local civil time.

indi-allsky keeps its frames in ``ccd_UUID/exposures/YYYYMMDD/night/DD_HH/`` (``indi_allsky/image.py``,
``_getImageFolder``); archives often leave some of these folders out, so any are taken. Only names that
begin with ``ccd`` are frames: ``raw_ccd1_…``, ``panorama_ccd1_…``, ``allsky-keogram_ccd1_…`` lie beside them.
"""

from __future__ import annotations

import re

from nightsift.archive.layouts.claims import Claim
from nightsift.archive.layouts.layout import Layout
from nightsift.archive.layouts.stamps import folder_day, moment

_ENDING = r"\.(?i:jpe?g|png|webp|tiff?|fits?)"


def _read(match: re.Match[str]) -> Claim | None:
    station, folders, camera, date, time = match.group("station", "folders", "camera", "date", "time")
    civil = moment(date + time) if time else None
    if civil is not None:
        return Claim(station, camera, civil_time=civil)
    night = folder_day(folders)
    return Claim(station, camera, night, reason="unparsable-name") if night else None


INDI_ALLSKY = Layout(
    name="indi-allsky",
    clock="local civil time",
    parts=(
        ("STATION/", r"(?P<station>[^/]+)/"),
        ("[FOLDERS/]", r"(?P<folders>(?:[^/]+/)*)"),
        ("ccdN", r"(?P<camera>ccd[0-9]+)"),
        ("_YYYYMMDD_HHMMSS", r"_(?:(?P<date>[0-9]{8})_(?P<time>[0-9]{6})|[^/.]*)"),
        (".jpg", _ENDING),
    ),
    ending=_ENDING,
    read=_read,
    beside=r"(?:^|/)(?:raw_|panorama_|allsky-|thumbnails/|dark_|bpm_)",
)
