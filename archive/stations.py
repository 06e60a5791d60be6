"""Stations: the cameras that an archive comes from, read from ``stations.toml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.settings import parse_toml


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
    fits_time
        The instant of the exposure that DATE-OBS names.
    folder_date
        Whether a night's folder is dated by its evening or by its morning.
    exclude_px
        Boxes x0, y0, x1, y1 that are not sky, such as a watermark; x1 and y1 are the first outside.
    circle_px
        Centre x, y and radius of an all-sky image: beyond it is no sky.
    mask
        Image file whose black pixels are not sky; relative to the stations file.
    valid_from, valid_to
        First and last night for which this entry holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$"), AfterValidator(_no_number)]
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
    def name_in_archive(self) -> str:
        """The station as the archive's names have it."""
        return self.archive_name or self.id

    def holds_on(self, night: date) -> bool:
        """Whether this entry is about a night."""
        return (self.valid_from or date.min) <= night <= (self.valid_to or date.max)


class _StationsFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    station: tuple[Station, ...]


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

    def __init__(self, stations: tuple[Station, ...], source: str) -> None:
        self._by_id = {station.id: station for station in stations}
        self.source = source
        if len(self._by_id) < len(stations):
            ids = [station.id for station in stations]
            twice = sorted({i for i in ids if ids.count(i) > 1})
            raise ConfigurationError(
                f"{source} describes a station twice",
                expected="every id once",
                found=", ".join(twice),
                mend="remove or rename one of the two",
            )

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """Read the text of a stations file; ``source`` names it in errors."""
        return cls(parse_toml(_StationsFile, text, source).station, source)

    def __getitem__(self, station_id: str) -> Station:
        try:
            return self._by_id[station_id]
        except KeyError:
            near = get_close_matches(station_id, self._by_id, n=1)
            known = ", ".join(sorted(self._by_id)) or "none"
            raise ConfigurationError(
                f"station {station_id!r} is not described in {self.source}",
                expected=f"one of {known}"
                + (f" (did you mean {near[0]}?)" if near and len(self) > 1 else ""),
                mend=f'add a [[station]] with id = "{station_id}" to {self.source}',
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)
