"""The layout of AllSky: ``STATION/[images/]YYYYMMDD/image-YYYYMMDDHHMMSS.jpg``, in local civil time."""

from __future__ import annotations

import re
from datetime import datetime

from nightsift.archive.layouts.claims import Claim

PATTERN = "STATION/[images/]YYYYMMDD/image-YYYYMMDDHHMMSS.jpg"
_KEY = re.compile(r"(?P<station>[^/]+)/(?:images/)?(?P<folder>[0-9]{8})/image-(?P<stamp>[^/]*)\.jpg")


def claim_allsky(key: str) -> Claim | None:
    """Read an object key.

    Returns
    -------
    Claim or None
        None for an object that is not a frame of this layout, such as a keogram or a star-trail picture.

    Examples
    --------
    >>> claim_allsky("PUJALT/20210310/image-20210310222605.jpg").civil_time
    datetime.datetime(2021, 3, 10, 22, 26, 5)
    >>> claim_allsky("PUJALT/20210310/image-2021031022260.jpg").civil_time is None
    True
    >>> claim_allsky("PUJALT/20210310/keogram/keogram-20210310.jpg") is None
    True
    """
    match = _KEY.fullmatch(key)
    folder = _parsed(match["folder"], "%Y%m%d", 8) if match else None
    if match is None or folder is None:
        return None
    return Claim(match["station"], folder.date(), _parsed(match["stamp"], "%Y%m%d%H%M%S", 14))


def _parsed(text: str, pattern: str, digits: int) -> datetime | None:
    # strptime alone would read '2021031' as the first of March.
    if len(text) != digits or not text.isascii() or not text.isdigit():
        return None
    try:
        return datetime.strptime(text, pattern)
    except ValueError:
        return None
