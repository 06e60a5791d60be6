"""Stations: the cameras that an archive comes from, read from ``stations.toml``."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, tzinfo
from difflib import get_close_matches
from itertools import pairwise
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.settings import read_toml, validate


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"expected an IANA time zone such as 'Europe/Madrid', found {name!r}") from error
    return name


def _no_number(station_id: str) -> str:
    if station_id.isdecimal():
        raise ValueError("expected a letter in it: readers take the folder station=025 for the number 25")
    return station_id


_ID = "[A-Za-z0-9][A-Za-z0-9_-]*"
LayoutName = Literal["allsky", "indi-allsky", "dfn", "rms", "fits", "video"]


def _ordered_box(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise ValueError("expected [x0, y0, x1, y1] with 0 <= x0 < x1 and 0 <= y0 < y1")
    return box


Box = Annotated[tuple[int, int, int, int], AfterValidator(_ordered_box)]
Circle = tuple[float, float, Annotated[float, Field(gt=0)]]


class Station(BaseModel):
    """One camera of a network. Azimuths and times are derived from it, never guessed.

    Attributes
    ----------
    longitude_deg
        Positive eastwards.
    height_msl_m
        Above mean sea level.
    timezone
        Civil time of the station: its nights run from noon to noon.
    clock
        Whether names without a zone of their own are in civil time (``local``) or in UTC (``utc``).
    cadence_s, exposure_s
        From one start of exposure to the next; length of an exposure.
    archive_name, camera
        The station as the archive's names have it, where that is not ``id``; the one camera of several that
        this entry is about.
    fits_time, fits_clock
        The instant of the exposure that DATE-OBS names, and whether dates of FITS headers are in UTC, as the
        standard has it, or in civil time.
    folder_date
        Whether a night's folder is dated by its evening or by its morning.
    exclude_px
        Boxes x0, y0, x1, y1 that are not sky, such as a watermark; x1 and y1 are the first outside.
    circle_px
        Centre x, y and radius of an all-sky image: beyond it is no sky.
    mask
        Image file whose dark pixels are not sky; relative to the stations file.
    valid_from, valid_to
        First and last night for which this entry holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=f"^{_ID}$"), AfterValidator(_no_number)]
    network: str
    latitude_deg: Annotated[float, Field(ge=-90, le=90)]
    longitude_deg: Annotated[float, Field(ge=-180, le=360)]
    height_msl_m: float
    timezone: Annotated[str, AfterValidator(_known_timezone)]
    layout: LayoutName
    cadence_s: Annotated[float, Field(gt=0)]
    exposure_s: Annotated[float, Field(gt=0)]
    clock: Literal["local", "utc"] = "local"
    archive_name: Annotated[str, Field(min_length=1)] | None = None
    camera: Annotated[str, Field(min_length=1)] | None = None
    fits_time: Literal["start", "middle", "end"] = "start"
    fits_clock: Literal["utc", "local"] = "utc"
    folder_date: Literal["evening", "morning"] = "evening"
    exclude_px: tuple[Box, ...] = ()
    circle_px: Circle | None = None
    mask: Annotated[str, Field(min_length=1)] | None = None
    valid_from: date | None = None
    valid_to: date | None = None

    @model_validator(mode="after")
    def _dates_in_order(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ValueError("expected valid_from not after valid_to")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The station's civil time zone."""
        return ZoneInfo(self.timezone)

    @property
    def fits_zone(self) -> tzinfo:
        """The zone of dates in FITS headers."""
        return UTC if self.fits_clock == "utc" else self.zone

    @property
    def name_in_archive(self) -> str:
        """The station as the archive's names have it."""
        return self.archive_name or self.id

    def holds_on(self, night: date) -> bool:
        """Whether this entry is about a night."""
        return (self.valid_from or date.min) <= night <= (self.valid_to or date.max)


# What the files of an RMS station tell themselves; see `nightsift.archive.rms_stations`.
_STAND_INS: Mapping[str, Any] = {
    "latitude_deg": 0.0,
    "longitude_deg": 0.0,
    "height_msl_m": 0.0,
    "timezone": "UTC",
    "cadence_s": 1.0,
    "exposure_s": 1.0,
}


class _StationsFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    station: tuple[Station, ...]


@dataclass(frozen=True)
class Incomplete:
    """A station of layout ``rms`` of which the archive has to tell the rest.

    Attributes
    ----------
    station
        With stand-ins for what is missing.
    missing
        The keys that the stations file leaves out.
    """

    station: Station
    missing: tuple[str, ...]


class Stations(Mapping[str, Station]):
    """The stations of one ``stations.toml``, by id.

    >>> stations = Stations.parse('''
    ... [[station]]
    ... id = "UK0006"
    ... network = "UKMON"
    ... latitude_deg = 51.9
    ... longitude_deg = -1.3
    ... height_msl_m = 80.0
    ... timezone = "UTC"
    ... layout = "allsky"
    ... cadence_s = 51
    ... exposure_s = 51
    ... ''', "stations.toml")
    >>> stations["UK0006"].network
    'UKMON'
    >>> stations["UK0007"]
    Traceback (most recent call last):
    nightsift.archive.errors.ConfigurationError: station 'UK0007' is not described in stations.toml
      expected: one of UK0006
      mend: add a [[station]] with id = "UK0007" to stations.toml
    """

    def __init__(
        self, stations: tuple[Station, ...], source: str, incomplete: tuple[Incomplete, ...] = ()
    ) -> None:
        self._by_id = {station.id: station for station in stations}
        self.source = source
        self.incomplete = incomplete
        _refuse_twice((*stations, *(entry.station for entry in incomplete)), source)

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """Read the text of a stations file; ``source`` names it in errors.

        Stations of layout ``rms`` may leave out what their archive tells: they are in ``incomplete``.
        """
        values = read_toml(text, source)
        entries = values.get("station")
        if isinstance(entries, list):
            values["station"] = [_with_stand_ins(entry) for entry in entries]
        stations = validate(_StationsFile, values, source).station
        missing = [tuple(key for key in _STAND_INS if key not in entry) for entry in entries or ()]
        pairs = list(zip(stations, missing, strict=True))
        whole = tuple(station for station, keys in pairs if not keys)
        return cls(whole, source, tuple(Incomplete(station, keys) for station, keys in pairs if keys))

    @property
    def entries(self) -> Mapping[str, Station]:
        """Every entry of the file by id, the incomplete ones with stand-ins for what is missing."""
        return self._by_id | {entry.station.id: entry.station for entry in self.incomplete}

    def completed(self, told: Mapping[str, Mapping[str, Any]]) -> Self:
        """These stations, the incomplete ones filled with what their archives told, by id.

        Raises
        ------
        ConfigurationError
            Something is still missing, or out of range.
        """
        filled = []
        for station, missing in ((entry.station, entry.missing) for entry in self.incomplete):
            values = station.model_dump(exclude=set(missing))
            found = {key: value for key, value in told.get(station.id, {}).items() if key in missing}
            source = f"{self.source} (station {station.id}, with what its archive tells)"
            filled.append(validate(Station, {**values, **found}, source))
        return type(self)((*self.values(), *filled), self.source)

    def __getitem__(self, station_id: str) -> Station:
        try:
            return self._by_id[station_id]
        except KeyError:
            raise self.unknown({station_id: ""}) from None

    def unknown(self, names: Mapping[str, str]) -> ConfigurationError:
        """The error for names of stations that this file does not describe, each with its layout.

        Its mend is a ready entry for a station of layout ``rms``, whose archive tells the rest.
        """
        first, *others = sorted(names)
        known = ", ".join(sorted(self._by_id)) or "none"
        near = get_close_matches(first, self._by_id, n=1)
        more = f"; nor are {len(others)} others: {_listed(others)}" if others else ""
        return ConfigurationError(
            f"station {first!r} is not described in {self.source}{more}",
            expected=f"one of {known}" + (f" (did you mean {near[0]}?)" if near and len(self) > 1 else ""),
            mend=_template(first, names[first], self.source),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (", …" if len(names) > 10 else "")


def _template(name: str, layout: str, source: str) -> str:
    """How to describe a station: in full where the archive tells the rest."""
    usable = re.fullmatch(_ID, name) is not None and not name.isdecimal()
    station_id = name if usable else f"{layout}-{re.sub('[^A-Za-z0-9_-]+', '-', name).strip('-')}"
    keys = {"id": station_id} | ({} if usable else {"archive_name": name})
    if layout != "rms":
        said = " and ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items())
        return f"add a [[station]] with {said} to {source}"
    keys |= {"network": "YOUR NETWORK", "layout": layout}
    lines = "\n".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items())
    return f"add to {source}, for the archive tells the rest:\n\n[[station]]\n{lines}\n"


def _with_stand_ins(entry: Any) -> Any:
    rms = isinstance(entry, dict) and entry.get("layout") == "rms"
    return {**_STAND_INS, **entry} if rms else entry


def _refuse_twice(stations: tuple[Station, ...], source: str) -> None:
    ids = Counter(station.id for station in stations)
    twice = sorted(station_id for station_id, count in ids.items() if count > 1)
    if twice:
        raise ConfigurationError(
            f"{source} describes a station twice",
            expected="every id once",
            found=", ".join(twice),
            mend="remove or rename one of the two",
        )
    for one, other in _rivals(stations):
        raise ConfigurationError(
            f"{source} gives the same frames to two stations: {one.id} and {other.id}",
            expected="another archive_name, camera, layout, or dates that do not overlap",
            found=f"archive_name {one.name_in_archive!r}, camera {one.camera!r} for both",
            mend="set valid_from and valid_to, or remove one of the two",
        )


def _rivals(stations: tuple[Station, ...]) -> Iterator[tuple[Station, Station]]:
    """Stations of one name whose dates overlap; in order of their first night only neighbours can."""
    named: defaultdict[tuple[str, str, str | None], list[Station]] = defaultdict(list)
    for station in sorted(stations, key=lambda station: station.valid_from or date.min):
        named[station.layout, station.name_in_archive, station.camera].append(station)
    for same in named.values():
        for one, other in pairwise(same):
            if (other.valid_from or date.min) <= (one.valid_to or date.max):
                yield one, other
