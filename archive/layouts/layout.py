"""What a layout is: the parts of a key in order, and a function from what they matched to a claim."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import NamedTuple

from nightsift.archive.layouts.claims import Claim

ARCHIVE_ENDING = r"\.(?i:tar|tar\.gz|tgz|tar\.bz2|zip)"
FOLDERS = r"(?:[^/]+/)*?"
# Years beyond these cannot be moved by a zone's offset.
_YEARS = range(2, 9999)


class NearMiss(NamedTuple):
    """How far a key fits a layout.

    Attributes
    ----------
    share
        Of the layout's parts, how many fit; 1 where all do and yet no time can be read.
    text
        The same for a person.
    """

    share: float
    text: str


@dataclass(frozen=True)
class Layout:
    """How a network names its objects.

    Attributes
    ----------
    name
        As ``layout`` in ``stations.toml`` has it.
    clock
        What the times in the names mean, for people.
    parts
        Label and regular expression of each part of a key. Joined they are the expression of the whole key;
        a part that nobody need know of has an empty label. The last part is the ending of the file's name.
    read
        From the match of a whole key to a claim; None for an object that is no frame after all.
    night
        Expression of the folder of one night, as an archive made from it is named: with the groups
        ``station`` and ``folder``.
    beside
        Expression of paths that the same software writes beside the frames: never frames.

    Examples
    --------
    >>> from nightsift.archive.layouts import LAYOUTS
    >>> LAYOUTS["allsky"].claim("PUJALT/20210310/image-20210310222605.jpg").civil_time
    datetime.datetime(2021, 3, 10, 22, 26, 5)
    >>> print(LAYOUTS["allsky"].near_miss("A/20210310/img.jpg").text)
    allsky: 'A/20210310/' fits STATION/[images/]YYYYMMDD/; expected image-YYYYMMDDHHMMSS, found 'img.jpg'
    """

    name: str
    clock: str
    parts: tuple[tuple[str, str], ...]
    read: Callable[[re.Match[str]], Claim | None]
    night: str
    beside: str = r"(?!)"

    @property
    def shape(self) -> str:
        """The form of its keys, for people."""
        return "".join(label for label, _ in self.parts)

    def claim(self, key: str) -> Claim | None:
        """Read an object key; None for an object that is not a frame of this layout."""
        match = self._key.fullmatch(key)
        return self.read(match) if match else None

    def claim_night(self, key: str) -> Claim | None:
        """Read the key of an archive of a night: its station and the date of its folder."""
        match = self._night.fullmatch(key)
        folder = day(match["folder"]) if match else None
        return Claim(match["station"], folder_date=folder) if match and folder else None

    def is_picture(self, path: str) -> bool:
        """Whether a path ends as the frames of this layout do."""
        return self._ending.search(path) is not None

    def is_beside(self, path: str) -> bool:
        """Whether a path is something that the software writes beside the frames."""
        return self._beside.search(path) is not None

    def near_miss(self, key: str) -> NearMiss:
        """Which of the leading parts fit a key that is not claimed, and what does not."""
        fitting, match = next(
            (count, found)
            for count in range(len(self.parts), -1, -1)
            if (found := self._begins[count].match(key))
        )
        begin, rest = key[: match.end()], key[match.end() :]
        shape = "".join(label for label, _ in self.parts[:fitting])
        fits = f"{_quoted(begin)} fits {shape}" if begin else "nothing fits"
        following = next((label for label, _ in self.parts[fitting:] if label), "")
        if fitting < len(self.parts):
            fault = f"expected {following}, found {_quoted(rest)}"
        else:
            fault = (
                f"expected nothing more, found {_quoted(rest)}" if rest else "but no time can be read in it"
            )
        return NearMiss(fitting / len(self.parts), f"{self.name}: {fits}; {fault}")

    @cached_property
    def _key(self) -> re.Pattern[str]:
        return re.compile("".join(pattern for _, pattern in self.parts))

    @cached_property
    def _night(self) -> re.Pattern[str]:
        return re.compile(self.night + ARCHIVE_ENDING)

    @cached_property
    def _ending(self) -> re.Pattern[str]:
        return re.compile(self.parts[-1][1] + r"\Z")

    @cached_property
    def _beside(self) -> re.Pattern[str]:
        return re.compile(self.beside)

    @cached_property
    def _begins(self) -> tuple[re.Pattern[str], ...]:
        patterns = [pattern for _, pattern in self.parts]
        return tuple(re.compile("".join(patterns[:count])) for count in range(len(patterns) + 1))


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


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
    year, micro = int(digits[:4]), int(fraction.ljust(6, "0")) if fraction else 0
    try:
        found = datetime(
            year,
            int(digits[4:6]),
            int(digits[6:8]),
            int(digits[8:10]),
            int(digits[10:12]),
            int(digits[12:]),
            micro,
        )
    except ValueError:
        return None
    return found if year in _YEARS else None


def day(text: str) -> date | None:
    """The day that YYYYMMDD names, with any separators; None if there is none."""
    digits = re.sub(r"[^0-9]", "", text)
    found = moment(f"{digits}000000") if len(digits) == 8 else None
    return found.date() if found else None
