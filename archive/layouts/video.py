"""Videos with the time of their first frame in the name, in the spellings that networks use.

RMS clips ``CZ0003_20210307_021710_233167.mp4``; FreeTure events ``STATION_20150315T204411_UT``, in UTC as
their ending says (``DetThread.cpp``); AllSky7 minutes ``2018_12_25_09_29_24_000_010003.mp4``, whose last
digits are the camera, and clips cut from them ``…-trim-0700``: the number of the first frame at 25 frames a
second (amscams, ``starttime_from_file``). Other times are on the station's clock.
"""

from __future__ import annotations

import re
from datetime import UTC, timedelta

from nightsift.archive.layouts.claims import Claim
from nightsift.archive.layouts.layout import Layout
from nightsift.archive.layouts.stamps import find_stamp, folder_day

_ENDING = r"\.(?i:mp4|avi|flv|mkv|mov)"
_AFTER = re.compile(r"_(?P<camera>[0-9]{6})(?![0-9])(?:-trim-?(?P<frame>[0-9]+))?")
_ALLSKY7_FPS = 25


def _read(match: re.Match[str]) -> Claim | None:
    folder, folders, name = match.group("station", "folders", "name")
    stamp = find_stamp(name)
    if stamp is None:
        night = folder_day(folders)
        return Claim(folder, folder_date=night, reason="unparsable-name") if night else None
    station = folder or re.split(r"[-_.]", name, maxsplit=1)[0]
    after = _AFTER.match(name, stamp.end)
    camera, frame = after.group("camera", "frame") if after else (None, None)
    time = stamp.time + timedelta(seconds=int(frame[:9]) / _ALLSKY7_FPS) if frame else stamp.time
    if time.tzinfo is UTC:
        return Claim(station, camera, start_utc=time)
    return Claim(station, camera, civil_time=time)


VIDEO = Layout(
    name="video",
    clock="UTC where the name ends in UT, UTC or Z; else the station's clock",
    parts=(
        ("[STATION/]", r"(?:(?P<station>[^/]+)/)?"),
        ("[FOLDERS/]", r"(?P<folders>(?:[^/]+/)*)"),
        (
            "NAME_YYYYMMDD_HHMMSS[_ffffff].mp4",
            rf"(?![^/]*(?:timelapse|keogram|startrail))(?P<name>[^/]+){_ENDING}",
        ),
    ),
    ending=_ENDING,
    beside=r"timelapse|keogram|startrail",
    read=_read,
)
