"""Releases: immutable catalogues of everything that is scored.

::

    releases/<release>/candidates/station=<id>/<year>.parquet
    releases/<release>/frames/station=<id>/<year>.parquet
    releases/<release>/coverage/coverage.parquet
    releases/<release>/release.json            what it was made from, written last
    releases/latest                            the name of the newest release
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import groupby
from typing import Any

import pyarrow as pa

from nightsift import __version__
from nightsift.archive.errors import ConfigurationError, NightsiftError, UsageError
from nightsift.archive.layouts import FrameRef
from nightsift.archive.nights import StationNight
from nightsift.archive.receipts import ReceiptName, read_receipt
from nightsift.archive.stations import Station
from nightsift.archive.stores import Workspace
from nightsift.catalogs.clouds import Sightings
from nightsift.catalogs.ledger import coverage_table, sightings_of, whole_ledger
from nightsift.catalogs.nights import NightRows, scored_night, unscored_night
from nightsift.catalogs.parquet import WrittenFile, read_table, write_tables
from nightsift.catalogs.schema import CANDIDATES, COVERAGE, FRAMES
from nightsift.catalogs.scores import read_scores

SCHEMA_VERSION = 3
LATEST = "releases/latest"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class NightSource:
    """A station-night as a release takes it.

    Attributes
    ----------
    refs
        Its frames in the archive.
    receipts
        The receipts of its stages when all are current; empty otherwise.
    reason, detail
        Why there are none: ``failed`` or ``unprocessed``, and in words.
    """

    station: Station
    unit: StationNight
    refs: tuple[FrameRef, ...]
    receipts: tuple[ReceiptName, ...] = ()
    reason: str = "unprocessed"
    detail: str | None = None


@dataclass(frozen=True)
class ReleaseSettings:
    """What a release depends on besides the scores."""

    threshold: float
    model: str
    model_sha256: str
    parameters: Mapping[str, Any]


def release_name(workspace: Workspace, today: date) -> str:
    """The next free name of the day, such as ``2026-11-20.1``."""
    taken = set(list_releases(workspace))
    number = 1
    while (name := f"{today.isoformat()}.{number}") in taken:
        number += 1
    return name


def list_releases(workspace: Workspace) -> list[str]:
    """Names of the complete releases, sorted."""
    keys = (key.split("/") for key in workspace.names("releases"))
    return sorted(parts[1] for parts in keys if len(parts) == 3 and parts[2] == "release.json")


def latest_release(workspace: Workspace) -> str | None:
    """Name of the newest release; None before the first."""
    try:
        return workspace.read(LATEST).decode().strip()
    except FileNotFoundError:
        return None


def read_release(workspace: Workspace, name: str | None = None) -> dict[str, Any]:
    """A release's ``release.json``; of the latest when no name is given.

    Raises
    ------
    UsageError
        There is no such release; names those that there are.
    """
    found = name or latest_release(workspace)
    known = list_releases(workspace)
    if found not in known:
        raise UsageError(
            f"there is no release {found or 'yet'} in {workspace.url}",
            expected=f"one of {', '.join(known)}" if known else "at least one release",
            mend="name one of these" if known else "run `nightsift run` first",
        )
    content: dict[str, Any] = json.loads(workspace.read(f"releases/{found}/release.json"))
    return content


def refuse_taken_name(workspace: Workspace, name: str) -> None:
    """A release is immutable: its name is given once.

    Raises
    ------
    ConfigurationError
        A release of this name exists, or the name cannot be one.
    """
    if name == "latest" or not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a release",
            expected="a letter or digit, then letters, digits, '.', '-' and '_'; not 'latest'",
            mend="choose another --release",
        )
    if name in list_releases(workspace):
        raise ConfigurationError(
            f"release {name!r} exists in {workspace.url} and is immutable",
            expected="a name not used yet",
            mend="choose another --release",
        )


def build_release(
    workspace: Workspace,
    name: str,
    sources: Sequence[NightSource],
    settings: ReleaseSettings,
    progress: Callable[[NightSource], None] = lambda _: None,
) -> dict[str, Any]:
    """Write the tables of a release of all ``sources``, sorted by station and night.

    Returns
    -------
    dict
        The content of ``release.json``, for `seal_release`.

    Raises
    ------
    ConfigurationError
        The name is taken.
    NightsiftError
        A night's rows do not add up to its frames.

    Notes
    -----
    Memory is bounded by one station-year: its frames are written to one file, a row group a night.
    """
    refuse_taken_name(workspace, name)
    workspace.delete_tree(f"releases/{name}")
    files: list[WrittenFile] = []
    coverage: list[Mapping[str, Any]] = []
    for station, of_station in groupby(sources, lambda source: source.station):
        rows: list[Mapping[str, Any]] = []
        sightings: list[Sightings] = []
        for year, of_year in groupby(of_station, lambda source: source.unit.night.year):
            nights = [_rows(workspace, source, settings.threshold, progress) for source in of_year]
            for product, schema in (("candidates", CANDIDATES), ("frames", FRAMES)):
                key = f"releases/{name}/{product}/station={station.id}/{year}.parquet"
                tables = (getattr(night, product) for night in nights)
                files.append(write_tables(workspace, key, schema, tables))
            rows.extend(night.coverage for night in nights)
            sightings.extend(sightings_of(night.frames) for night in nights)
        coverage.extend(whole_ledger(station, rows, sightings))
    key = f"releases/{name}/coverage/coverage.parquet"
    files.append(write_tables(workspace, key, COVERAGE, [coverage_table(coverage)]))
    stations = {source.station.id: source.station for source in sources}.values()
    return _release_json(name, files, coverage, stations, settings)


def seal_release(workspace: Workspace, content: Mapping[str, Any]) -> None:
    """Write ``release.json``: from then on the release is complete, and immutable."""
    text = json.dumps(content, indent=1) + "\n"
    workspace.write(f"releases/{content['release']}/release.json", text.encode())


def point_latest(workspace: Workspace, name: str) -> None:
    """Make ``latest`` name a release."""
    if latest_release(workspace) != name:
        workspace.write(LATEST, f"{name}\n".encode())


def _rows(
    workspace: Workspace, source: NightSource, threshold: float, progress: Callable[[NightSource], None]
) -> NightRows:
    progress(source)
    if not source.receipts:
        return unscored_night(source.station, source.unit, source.refs, source.reason, source.detail)
    said = {name.stage: read_receipt(workspace, name) for name in source.receipts}
    rows = scored_night(
        source.station,
        source.unit,
        read_scores(workspace, source.unit),
        said["frames"]["rejected"],
        said["differences"]["dark_s"],
        threshold,
    )
    lost = _without_row(source.refs, rows.frames["frame_key"].to_pylist())
    if lost:
        raise NightsiftError(
            f"{source.unit}: the products do not add up",
            expected=f"a row for each of {len(source.refs)} objects",
            found=f"none for {len(lost)} of them, such as {lost[0]}",
            mend=f"remove receipts/frames/{source.unit} from the workspace and run again",
        )
    return rows


def _without_row(refs: Sequence[FrameRef], keys: Sequence[str]) -> list[str]:
    """Objects of which no row tells; a video or an archive has rows of what is in it."""
    present = set(keys)
    missing = [ref.key for ref in refs if ref.key not in present]
    return [key for key in missing if not any(row.startswith((f"{key}/", f"{key}#")) for row in present)]


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _release_json(
    name: str,
    files: Sequence[WrittenFile],
    coverage: Sequence[Mapping[str, Any]],
    stations: Iterable[Station],
    settings: ReleaseSettings,
) -> dict[str, Any]:
    prefix = f"releases/{name}/"
    totals = ("frames_present", "frames_usable", "pairs_scored", "failed", "unprocessed", "candidates")
    return {
        "release": name,
        "version": __version__,
        "schema": SCHEMA_VERSION,
        "model": settings.model,
        "model_sha256": settings.model_sha256,
        "threshold": settings.threshold,
        "parameters": dict(settings.parameters),
        "stations": [station.model_dump(mode="json") for station in stations],
        "lineage": _digest(str(row["lineage"]) for row in coverage),
        "counts": {
            "stations": len({row["station"] for row in coverage}),
            "nights": sum(row["frames_present"] > 0 for row in coverage),
            "nights_blind": sum(row["frames_present"] == 0 for row in coverage),
            **{total: sum(row[total] or 0 for row in coverage) for total in totals},
            "live_time_s": sum(row["live_time_s"] for row in coverage),
        },
        "files": [{**asdict(file), "key": file.key.removeprefix(prefix)} for file in files],
    }


def read_product(
    workspace: Workspace, release: Mapping[str, Any], product: str, columns: Sequence[str] | None = None
) -> Any:
    """Read ``candidates``, ``frames`` or ``coverage`` of a release as one Arrow table, with ``station``.

    Parameters
    ----------
    release
        As `read_release` gives it.
    columns
        Those to read besides ``station``; all by default.
    """
    tables = []
    for file in release["files"]:
        folder, *partition, _ = file["key"].split("/")
        if folder != product:
            continue
        table = read_table(workspace, f"releases/{release['release']}/{file['key']}", columns)
        for part in partition:
            table = table.append_column(
                "station", pa.array([part.removeprefix("station=")] * len(table), pa.string())
            )
        tables.append(table)
    return pa.concat_tables(tables)
