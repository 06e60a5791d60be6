"""Why an object is not claimed, for the operator."""

from __future__ import annotations

from collections.abc import Collection

from nightsift.archive.backends import UNREADABLE
from nightsift.archive.layouts.claims import Claim
from nightsift.archive.layouts.containers import is_container
from nightsift.archive.layouts.known import LAYOUTS
from nightsift.archive.layouts.layout import Layout
from nightsift.archive.layouts.nightly import night_of_claim
from nightsift.archive.stations import Station, Stations

_MOST = 2  # reasons told of one object


def explain(key: str, stations: Stations) -> tuple[str, ...]:
    """Which layouts claim or almost match an object that no station claims, and why it is not theirs.

    Parameters
    ----------
    key
        An unclaimed object's key.

    Returns
    -------
    tuple of str
        Sentences for a person, the most telling first; empty where nothing is alike.
    """
    if key.endswith(UNREADABLE):
        return ("this user may not read the folder: give the permission if frames lie in it",)
    claims = {name: claim for name, layout in LAYOUTS.items() if (claim := _claim(layout, key))}
    if claims:
        refused = (_refused(name, claim, stations) for name, claim in claims.items())
        return tuple(text for _, text in sorted(refused))[:_MOST]
    used = {station.layout for station in stations.values()}
    if any(LAYOUTS[name].is_beside(key) for name in used):
        return ("written beside the frames by the camera's software, not a frame",)
    if is_container(key):
        return ("an archive whose name tells no station and night",)
    if moved := _moved(key, used):
        return (moved,)
    misses = ((name not in used, LAYOUTS[name].near_miss(key)) for name in LAYOUTS)
    near = sorted((foreign, -miss.share, miss.text) for foreign, miss in misses if miss.share > 0)
    return tuple(text for _, _, text in near)[:_MOST]


def readable(key: str) -> str:
    r"""A key on one line: line ends, escapes of terminals and bytes that are no UTF-8 as escapes.

    >>> readable("a b.jpg"), readable("two\nlines")
    ('a b.jpg', "'two\\nlines'")
    """
    return key if key.isprintable() else repr(key)


def _claim(layout: Layout, key: str) -> Claim | None:
    return layout.claim(key) or layout.claim_night(key)


def _moved(key: str, used: Collection[str]) -> str | None:
    """Whether a layout in use would fit if the archive began at another folder."""
    for name in sorted(used):
        below = key
        while "/" in below:
            _, _, below = below.partition("/")
            if LAYOUTS[name].claim(below):
                above = key.removesuffix(below)
                return f"{name}: fits from {below!r} on; should [archive] url end with {above!r}?"
        if LAYOUTS[name].claim(f"STATION/{key}"):
            return f"{name}: fits below a station's folder; should [archive] url be one folder higher?"
    return None


def _refused(name: str, claim: Claim, stations: Stations) -> tuple[int, str]:
    """How far the stations file is from taking a claim, from 0, and what it takes."""
    where = f"{name}: its names fit"
    entries = [station for station in stations.values() if station.name_in_archive == claim.station]
    same = [station for station in entries if station.layout == name]
    if same:
        return 0, f"{where}, but {_differs(claim, same)}"
    if entries:
        return 1, f'{where}, but station {entries[0].id} has layout = "{entries[0].layout}"'
    return 2, f"{where} station {claim.station!r}, which {stations.source} does not describe"


def _differs(claim: Claim, same: list[Station]) -> str:
    of_camera = [station for station in same if station.camera in (None, claim.camera)] or same
    nights = ((station, night_of_claim(claim, station)) for station in of_camera)
    if not any(night and station.holds_on(night) for station, night in nights):
        return f"station {same[0].id} does not hold for that night"
    cameras = ", ".join(f"{station.id} has {station.camera or 'the most frequent one'}" for station in same)
    named = repr(claim.camera) if claim.camera else "not named"
    return f'its camera is {named}: {cameras}; describe each with camera = "…"'
