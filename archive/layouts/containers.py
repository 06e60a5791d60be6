"""Archives of a night: one object that holds the files of a night's folder.

An archive is read as the folder that it was made from: its members are claimed as if it had been unpacked
where it lies, into a folder of its own name, or at the root of the archive.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from posixpath import dirname, join, normpath
from urllib.parse import quote

from nightsift.archive.layouts.claims import Claim, FrameRef, without_duplicates
from nightsift.archive.layouts.known import LAYOUTS
from nightsift.archive.layouts.layout import ARCHIVE_ENDING, Layout
from nightsift.archive.layouts.nightly import Claimed, night_of_claim, night_refs, of_one_camera
from nightsift.archive.stations import Station
from nightsift.archive.stores import StoredObject

_ENDING = re.compile(ARCHIVE_ENDING + r"\Z")
# What no path below the archive's key may hold: a root, a parent, separators of other systems, no UTF-8.
_HOSTILE = re.compile(r"\A/|(?<![^/])\.\.(?![^/])|[\\\0\ud800-\udfff]")


def is_container(key: str) -> bool:
    """Whether an object is an archive of a night, by its name.

    >>> is_container("PUJALT/20210310.tar.gz"), is_container("PUJALT/20210310/image-20210310222605.jpg")
    (True, False)
    """
    return _ENDING.search(key) is not None


def member_refs(
    station: Station, container: FrameRef, members: Sequence[tuple[str, int]]
) -> tuple[FrameRef, ...]:
    """The frames inside an archive of a night.

    Parameters
    ----------
    container
        The archive, as `nightsift.archive.layouts.inventory` gives it.
    members
        Path and size of each file in it, every path once.

    Returns
    -------
    tuple of FrameRef
        In time order, keyed ``<key of the archive>/<path of the member>``, with the archive's etag. What is
        no picture of the layout, what the camera's software writes beside its frames, and frames of another
        camera are left out. Reasons: ``unparsable-name`` for a picture that the layout does not claim and
        for a path that leaves the archive, ``unsupported`` for an archive within the archive,
        ``wrong-night`` for a time outside the archive's night, and those of loose files. Where nothing is
        left, the archive itself with ``unparsable-name``.

    Examples
    --------
    >>> from datetime import date
    >>> from nightsift.archive.stations import Station
    >>> station = Station(
    ...     id="PUJALT", network="SPMN", latitude_deg=41.7, longitude_deg=1.4, height_msl_m=750,
    ...     timezone="Europe/Madrid", layout="allsky", cadence_s=31, exposure_s=30,
    ... )
    >>> container = FrameRef("PUJALT", date(2021, 3, 10), None, "PUJALT/20210310.tar.gz", 10**9, "e")
    >>> members = [("20210310/image-20210310222605.jpg", 700_000), ("20210310/notes.txt", 12)]
    >>> [(ref.key, str(ref.start_utc)) for ref in member_refs(station, container, members)]
    [('PUJALT/20210310.tar.gz/20210310/image-20210310222605.jpg', '2021-03-10 21:26:05+00:00')]
    """
    layout = LAYOUTS[station.layout]
    claimed: defaultdict[date, list[Claimed]] = defaultdict(list)
    for path, size in dict(members).items():
        claim = _claim(layout, station, container.key, path)
        if claim is not None:
            night = night_of_claim(claim, station) or container.night
            item = StoredObject(f"{container.key}/{inside(path)}", size, container.etag)
            claimed[night].append((claim, item))
    found = without_duplicates(_refs(station, container, claimed))
    return found or (replace(container, reason="unparsable-name"),)


def _refs(
    station: Station, container: FrameRef, claimed: Mapping[date, Sequence[Claimed]]
) -> Iterator[FrameRef]:
    for night, pairs in claimed.items():
        kept, _ = of_one_camera(station, pairs)
        for ref in night_refs(station, night, kept):
            if night == container.night:
                yield ref
            else:
                yield replace(ref, night=container.night, reason=ref.reason or "wrong-night")


def _claim(layout: Layout, station: Station, container: str, path: str) -> Claim | None:
    if _HOSTILE.search(path):
        return Claim(station.name_in_archive, station.camera, reason="unparsable-name")
    folders = (_ENDING.sub("", container), dirname(container))
    for folder in (*folders, ""):
        claim = layout.claim(normpath(join(folder, path)))
        if claim is not None and claim.station == station.name_in_archive:
            return claim
    if is_container(path):
        return Claim(station.name_in_archive, station.camera, reason="unsupported")
    if layout.is_beside(path) or not layout.is_picture(path):
        return None
    return Claim(station.name_in_archive, station.camera, reason="unparsable-name")


def inside(path: str) -> str:
    """A path that stays below the archive's key, whatever the archive says."""
    return _HOSTILE.sub(
        lambda found: quote(found[0], safe="", errors="surrogatepass").replace(".", "%2E"), path
    )
