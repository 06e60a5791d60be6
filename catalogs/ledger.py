"""The coverage ledger: for each night of a station what its camera could have seen, and what became of it."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nightsift.archive.nights import StationNight
from nightsift.archive.stations import Station
from nightsift.archive.sun import dark_seconds
from nightsift.catalogs.clouds import Sightings, cloud_fractions
from nightsift.catalogs.schema import COVERAGE, FRAMES, REASONS, reason_column

Row = Mapping[str, Any]


def coverage_row(
    station: Station,
    unit: StationNight,
    frames: Any,
    candidates: int,
    *,
    processed: bool = True,
    dark_s: float | None = None,
) -> Row:
    """The ledger's row of a night; ``cloud`` is null until `whole_ledger` compares the station's nights.

    Parameters
    ----------
    frames
        The night's rows of the table `frames`.
    processed
        Whether its frames were looked at: if not, nobody knows how many could be used.
    dark_s
        Seconds for which the Sun was below -6 degrees; computed if None.
    """
    reasons = Counter(reason for reason in frames["reason"].to_pylist() if reason)
    scored = pc.is_valid(frames["score"])
    live = pc.sum(pc.filter(frames["exposure_s"], scored)).as_py()
    dark = dark_seconds(station, unit.night) if dark_s is None else dark_s
    lineages = "".join(text for text in frames["lineage"].to_pylist() if text)
    return {
        "station": station.id,
        "network": station.network,
        "night": unit.night,
        "frames_expected": math.floor(dark / station.cadence_s),
        "frames_present": len(frames),
        "frames_usable": _count(frames["sky_brightness"]) if processed else None,
        "frames_paired": _count(frames["previous_key"]) if processed else None,
        "pairs_scored": _count(frames["score"]),
        "live_time_s": live or 0.0,
        **{reason_column(name): reasons[name] for name in REASONS},
        "candidates": candidates,
        "sky_brightness": _median(frames["sky_brightness"]),
        "noise": _median(frames["noise"]),
        "stars": _median(frames["stars"]),
        "cloud": None,
        "lineage": hashlib.sha256(lineages.encode()).hexdigest()[:20],
    }


def _count(column: Any) -> int:
    return len(column) - int(column.null_count)


def _median(column: Any) -> float | None:
    values = pc.drop_null(column)
    return pc.quantile(values, 0.5)[0].as_py() if len(values) else None


def sightings_of(frames: Any) -> Sightings:
    """What the stars in a night's rows of the table `frames` say about clouds."""
    seen = frames.filter(pc.is_valid(frames["star_cells"]))
    return Sightings(
        tuple(seen["start_utc"].to_pylist()),
        np.asarray(seen["star_cells"].to_numpy(), np.float32),
        np.asarray(seen["sun_altitude_deg"].to_numpy(), np.float64),
    )


def whole_ledger(station: Station, rows: Sequence[Row], sightings: Sequence[Sightings]) -> list[Row]:
    """All rows of a station from its first to its last night in the archive.

    Parameters
    ----------
    rows
        Of its nights in the archive, in order.
    sightings
        Of the same nights.

    Returns
    -------
    list of dict
        With ``cloud``, and with a row without frames for each night between on which the camera recorded
        nothing: it was blind.
    """
    clouds = cloud_fractions(station, sightings)
    told = [{**row, "cloud": cloud} for row, cloud in zip(rows, clouds, strict=True)]
    return sorted([*told, *_blind_nights(station, rows)], key=lambda row: row["night"])


def _blind_nights(station: Station, rows: Sequence[Row]) -> Iterator[Row]:
    nights = {row["night"] for row in rows}
    for number in range((max(nights) - min(nights)).days):
        night = min(nights) + timedelta(days=number)
        if night not in nights and station.holds_on(night):
            yield coverage_row(station, StationNight(station.id, night), FRAMES.empty_table(), 0)


def coverage_table(rows: Sequence[Row]) -> Any:
    """The coverage ledger as a table, one row per station-night."""
    return pa.Table.from_pylist(rows, schema=COVERAGE)
