"""Tracks: candidates of consecutive frames that continue one another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

MAX_TURN_DEG = 15.0
MAX_OFFSET_PX = 10.0
MAX_OFFSET_SHARE = 0.15  # of the longer trail: a curved path leaves its tangent
MAX_JUMP_SHARE = 1.0  # of the longer trail, between the near ends


def link_tracks(candidates: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Track of each candidate of one station-night.

    Two candidates belong to one track when the second's frame follows the first's directly and its trail
    lies on the line of the first: directions within 15 degrees, ends within 10 px or 15 % of the longer
    trail from the line, near ends no further apart than the longer trail.

    Parameters
    ----------
    candidates
        Rows in time order with ``candidate_id``, ``frame_key``, ``previous_key`` and the trail's ends.

    Returns
    -------
    list of (track_id, track_frames)
        The id is that of the track's first candidate; a candidate alone is a track of one.
    """
    track_of: dict[str, str] = {}
    by_frame: dict[str, list[Mapping[str, Any]]] = {}
    for row in candidates:
        earlier = by_frame.get(row["previous_key"], [])
        joined = next((other for other in earlier if continues(other, row)), None)
        track_of[row["candidate_id"]] = track_of[joined["candidate_id"]] if joined else row["candidate_id"]
        by_frame.setdefault(row["frame_key"], []).append(row)
    tracks = list(track_of.values())
    return [
        (track_of[row["candidate_id"]], tracks.count(track_of[row["candidate_id"]])) for row in candidates
    ]


@dataclass(frozen=True)
class TrackPosition:
    """Where a track was in one frame: the middle of its trail, at the middle of the exposure."""

    time_utc: datetime
    x_px: float
    y_px: float


def track_positions(candidates: Sequence[Mapping[str, Any]]) -> tuple[TrackPosition, ...]:
    """Positions of one track, frame by frame, in order of time.

    Parameters
    ----------
    candidates
        Rows of one track with ``start_utc``, ``exposure_s`` and the trail's ends; those without a trail are
        left out.

    Notes
    -----
    A trail that the frame's edge or the Earth's shadow cuts has its middle too near to the cut.
    """
    fitted = (row for row in candidates if row["length_px"] is not None)
    return tuple(_position(row) for row in sorted(fitted, key=lambda row: row["start_utc"]))


def track_speed(positions: Sequence[TrackPosition]) -> float | None:
    """Median speed from frame to frame, in pixels a second; None for fewer than two positions."""
    steps = [
        math.dist((a.x_px, a.y_px), (b.x_px, b.y_px)) / (b.time_utc - a.time_utc).total_seconds()
        for a, b in pairwise(positions)
    ]
    return median(steps) if steps else None


def _position(row: Mapping[str, Any]) -> TrackPosition:
    (x1, y1), (x2, y2) = _ends(row)
    middle = row["start_utc"] + timedelta(seconds=row["exposure_s"] / 2)
    return TrackPosition(middle, (x1 + x2) / 2, (y1 + y2) / 2)


def continues(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two fitted trails lie on one path; false where either was not fitted."""
    if first["length_px"] is None or second["length_px"] is None:
        return False
    a, b = _ends(first), _ends(second)
    longest = max(math.dist(*a), math.dist(*b))
    offset = max(_distance_from_line(point, a) for point in b)
    jump = min(math.dist(p, q) for p in a for q in b)
    return (
        _turn_deg(a, b) <= MAX_TURN_DEG
        and offset <= max(MAX_OFFSET_PX, MAX_OFFSET_SHARE * longest)
        and jump <= MAX_JUMP_SHARE * longest
    )


Point = tuple[float, float]


def _ends(row: Mapping[str, Any]) -> tuple[Point, Point]:
    return (row["x_begin_px"], row["y_begin_px"]), (row["x_end_px"], row["y_end_px"])


def _turn_deg(a: tuple[Point, Point], b: tuple[Point, Point]) -> float:
    angles = [math.degrees(math.atan2(q[1] - p[1], q[0] - p[0])) for p, q in (a, b)]
    turn = abs(angles[0] - angles[1]) % 180
    return min(turn, 180 - turn)


def _distance_from_line(point: Point, line: tuple[Point, Point]) -> float:
    (x1, y1), (x2, y2) = line
    length = math.dist(*line)
    if length == 0:
        return math.dist(point, line[0])
    return abs((x2 - x1) * (y1 - point[1]) - (x1 - point[0]) * (y2 - y1)) / length
