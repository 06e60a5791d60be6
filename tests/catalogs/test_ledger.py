import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from nightsift.archive.nights import StationNight
from nightsift.archive.stations import Station
from nightsift.catalogs.clouds import Sightings
from nightsift.catalogs.ledger import coverage_row, coverage_table, sightings_of, whole_ledger
from nightsift.catalogs.schema import COVERAGE, FRAMES, REASONS, reason_column


def station(latitude_deg: float = 40.4, longitude_deg: float = -3.7, **said: object) -> Station:
    described = {"id": "M1", "network": "N", "height_msl_m": 650, "timezone": "Europe/Madrid"}
    described |= {"layout": "allsky", "cadence_s": 30, "exposure_s": 30}
    place = {"latitude_deg": latitude_deg, "longitude_deg": longitude_deg}
    return Station.model_validate({**described, **place, **said})


def blind(where: Station, night: date) -> dict[str, object]:
    return dict(coverage_row(where, StationNight("M1", night), FRAMES.empty_table(), 0))


def frames(night: date, rows: list[dict[str, object]]) -> pa.Table:
    begin = datetime(night.year, night.month, night.day, 22, tzinfo=UTC)
    common = {"network": "N", "night": night, "exposure_s": 30.0, "sun_altitude_deg": -40.0}
    return pa.Table.from_pylist(
        [
            {**common, "frame_key": str(number), "start_utc": begin + timedelta(seconds=30 * number), **row}
            for number, row in enumerate(rows)
        ],
        schema=FRAMES,
    )


SCORED = {"score": 0.2, "previous_key": "p", "sky_brightness": 40.0, "noise": 1.0}


def expected(where: Station, night: date) -> int:
    return int(blind(where, night)["frames_expected"])


def test_what_could_have_been_seen_is_told_by_cadence_and_sun():
    """The Sun is below -6 degrees for 13.6 hours of Madrid's longest night (almanac)."""
    assert expected(station(), date(2021, 12, 21)) == pytest.approx(13.6 * 120, abs=12)
    assert expected(station(cadence_s=10), date(2021, 12, 21)) == pytest.approx(13.6 * 360, abs=36)
    assert expected(station(), date(2021, 6, 21)) < expected(station(), date(2021, 12, 21))


def test_nothing_is_expected_under_the_midnight_sun():
    tromso = station(69.6, 18.9, timezone="Europe/Oslo")
    assert expected(tromso, date(2021, 6, 21)) == 0
    assert expected(tromso, date(2021, 5, 1)) == 0  # the Sun sets, and stays above -6 degrees


def test_the_polar_night_lasts_all_day():
    alert = station(82.5, -62.3, timezone="America/Toronto")
    assert expected(alert, date(2021, 12, 21)) == 86400 / 30


@pytest.mark.parametrize("night", [date(2021, 3, 27), date(2021, 10, 30)])
def test_no_dark_is_lost_or_won_when_the_clocks_change(night):
    before, change, after = (expected(station(), night + timedelta(days=n)) for n in (-1, 0, 1))
    assert change == pytest.approx((before + after) / 2, abs=2)


def test_a_night_in_which_the_pole_changes_clocks_is_an_hour_longer_or_shorter():
    pole = station(-90, 0, timezone="Antarctica/McMurdo")  # New Zealand's clocks, in the polar night
    assert expected(pole, date(2021, 9, 25)) == 0
    pole = station(90, 0, timezone="Europe/Oslo")
    lengths = [expected(pole, date(2021, 10, day)) for day in (29, 30, 31)]
    assert lengths == [2880, 3000, 2880]


def test_every_frame_is_counted_once():
    night = date(2021, 12, 1)
    rows = [SCORED, SCORED, {"reason": "first", "sky_brightness": 40.0}, {"reason": "corrupt"}]
    row = coverage_row(station(), StationNight("M1", night), frames(night, rows), 1)
    counted = [row[name] for name in ("frames_present", "frames_usable", "frames_paired", "pairs_scored")]
    assert counted == [4, 3, 2, 2]
    assert row["live_time_s"] == 60
    assert sum(row[reason_column(reason)] for reason in REASONS) == 2


def test_what_was_not_processed_is_not_known():
    night = date(2021, 12, 1)
    table = frames(night, [{"reason": "unprocessed"}] * 3)
    row = coverage_row(station(), StationNight("M1", night), table, 0, processed=False)
    assert row["frames_present"] == row["unprocessed"] == 3
    assert row["frames_usable"] is None
    assert row["frames_paired"] is None
    assert row["frames_expected"] > 1000


def ledger(where: Station, nights: list[date]) -> list[dict[str, object]]:
    rows, sightings = [], []
    for night in nights:
        table = frames(night, [SCORED])
        rows.append(coverage_row(where, StationNight("M1", night), table, 0))
        sightings.append(sightings_of(table))
    return [dict(row) for row in whole_ledger(where, rows, sightings)]


def test_nights_on_which_the_camera_recorded_nothing_have_a_row():
    rows = ledger(station(), [date(2021, 11, 29), date(2021, 12, 2)])
    assert [row["night"].day for row in rows] == [29, 30, 1, 2]
    assert [row["frames_present"] for row in rows] == [1, 0, 0, 1]
    lost = rows[1]
    assert lost["frames_expected"] > 1000
    assert lost["frames_usable"] == lost["frames_paired"] == lost["live_time_s"] == 0
    assert sum(lost[reason_column(reason)] for reason in REASONS) == 0
    assert coverage_table(rows).schema.equals(COVERAGE)


def test_a_camera_is_not_blind_before_it_is_there():
    moved = station(valid_from=date(2021, 12, 1))
    rows = ledger(moved, [date(2021, 11, 29), date(2021, 12, 2)])
    assert [row["night"].day for row in rows] == [29, 1, 2]


def test_cloud_is_told_from_all_nights_of_the_station():
    rows = ledger(station(), [date(2021, 12, 1)])
    assert rows[0]["cloud"] is None  # no stars were counted
    counted = [{**SCORED, "star_cells": 80.0, "stars": 300.0}] * 30
    veiled = [{**SCORED, "star_cells": 36.0, "stars": 90.0}] * 30
    nights = {date(2021, 12, 3): counted, date(2021, 12, 5): veiled}
    tables = {night: frames(night, rows) for night, rows in nights.items()}
    known = [coverage_row(station(), StationNight("M1", n), table, 0) for n, table in tables.items()]
    said = whole_ledger(station(), known, [sightings_of(table) for table in tables.values()])
    assert [row["cloud"] for row in said] == pytest.approx([0, None, 0.5], abs=0.01)
    assert [row["stars"] for row in said] == [300, None, 90]
    assert not math.isnan(coverage_table(said)["cloud"].to_pylist()[0])


def test_frames_whose_stars_were_not_counted_say_nothing():
    table = frames(date(2021, 12, 1), [SCORED, {**SCORED, "star_cells": 3.0}, {"reason": "corrupt"}])
    seen = sightings_of(table)
    assert isinstance(seen, Sightings)
    assert len(seen.times_utc) == 1
    assert seen.star_cells == np.float32(3)
