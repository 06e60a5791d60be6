"""What the files of an RMS station tell of the station: where it is, and how long its exposures are.

RMS leaves two files beside the FF files of a night: ``.config``, its settings (``RMS/ConfigReader.py``), and
``platepar_cmn2010.cal``, the astrometric solution as JSON (``RMS/Formats/Platepar.py``). Both hold the
position: WGS84 degrees, and metres above mean sea level.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from configparser import Error as IniError
from configparser import RawConfigParser
from dataclasses import dataclass
from posixpath import dirname, join
from typing import Any

import erfa

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.layouts import LAYOUTS
from nightsift.archive.stations import Incomplete, Stations
from nightsift.archive.stores import Archive, StoredObject

CONFIG, PLATEPAR = ".config", "platepar_cmn2010.cal"
FF_FRAMES = 256  # video frames that RMS makes one FF file of
MOST_APART_M = 1000.0
_EARTH_RADIUS_M = 6_371_000.0


@dataclass(frozen=True)
class Told:
    """What one file tells.

    Attributes
    ----------
    source
        Key of the file.
    code
        The station that it says it is of; None if it says nothing.
    values
        By their keys in ``stations.toml``.
    """

    source: str
    code: str | None
    values: Mapping[str, float]


def complete_stations(
    stations: Stations, archive: Archive, objects: Iterable[StoredObject]
) -> tuple[Stations, tuple[str, ...]]:
    """Fill in what ``stations.toml`` leaves out of stations of layout ``rms``.

    Position and height come from the platepar, or from ``.config`` where there is none; exposure and
    cadence from the frame rate in ``.config``; the time zone, of which only the nights depend, is the
    nautical one of the longitude. The files beside the first night are taken: later ones change nothing,
    so that new nights never make old ones stale.

    Parameters
    ----------
    objects
        The archive's objects; read only where a station is incomplete.

    Returns
    -------
    Stations, tuple of str
        All stations complete, and what a person should know of how they were filled.

    Raises
    ------
    ConfigurationError
        The two files disagree on the position by more than a kilometre, or something is still missing.
    StorageError
        The archive failed.
    """
    if not stations.incomplete:
        return stations, ()
    beside = _files_beside(stations.incomplete, objects)
    told: dict[str, Mapping[str, Any]] = {}
    notes: list[str] = []
    for entry in stations.incomplete:
        files = [_read(archive, key) for key in beside[entry.station.name_in_archive]]
        told[entry.station.id] = _filled(entry, files)
        notes += _notes(entry, files)
    return stations.completed(told), tuple(notes)


def _files_beside(
    incomplete: Sequence[Incomplete], objects: Iterable[StoredObject]
) -> Mapping[str, tuple[str, ...]]:
    """The platepar and ``.config`` nearest to the first FF file of each station."""
    wanted = {entry.station.name_in_archive for entry in incomplete}
    folders: defaultdict[str, set[str]] = defaultdict(set)
    files: set[str] = set()
    for item in objects:
        claim = LAYOUTS["rms"].claim(item.key)
        if claim is not None and claim.station in wanted:
            folders[claim.station].add(dirname(item.key))
        elif item.key.rpartition("/")[2] in (CONFIG, PLATEPAR):
            files.add(item.key)
    return {
        name: tuple(key for file in (PLATEPAR, CONFIG) if (key := _nearest(file, folders[name], files)))
        for name in wanted
    }


def _nearest(name: str, folders: Iterable[str], files: set[str]) -> str | None:
    """The file of that name in the first folder that has it, or in the first folder around it."""
    level = sorted(folders)
    while level:
        for folder in level:
            if join(folder, name) in files:
                return join(folder, name)
        level = sorted({dirname(folder) for folder in level if folder})
    return None


def _read(archive: Archive, key: str) -> Told:
    (data,) = archive.fetch([key])
    text = data.decode("utf-8", errors="replace")
    return read_platepar(text, key) if key.endswith(PLATEPAR) else read_config(text, key)


def read_config(text: str, source: str) -> Told:
    r"""Read RMS's ``.config``.

    Raises
    ------
    ConfigurationError
        It is not what RMS reads.

    >>> text = "[System]\nstationID: UK0006 ; mine\nlatitude: 51.9 ; +N\n[Capture]\nfps: 25"
    >>> told = read_config(text, ".config")
    >>> told.code, told.values
    ('UK0006', {'latitude_deg': 51.9, 'exposure_s': 10.24, 'cadence_s': 10.24})
    """
    parser = RawConfigParser(inline_comment_prefixes=(";",), strict=False)
    try:
        parser.read_string(text)
    except IniError as error:
        raise _unreadable(source, "settings of RMS", error) from error
    options = {name: value for section in parser.sections() for name, value in parser.items(section)}
    values = {
        key: number
        for key, option in (
            ("latitude_deg", "latitude"),
            ("longitude_deg", "longitude"),
            ("height_msl_m", "elevation"),
        )
        if (number := _number(options.get(option))) is not None
    }
    fps = _number(options.get("fps"))
    if fps is not None and fps > 0:
        values |= {"exposure_s": FF_FRAMES / fps, "cadence_s": FF_FRAMES / fps}
    return Told(source, options.get("stationid"), values)


def read_platepar(text: str, source: str) -> Told:
    """Read the place from RMS's platepar.

    Raises
    ------
    ConfigurationError
        It is not JSON, or not an object.
    """
    try:
        found = json.loads(text)
        names = {"latitude_deg": "lat", "longitude_deg": "lon", "height_msl_m": "elev"}
        values = _numbers(found, names)
    except (ValueError, AttributeError, RecursionError) as error:
        raise _unreadable(source, "JSON of RMS's astrometry", error) from error
    code = found.get("station_code")
    return Told(source, code if isinstance(code, str) else None, values)


def _numbers(found: Mapping[str, object], names: Mapping[str, str]) -> dict[str, float]:
    return {key: number for key, name in names.items() if (number := _number(found.get(name))) is not None}


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _unreadable(source: str, expected: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"{source} cannot be read",
        expected=expected,
        found=f"{type(error).__name__}: {error}".splitlines()[0],
        mend="state the station's place, exposure_s and cadence_s in stations.toml",
    )


def _filled(entry: Incomplete, files: Sequence[Told]) -> Mapping[str, Any]:
    _refuse_far_apart(entry, files)
    # The first file that tells a value is believed: the platepar was fitted to this camera's stars.
    values: dict[str, Any] = {}
    for file in files:
        values = {**file.values, **values}
    stated = entry.station.longitude_deg if "longitude_deg" not in entry.missing else None
    longitude = values.get("longitude_deg") if stated is None else stated
    if longitude is not None:
        values["timezone"] = nautical_zone(longitude)
    return values


def nautical_zone(longitude_deg: float) -> str:
    """The zone of whole hours whose noon is nearest to the local one.

    >>> nautical_zone(-1.3), nautical_zone(148.0)
    ('UTC', 'Etc/GMT-10')
    """
    hours = round(((longitude_deg + 180) % 360 - 180) / 15)
    return f"Etc/GMT{-hours:+d}" if hours else "UTC"


def _refuse_far_apart(entry: Incomplete, files: Sequence[Told]) -> None:
    places = [file for file in files if {"latitude_deg", "longitude_deg"} <= file.values.keys()]
    if len(places) < 2 or not {"latitude_deg", "longitude_deg"} & set(entry.missing):
        return
    apart_m = _distance_m(places[0].values, places[1].values)
    if apart_m > MOST_APART_M:
        raise ConfigurationError(
            f"the archive tells two positions of station {entry.station.id}",
            expected=f"{places[0].source} and {places[1].source} within {MOST_APART_M / 1000:g} km",
            found=f"{apart_m / 1000:.1f} km apart",
            mend="state latitude_deg, longitude_deg and height_msl_m in stations.toml",
        )


def _distance_m(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    places = (math.radians(place[key]) for place in (one, other) for key in ("longitude_deg", "latitude_deg"))
    return float(erfa.seps(*places)) * _EARTH_RADIUS_M


def _notes(entry: Incomplete, files: Sequence[Told]) -> list[str]:
    name = entry.station.name_in_archive
    sources = " and ".join(file.source for file in files)
    filled = f"station {entry.station.id}: {', '.join(entry.missing)} filled from {sources}"
    return [filled] + [
        f"station {entry.station.id}: {file.source} says that it is of station {file.code}, its frames {name}"
        for file in files
        if file.code not in (None, name)
    ]
