import math
from datetime import UTC, datetime, timedelta

import pytest

from nightsift.catalogs.tracks import continues, link_tracks, track_positions, track_speed


def row(number, begin, end, previous=None):
    x0, y0 = begin
    x1, y1 = end
    return {
        "candidate_id": f"c{number}",
        "frame_key": f"f{number}",
        "previous_key": f"f{number - 1 if previous is None else previous}",
        "x_begin_px": x0,
        "y_begin_px": y0,
        "x_end_px": x1,
        "y_end_px": y1,
        "length_px": math.dist(begin, end),
    }


def test_a_satellite_over_three_frames_is_one_track():
    rows = [row(1, (10, 10), (60, 30)), row(2, (62, 31), (110, 50)), row(3, (112, 51), (160, 70))]
    assert link_tracks(rows) == [("c1", 3)] * 3


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(row(2, (62, 31), (82, 80)), id="another direction"),
        pytest.param(row(2, (62, 131), (110, 150)), id="beside the line"),
        pytest.param(row(2, (262, 111), (310, 130)), id="far ahead"),
        pytest.param(row(3, (62, 31), (110, 50)), id="not the next frame"),
        pytest.param({**row(2, (62, 31), (110, 50)), "length_px": None}, id="not fitted"),
    ],
)
def test_what_does_not_continue_is_a_track_of_its_own(second):
    assert link_tracks([row(1, (10, 10), (60, 30)), second]) == [("c1", 1), (second["candidate_id"], 1)]


def test_a_trail_without_length_is_no_error():
    assert continues(row(1, (5, 5), (5, 5)), row(2, (5, 5), (5, 5)))


def timed(number, begin, end):
    start = datetime(2021, 12, 4, 22, 0, tzinfo=UTC) + timedelta(seconds=31 * number)
    return {**row(number, begin, end), "start_utc": start, "exposure_s": 30.0}


def test_a_satellite_has_a_position_in_every_frame_and_a_speed():
    rows = [timed(2, (62, 10), (110, 10)), timed(1, (11, 10), (59, 10)), timed(3, (113, 10), (161, 10))]
    positions = track_positions(rows)
    assert [position.x_px for position in positions] == [35, 86, 137]
    assert positions[0].time_utc == datetime(2021, 12, 4, 22, 0, 46, tzinfo=UTC)
    assert track_speed(positions) == pytest.approx(51 / 31)


def test_a_frame_without_a_trail_gives_no_position_and_one_position_no_speed():
    rows = [timed(1, (10, 10), (60, 10)), {**timed(2, (0, 0), (0, 0)), "length_px": None}]
    positions = track_positions(rows)
    assert len(positions) == 1
    assert track_speed(positions) is None
