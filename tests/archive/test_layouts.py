import csv
import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.layouts import LAYOUTS
from nightsift.archive.layouts.civil_time import is_skipped, starts_utc, steady_offset
from nightsift.archive.nights import StationNight
from nightsift.archive.stations import Station
from tests.archive import described


def station(cadence_s: float = 31) -> Station:
    return described.station(cadence_s=cadence_s)


def found(*keys: str, cadence_s: float = 31, **more: Any):
    return described.sorted_into(*keys, stations=(described.station(cadence_s=cadence_s, **more),))


def test_both_forms_of_the_allsky_layout_are_claimed():
    one = LAYOUTS["allsky"].claim("PUJALT/20210310/image-20210310222605.jpg")
    other = LAYOUTS["allsky"].claim("PUJALT/images/20210310/image-20210310222605.jpg")
    assert one == other
    assert one is not None
    assert one.folder_date == date(2021, 3, 10)


def test_after_midnight_belongs_to_the_evening_before():
    nights = found(
        "PUJALT/20210310/image-20210310235900.jpg",
        "PUJALT/20210310/image-20210311000100.jpg",
        "PUJALT/20210311/image-20210311115959.jpg",
        "PUJALT/20210311/image-20210311120000.jpg",
    ).nights
    assert {unit.night: len(refs) for unit, refs in nights.items()} == {
        date(2021, 3, 10): 3,
        date(2021, 3, 11): 1,
    }


def test_names_that_tell_no_time_stay_in_their_folder_s_night():
    (refs,) = found("PUJALT/20210310/image-20211332999999.jpg").nights.values()
    assert [(ref.night, ref.start_utc, ref.reason) for ref in refs] == [
        (date(2021, 3, 10), None, "unparsable-name")
    ]


def test_other_objects_are_counted_not_fatal():
    result = found("PUJALT/20210310/keogram/keogram-20210310.jpg", "PUJALT/20210310/image-20210310222605.jpg")
    assert result.unclaimed.examples == {"PUJALT/20210310/keogram/keogram-20210310.jpg": 1}
    assert result.frames == 1


def test_of_two_frames_of_one_second_the_first_by_key_stays():
    (refs,) = found(
        "PUJALT/20210310/image-20210310222605.jpg", "PUJALT/images/20210310/image-20210310222605.jpg"
    ).nights.values()
    assert [ref.reason for ref in refs] == [None, "duplicate-time"]


def test_an_undescribed_station_is_an_error_that_names_it():
    with pytest.raises(ConfigurationError, match="station 'OTHER' is not described"):
        found("OTHER/20210310/image-20210310222605.jpg")


def test_spring_skips_an_hour_without_a_gap():
    """The change as seen in a real archive: 01:59:56 is followed by 03:00:19."""
    (refs,) = found(
        "PUJALT/20210327/image-20210328015956.jpg", "PUJALT/20210327/image-20210328030019.jpg"
    ).nights.values()
    first, second = (ref.start_utc for ref in refs)
    assert second - first == timedelta(seconds=23)


def test_a_civil_time_that_the_clocks_skip_has_its_reason():
    (refs,) = found("PUJALT/20210327/image-20210328023000.jpg").nights.values()
    assert refs[0].reason == "nonexistent-time"


def exposures(cadence_s: float, first: int, last: int, jitter_s: float, dropped: float, seed: int):
    """UTC starts around the autumn change at 01:00 UTC, and the civil names that a camera gives them."""
    draw = random.Random(seed)
    begin = datetime(2021, 10, 31, 1, 0, draw.randint(0, 30), tzinfo=UTC)
    starts = [
        begin + timedelta(seconds=round(k * cadence_s + draw.uniform(-jitter_s, jitter_s)))
        for k in range(first, last)
        if draw.random() >= dropped
    ]
    # A later frame with the name of an earlier one is written over it.
    return {start.astimezone(station().zone).replace(tzinfo=None): start for start in starts}


@pytest.mark.parametrize(
    ("cadence_s", "first", "last", "jitter_s", "dropped"),
    [
        pytest.param(31, -120, 200, 0, 0, id="steady"),
        pytest.param(51, -60, 100, 2, 0.05, id="jitter and dropouts"),
        pytest.param(31, -200, -10, 0, 0, id="stops in the first pass"),
        pytest.param(31, -200, 60, 0, 0, id="stops in the second pass"),
        pytest.param(31, 70, 150, 0, 0, id="starts in the second pass"),
        pytest.param(31, -20, 20, 0, 0, id="only around the seam"),
    ],
)
@pytest.mark.parametrize("evening", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_hour_that_repeats_is_told_apart_by_the_sequence(
    cadence_s, first, last, jitter_s, dropped, seed, evening
):
    named = exposures(cadence_s, first, last, jitter_s, dropped, seed)
    if evening:
        named[datetime(2021, 10, 31, 19)] = datetime(2021, 10, 31, 18, tzinfo=UTC)
    civil = sorted(named)
    assert starts_utc(civil, station(cadence_s)) == [named[time] for time in civil]


def test_nights_come_sorted_by_station_and_date():
    nights = found(
        "PUJALT/20210311/image-20210311222605.jpg", "PUJALT/20210310/image-20210310222605.jpg"
    ).nights
    assert list(nights) == [
        StationNight("PUJALT", date(2021, 3, 10)),
        StationNight("PUJALT", date(2021, 3, 11)),
    ]


SHOT = "PUJALT/20210310/image-20210310222605"


def test_a_clock_in_utc_is_apart_from_the_zone_of_the_nights():
    keys = "PUJALT/20210310/image-20210310222605.jpg", "PUJALT/20210310/image-20210311140000.jpg"
    nights = found(*keys, clock="utc", timezone="America/Los_Angeles").nights
    assert {str(unit): [str(ref.start_utc) for ref in refs] for unit, refs in nights.items()} == {
        "PUJALT/2021-03-10": ["2021-03-10 22:26:05+00:00", "2021-03-11 14:00:00+00:00"]
    }


def test_folders_dated_by_the_morning():
    for key in ("PUJALT/20210311/image-x.jpg", "PUJALT/20210311.tar"):
        assert [unit.night for unit in found(key, folder_date="morning").nights] == [date(2021, 3, 10)]


def test_of_two_cameras_in_one_folder_the_more_frequent_is_taken():
    more = [f"PUJALT/20210310/image-2021031022260{n}-east.jpg" for n in range(3)]
    other = [f"PUJALT/20210310/image-2021031022260{n}.jpg" for n in range(2)]
    result = found(*more, *other)
    assert [ref.key for refs in result.nights.values() for ref in refs] == more
    assert list(result.unclaimed.examples) == other[:1]


def test_each_camera_of_a_folder_may_be_a_station():
    keys = [f"{SHOT}-{camera}.jpg" for camera in ("a", "b", "c")]
    cameras = [described.station(name, archive_name="PUJALT", camera=name) for name in ("a", "b")]
    result = described.sorted_into(*keys, stations=tuple(cameras))
    assert {unit.station: refs[0].key for unit, refs in result.nights.items()} == {"a": keys[0], "b": keys[1]}
    assert list(result.unclaimed.examples) == keys[2:]
    everything = described.sorted_into(*keys, stations=(*cameras, described.station()))
    assert {unit.station: refs[0].key for unit, refs in everything.nights.items()}["PUJALT"] == keys[2]


def test_a_camera_that_was_changed_is_another_station_from_then_on():
    old = described.station("old", archive_name="PUJALT", valid_to="2021-03-10")
    new = described.station("new", archive_name="PUJALT", valid_from="2021-03-11", timezone="UTC")
    keys = [f"PUJALT/20210310/image-202103{time}.jpg" for time in ("10222605", "11100000", "11222605")]
    result = described.sorted_into(*keys, stations=(old, new))
    assert {str(unit): len(refs) for unit, refs in result.nights.items()} == {
        "old/2021-03-10": 2,
        "new/2021-03-11": 1,
    }


def test_a_described_station_s_objects_of_another_layout_are_not_claimed():
    stations = described.station(), described.station("B", "rms")
    key = "PUJALT/FF_PUJALT_20220914_194911_205_0079616.fits"
    result = described.sorted_into(key, stations=stations)
    assert (result.frames, list(result.unclaimed.examples)) == (0, [key])


def test_a_real_network_s_57_000_names(shared):
    """Pujalt, February to May 2021: every name has a time, and none falls into the hour that spring skips."""
    with (shared / "guaita_labels/index.csv").open(newline="") as file:
        names = {row["fn"].rpartition("\\")[2] for row in csv.DictReader(file)}
    frames = sorted(name for name in names if name.startswith("image-"))
    result = found(*(f"PUJALT/{name[6:14]}/{name}" for name in frames))
    refs = [ref for refs in result.nights.values() for ref in refs]
    assert (len(refs), {ref.reason for ref in refs}) == (57_141, {None})
    assert len(result.nights) == 41
    for ref in refs:
        civil = ref.start_utc.astimezone(station().zone)
        assert f"{civil:image-%Y%m%d%H%M%S.jpg}" == ref.key.rpartition("/")[2]


@given(st.datetimes(datetime(2019, 1, 1), datetime(2029, 1, 1)), st.integers(0, 9))
def test_the_short_way_through_a_steady_night_is_the_long_one(first, hours):
    zone, last = ZoneInfo("Europe/Madrid"), first + timedelta(hours=hours)
    offset = steady_offset(first, last, zone)
    if offset is not None:
        short = [time.replace(tzinfo=UTC) - offset for time in (first, last)]
        assert starts_utc([first, last], station()) == short
        assert not is_skipped(first, zone)
        assert not is_skipped(last, zone)
