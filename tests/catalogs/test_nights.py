"""Rows of one night: frames and what was found in them."""

from datetime import UTC, date, datetime

from nightsift.archive.nights import StationNight
from nightsift.archive.stations import Stations
from nightsift.catalogs.nights import scored_night
from nightsift.catalogs.scores import scores_table

STATIONS = """
[[station]]
id = "A1"
network = "N"
latitude_deg = 50.0
longitude_deg = 5.0
height_msl_m = 100.0
timezone = "UTC"
layout = "allsky"
cadence_s = 30
exposure_s = 30
"""
CLASSES = ("nothing", "meteor", "satellite")


def seen(score: float, x_px: float) -> dict[str, object]:
    ends = {"x_begin_px": x_px - 15, "y_begin_px": 20.0, "x_end_px": x_px + 15, "y_end_px": 20.0}
    found = {"score": score, "x_px": x_px, "y_px": 20.0, "length_px": 30.0, **ends}
    return {**found, "kind": "meteor", "kind_score": 0.9}


def test_two_meteors_in_a_frame_are_two_candidates() -> None:
    first = {name: value for name, value in seen(0.9, 100.0).items() if name != "score"}
    row = {
        **first,
        "start_utc": int(datetime(2021, 12, 20, 22, tzinfo=UTC).timestamp() * 1000),
        "exposure_s": 30.0,
        "frame_key": "A1/20211220/image-20211220220000.jpg",
        "previous_key": "A1/20211220/image-20211220215930.jpg",
        "score_meteor": 0.9,
        "more": [seen(0.8, 500.0), seen(0.6, 300.0)],
    }
    station = Stations.parse(STATIONS, "stations.toml")["A1"]
    scores = scores_table([row], CLASSES)
    night = scored_night(station, StationNight("A1", date(2021, 12, 20)), scores, [], 36000.0, 0.7)
    candidates = night.candidates.to_pylist()
    assert [(c["score"] > 0.7, c["x_px"]) for c in candidates] == [(True, 100.0), (True, 500.0)]
    assert [c["candidate_id"] for c in candidates] == [
        "A1_20211220_220000_000_0",
        "A1_20211220_220000_000_1",
    ]
    assert {c["frame_key"] for c in candidates} == {row["frame_key"]}
    assert candidates[1]["kind"] == "meteor"
    assert night.frames.num_rows == 1
