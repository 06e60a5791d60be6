"""Dates and times in names."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple

# Years beyond these cannot be moved by a zone's offset.
_YEARS = range(2, 9999)
_STAMP = re.compile(
    r"(?<![0-9])((?:19|20)[0-9]{2})([-_.]?)([0-9]{2})\2([0-9]{2})"
    r"[-_.T ]?([0-9]{2})([-_.:]?)([0-9]{2})\6([0-9]{2})"
    r"(?:[_.]([0-9]{6}|[0-9]{3}))?(?![0-9])"
    r"(?P<utc>[-_]?UTC?(?![A-Za-z])|Z(?![A-Za-z]))?"
)


def moment(digits: str, fraction: str | None = None) -> datetime | None:
    """The instant that 14 digits name, YYYYMMDDHHMMSS; None if there is none.

    Parameters
    ----------
    fraction
        Decimal digits of the second, six at most.

    >>> moment("20220914194911", "205")
    datetime.datetime(2022, 9, 14, 19, 49, 11, 205000)
    >>> moment("20161231235960") is None
    True
    """
    try:
        found = datetime.fromisoformat(f"{digits[:8]}T{digits[8:]}{'.' if fraction else ''}{fraction or ''}")
    except ValueError:
        return None
    # Some versions of Python read 24:00:00 as the next day.
    return found if found.year in _YEARS and digits[8:10] != "24" else None


@lru_cache(maxsize=4096)
def day(text: str) -> date | None:
    """The day that YYYYMMDD names, with or without separators; None if there is none.

    >>> day("2021_03_10")
    datetime.date(2021, 3, 10)
    """
    digits = re.sub(r"[-_.]", "", text)
    found = moment(f"{digits}000000") if len(digits) == 8 else None
    return found.date() if found else None


_DATED_FOLDER = re.compile(r"(?:.*/)?([0-9]{4}([-_]?)[0-9]{2}\2[0-9]{2})/", re.DOTALL)


def folder_day(folders: str) -> date | None:
    """The day that the last dated one of the folders above a file is named after.

    >>> folder_day("2021/2021-03-10/night/")
    datetime.date(2021, 3, 10)
    """
    dated = _DATED_FOLDER.match(folders)
    return day(dated[1]) if dated else None


class Stamp(NamedTuple):
    """A date and time inside a name: without zone unless the name says UT, UTC or Z; where it ends."""

    time: datetime
    end: int


def find_stamp(name: str) -> Stamp | None:
    """The first full date and time in a name, in the spellings that cameras use.

    >>> find_stamp("2018_12_25_09_29_24_000_010003").time
    datetime.datetime(2018, 12, 25, 9, 29, 24)
    >>> find_stamp("CZ0003_20210307_021710_233167").time
    datetime.datetime(2021, 3, 7, 2, 17, 10, 233167)
    >>> find_stamp("Chaligny_20150315T204411_UT").time
    datetime.datetime(2015, 3, 15, 20, 44, 11, tzinfo=datetime.timezone.utc)
    >>> find_stamp("clip_20211399_010101") is None
    True
    """
    for match in _STAMP.finditer(name):
        parts = match.group(1, 3, 4, 5, 7, 8)
        time = moment("".join(parts), match[9])
        if time is not None:
            return Stamp(time.replace(tzinfo=UTC) if match["utc"] else time, match.end())
    return None
