"""The columns of the catalogue, each with its unit and description in the Parquet field metadata."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

KINDS = ("meteor", "satellite", "aircraft", "other")

UTC_MS = pa.timestamp("ms", tz="UTC")

# Why a frame has no score, as the `reason` column and the coverage counts name it.
REASONS = {
    "unparsable-name": "the name tells no time",
    "nonexistent-time": "the clocks jump over the civil time in the name",
    "duplicate-time": "another frame has the same start",
    "overlap": "a longer exposure begins before this one",
    "implausible-time": "before 1990, or in the future when it was listed",
    "wrong-night": "it lies in the archive or folder of another night",
    "unreadable": "listed, but the archive does not give it",
    "corrupt": "empty, cut off, or not an image",
    "unsupported": "a kind of image that is not read",
    "too-large": "more pixels or bytes than a frame may have",
    "wrong-size": "not the size of most of the night's frames",
    "wrong-depth": "not the bit depth of most of the night's frames",
    "daylight": "the Sun was up",
    "first": "no earlier frame in the night to subtract",
    "gap": "the frame before began too long ago",
    "other-exposure": "the frame before was exposed for more than 1.5 times as long, or as short",
    "failed": "a stage failed on this night; see `nightsift status`",
    "unprocessed": "this night was not part of any run yet",
}


def reason_column(reason: str) -> str:
    """The coverage column that counts a reason.

    >>> reason_column("wrong-size")
    'wrong_size'
    """
    return reason.replace("-", "_")


def _field(name: str, kind: Any, unit: str, description: str) -> Any:
    return pa.field(name, kind, metadata={"unit": unit, "description": description})


_SKY_POINTS = [
    _field(f"{axis}{where}_deg", pa.float64(), "deg", f"{label} of the {point or 'position'}{frame}")
    for where, point in (("", ""), ("_begin", "begin"), ("_end", "end"))
    for axis, label, frame in (
        ("azimuth", "azimuth", ", north 0, east positive"),
        ("altitude", "altitude", ""),
        ("ra", "right ascension", ", ICRS"),
        ("dec", "declination", ", ICRS"),
    )
]
_EXPOSURE = [
    _field("network", pa.string(), "", "network of the station"),
    _field("night", pa.date32(), "", "night, local noon to noon, labelled by its evening"),
    _field("start_utc", UTC_MS, "", "start of the exposure"),
    _field("exposure_s", pa.float32(), "s", "length of the exposure"),
    _field("frame_key", pa.string(), "", "key of the frame in the archive"),
    _field("previous_key", pa.string(), "", "key of the frame subtracted"),
]
_POSITION = [
    _field(
        "x_px", pa.float32(), "px", "middle of the fitted trail, else where the network saw it; to the right"
    ),
    _field("y_px", pa.float32(), "px", "middle of the fitted trail, else where the network saw it; down"),
    _field("x_begin_px", pa.float32(), "px", "one end of the fitted trail; with a time map the first"),
    _field("y_begin_px", pa.float32(), "px", "one end of the fitted trail; with a time map the first"),
    _field("x_end_px", pa.float32(), "px", "other end of the fitted trail; with a time map the last"),
    _field("y_end_px", pa.float32(), "px", "other end of the fitted trail; with a time map the last"),
    _field("length_px", pa.float32(), "px", "length of the fitted trail"),
    _field("peak", pa.float32(), "gray levels", "largest rise in the 16 px blocks that the trail crosses"),
    _field("snr", pa.float32(), "", "peak over the pair's noise"),
    _field(
        "speed_px_s", pa.float32(), "px/s", "speed on the frame, by its time map or by the track's frames"
    ),
]
_KIND = [
    _field("kind", pa.string(), "", "meteor, satellite, aircraft or other; null until it is vetted"),
    _field("kind_score", pa.float32(), "", "score of the kind"),
]
_TRANSPARENCY = [
    _field("stars", pa.float32(), "", "stars that the frame shows; null where they were not counted"),
    _field("star_cells", pa.float32(), "", "cells that show a star, of a grid of 16 along the longer side"),
]
_LINEAGE = [
    _field("model", pa.string(), "", "name of the model package"),
    _field("model_sha256", pa.string(), "", "digest of the model package"),
    _field("lineage", pa.string(), "", "digest of both frames' bytes, the difference settings and the model"),
    _field("version", pa.string(), "", "version of Nightsift that made the scores"),
]

CANDIDATES = pa.schema(
    [
        _field("candidate_id", pa.string(), "", "stable across reruns"),
        *_EXPOSURE,
        _field("score", pa.float32(), "", "softmax score of the class meteor"),
        _field("threshold", pa.float32(), "", "score from which a frame is a candidate"),
        *_KIND,
        *_POSITION,
        _field("track_id", pa.string(), "", "candidates of consecutive frames that continue one another"),
        _field("track_frames", pa.int32(), "", "number of candidates in the track"),
        _field("repeat_id", pa.string(), "", "candidates that recur at one place"),
        _field("event_id", pa.string(), "", "candidates of several stations that agree"),
        _field("event_stations", pa.int32(), "", "number of stations in the event"),
        *_SKY_POINTS,
        _field("sun_altitude_deg", pa.float32(), "deg", "altitude of the Sun at the start"),
        _field("moon_altitude_deg", pa.float32(), "deg", "altitude of the Moon"),
        _field("moon_illumination", pa.float32(), "", "lit fraction of the Moon's disc"),
        _field("moon_separation_deg", pa.float32(), "deg", "angle between candidate and Moon"),
        _field("latitude_deg", pa.float64(), "deg", "latitude of the station"),
        _field("longitude_deg", pa.float64(), "deg", "longitude of the station, east positive"),
        _field("height_msl_m", pa.float64(), "m", "height of the station above mean sea level"),
        _field("flags", pa.list_(pa.string()), "", "names of reversible flags"),
        *_LINEAGE,
    ]
)

FRAMES = pa.schema(
    [
        *_EXPOSURE,
        _field("gap_s", pa.float32(), "s", "time since the start of the frame before"),
        _field("reason", pa.string(), "", "why the frame has no score; null where it has one"),
        _field("detail", pa.string(), "", "the reason in words: what was expected and found"),
        _field("score", pa.float32(), "", "softmax score of the class meteor"),
        *_KIND,
        *_POSITION,
        _field(
            "noise", pa.float32(), "gray levels", "robust deviation of a pixel's change from frame to frame"
        ),
        _field("sky_brightness", pa.float32(), "gray levels", "median of the frame"),
        *_TRANSPARENCY,
        _field("sun_altitude_deg", pa.float32(), "deg", "altitude of the Sun at the start"),
        *_LINEAGE,
    ]
)

COVERAGE = pa.schema(
    [
        _field("station", pa.string(), "", "station"),
        _field("network", pa.string(), "", "network of the station"),
        _field("night", pa.date32(), "", "night, local noon to noon, labelled by its evening"),
        _field("frames_expected", pa.int32(), "", "exposures that fit while the Sun is below -6 deg"),
        _field("frames_present", pa.int32(), "", "frames in the archive"),
        _field("frames_usable", pa.int32(), "", "frames decoded; null: not processed"),
        _field(
            "frames_paired", pa.int32(), "", "frames with an earlier one to subtract; null: not processed"
        ),
        _field("pairs_scored", pa.int32(), "", "frames with a score"),
        _field("live_time_s", pa.float64(), "s", "sum of the exposures with a score"),
        *(_field(reason_column(name), pa.int32(), "", f"frames: {text}") for name, text in REASONS.items()),
        _field("candidates", pa.int32(), "", "candidates"),
        _field("sky_brightness", pa.float32(), "gray levels", "median over the night's frames"),
        _field("noise", pa.float32(), "gray levels", "median over the night's pairs"),
        _field("stars", pa.float32(), "", "median over the night's frames in which stars were counted"),
        _field(
            "cloud", pa.float32(), "", "mean share of the sky whose stars are hidden; null: cannot be told"
        ),
        _field("lineage", pa.string(), "", "digest of the lineages of the night's frames"),
    ]
)


def scores_schema(classes: tuple[str, ...]) -> Any:
    """Columns of a night's scores: one row per frame in the store, one score per class of the model."""
    kept = ("start_utc", "exposure_s", "frame_key", "previous_key", "gap_s", "reason")
    measured = ("noise", "sky_brightness", *(field.name for field in _TRANSPARENCY), "sun_altitude_deg")
    tail = [*(field.name for field in _POSITION), *measured]
    scores = [_field(f"score_{name}", pa.float32(), "", f"softmax score of {name}") for name in classes]
    scores += _KIND
    kinds = [_field(f"kind_score_{kind}", pa.float32(), "", f"vetting score of {kind}") for kind in KINDS]
    place = pa.struct([pa.field("score", pa.float32()), *_KIND, *kinds, *_POSITION])
    scores += [*kinds, _field("more", pa.list_(place), "", "other places of the difference, as its first")]
    return pa.schema(
        [*(FRAMES.field(name) for name in kept), *scores, *(FRAMES.field(name) for name in tail), *_LINEAGE]
    )
