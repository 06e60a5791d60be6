import random
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.layouts import LAYOUTS, inventory
from nightsift.archive.layouts.civil_time import starts_utc
from nightsift.archive.nights import StationNight
from nightsift.archive.stations import Station, Stations
from nightsift.archive.stores import StoredObject


def station(cadence_s: float = 31, timezone: str = "Europe/Madrid") -> Station:
    return Station(
        id="PUJALT",
        network="SPMN",
        latitude_deg=41.7,
        longitude_deg=1.4,
        height_msl_m=750,
        timezone=timezone,
        layout="allsky",
        cadence_s=cadence_s,
        exposure_s=30,
    )


def found(*keys: str, cadence_s: float = 31):
    objects = [StoredObject(key, 700_000, "etag") for key in keys]
    return inventory(objects, Stations((station(cadence_s),), "stations.toml"))


def test_both_forms_of_the_allsky_layout_are_claimed():
    one = LAYOUTS["allsky"].claim("PUJALT/20210310/image-20210310222605.jpg")
    other = LAYOUTS["allsky"].claim("PUJALT/images/20210310/image-20210310222605.jpg")
    assert one == other
    assert one is not None
    assert one.folder_date == date(2021, 3, 10)


@given(st.text(max_size=60))
def test_no_name_breaks_the_layout(name):
    LAYOUTS["allsky"].claim(name)
    LAYOUTS["allsky"].claim(f"PUJALT/20210310/image-{name}.jpg")


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
