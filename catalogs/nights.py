"""One night's rows of a release: frames, candidates and coverage, from its scores and receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nightsift.archive.layouts import FrameRef
from nightsift.archive.nights import StationNight
from nightsift.archive.stations import Station
from nightsift.catalogs.ledger import coverage_row
from nightsift.catalogs.schema import CANDIDATES, FRAMES
from nightsift.catalogs.tracks import link_tracks, track_positions, track_speed


@dataclass(frozen=True)
class NightRows:
    """What a night adds to a release."""

    frames: Any
    candidates: Any
    coverage: Mapping[str, Any]


def scored_night(
    station: Station,
    unit: StationNight,
    scores: Any,
    rejected: Sequence[Mapping[str, Any]],
    dark_s: float,
    threshold: float,
) -> NightRows:
    """Rows of a night that went through every stage.

    Parameters
    ----------
    scores
        The night's scores table.
    rejected
        The frames that never reached the store: ``key, start_utc, reason, detail``.
    dark_s
        Seconds for which the Sun was below -6 degrees.
    threshold
        Score from which a frame is a candidate.
    """
    kept = _with_columns(scores.rename_columns(_catalogue_names(scores.column_names)), FRAMES)
    others = pa.Table.from_pylist([_rejected_row(row) for row in rejected], schema=FRAMES)
    frames = _of_station(pa.concat_tables([kept, others]), station, unit)
    candidates = _candidates(frames, station, threshold, _more(scores))
    coverage = coverage_row(station, unit, frames, candidates.num_rows, dark_s=dark_s)
    return NightRows(frames, candidates, coverage)


def unscored_night(
    station: Station, unit: StationNight, refs: Sequence[FrameRef], reason: str, detail: str | None
) -> NightRows:
    """Rows of a night without scores: each frame has a reason, ``failed`` or ``unprocessed`` if no other."""
    rows = [
        {
            "frame_key": ref.key,
            "start_utc": ref.start_utc,
            "reason": ref.reason or reason,
            "detail": None if ref.reason else detail,
        }
        for ref in refs
    ]
    frames = _of_station(pa.Table.from_pylist(rows, schema=FRAMES), station, unit)
    coverage = coverage_row(station, unit, frames, 0, processed=False)
    return NightRows(frames, CANDIDATES.empty_table(), coverage)


def _catalogue_names(names: Sequence[str]) -> list[str]:
    return ["score" if name == "score_meteor" else name for name in names]


def _rejected_row(row: Mapping[str, Any]) -> dict[str, Any]:
    start = datetime.fromisoformat(row["start_utc"]) if row["start_utc"] else None
    return {"frame_key": row["key"], "start_utc": start, "reason": row["reason"], "detail": row["detail"]}


def _with_columns(table: Any, schema: Any) -> Any:
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _of_station(frames: Any, station: Station, unit: StationNight) -> Any:
    for name, value in (("network", station.network), ("night", unit.night)):
        field = FRAMES.field(name)
        column = pa.array([value] * len(frames), field.type)
        frames = frames.set_column(frames.column_names.index(name), field, column)
    return frames.sort_by([("start_utc", "ascending"), ("frame_key", "ascending")])


def _more(scores: Any) -> dict[str, list[dict[str, Any]]]:
    """Of each frame the places besides its first, strongest first."""
    if "more" not in scores.column_names:
        return {}
    named = zip(scores["frame_key"].to_pylist(), scores["more"].to_pylist(), strict=True)
    return {key: [_of_candidate(place) for place in places] for key, places in named if places}


def _of_candidate(place: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in place.items() if name in CANDIDATES.names}


def _candidates(
    frames: Any, station: Station, threshold: float, more: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Any:
    """One row per place: a frame with two meteors gives two."""
    found = frames.filter(pc.greater_equal(frames["score"], pa.scalar(threshold, pa.float32()))).to_pylist()
    place = {name: getattr(station, name) for name in ("latitude_deg", "longitude_deg", "height_msl_m")}
    rows = [
        {
            **row,
            **place,
            **other,
            "candidate_id": _candidate_id(station, row["start_utc"], number),
            "threshold": threshold,
            "flags": [],
        }
        for row in found
        for number, other in enumerate(({}, *more.get(row["frame_key"], ())))
        if not other or other["score"] >= threshold
    ]
    for row, (track, length) in zip(rows, link_tracks(rows), strict=True):
        row.update(track_id=track, track_frames=length)
    _add_speeds(rows)
    return pa.Table.from_pylist(rows, schema=CANDIDATES)


def _add_speeds(rows: Sequence[dict[str, Any]]) -> None:
    """Speeds of tracks of several frames, where no time map told them."""
    tracks: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        tracks.setdefault(row["track_id"], []).append(row)
    for members in tracks.values():
        speed = track_speed(track_positions(members))
        for row in members:
            if row["speed_px_s"] is None:
                row["speed_px_s"] = speed


def _candidate_id(station: Station, start_utc: datetime, number: int = 0) -> str:
    return f"{station.id}_{start_utc:%Y%m%d_%H%M%S}_{start_utc.microsecond // 1000:03d}_{number}"
