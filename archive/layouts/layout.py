"""What a layout is: the parts of a key in order, and a function from what they matched to a claim."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from typing import NamedTuple

from nightsift.archive.layouts.claims import Claim
from nightsift.archive.layouts.stamps import day, moment

_SHOWN = 60  # characters of a key that a message shows
ARCHIVE_ENDING = r"\.(?i:tar|tar\.gz|tgz|tar\.bz2|zip)"
# STATION/…/YYYYMMDD, which most networks' archives of a night are named after.
DATED_NIGHT = r"(?P<station>[^/]+)/(?:[^/]+/)*?(?P<folder>[0-9]{4}(?P<dash>[-_]?)[0-9]{2}(?P=dash)[0-9]{2})"


class NearMiss(NamedTuple):
    """How far a key fits a layout.

    Attributes
    ----------
    share
        Of the layout's parts that not every name fits, how many fit.
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
        Label and regular expression of each part of a key; joined they are the expression of the whole key.
        The label of a part that may be absent is in brackets.
    ending
        Expression of how the names of its pictures end.
    read
        From the match of a whole key to a claim; None for an object that is no frame after all.
    night
        Expression of the folder of one night, as an archive made from it is named: with the groups
        ``station``, ``folder`` (its date) and, where it is dated by its first frame in UTC, ``begin``.
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
    ending: str
    read: Callable[[re.Match[str]], Claim | None]
    night: str = DATED_NIGHT
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
        """Read the key of an archive of a night: its station, and the date or the begin of its folder."""
        match = self._night.fullmatch(key)
        groups = match.groupdict() if match else {}
        folder = day(groups["folder"]) if match else None
        if folder is None:
            return None
        begin = moment(groups["folder"] + groups["begin"]) if groups.get("begin") else None
        return Claim(groups["station"], folder_date=folder, start_utc=begin and begin.replace(tzinfo=UTC))

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
        labels = [label for label, _ in self.parts]
        begin, rest = key[: match.end()], key[match.end() :]
        if fitting < len(labels):
            fault = f"expected {labels[fitting]}, found {_head(rest)}"
        else:
            fault = (
                f"expected nothing more, found {_head(rest)}"
                if rest
                else "no night or time can be read in it"
            )
        fits = f"{_tail(begin)} fits {''.join(labels[:fitting])}; " if begin else ""
        return NearMiss(_told(labels[:fitting]) / _told(labels), f"{self.name}: {fits}{fault}")

    @cached_property
    def _key(self) -> re.Pattern[str]:
        return re.compile("".join(pattern for _, pattern in self.parts))

    @cached_property
    def _night(self) -> re.Pattern[str]:
        return re.compile(self.night + ARCHIVE_ENDING)

    @cached_property
    def _ending(self) -> re.Pattern[str]:
        return re.compile(self.ending + r"\Z")

    @cached_property
    def _beside(self) -> re.Pattern[str]:
        return re.compile(self.beside)

    @cached_property
    def _begins(self) -> tuple[re.Pattern[str], ...]:
        patterns = [pattern for _, pattern in self.parts]
        return tuple(re.compile("".join(patterns[:count])) for count in range(len(patterns) + 1))


def _told(labels: Sequence[str]) -> int:
    # What may be absent fits every name, and so does a first folder.
    return sum(not label.startswith(("[", "STATION/")) for label in labels)


def _head(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")


def _tail(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"...{text[3 - _SHOWN :]}")
