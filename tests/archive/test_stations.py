import pickle
from datetime import date

import pytest

from nightsift.archive.errors import BadFrame, ConfigurationError
from nightsift.archive.stations import Stations

ONE = """
[[station]]
id = "UK0006"
network = "UKMON"
latitude_deg = 51.9
longitude_deg = -1.3
height_msl_m = 80.0
timezone = "UTC"
layout = "allsky"
cadence_s = 51
exposure_s = 51
"""


def refused(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Stations.parse(text, "stations.toml")
    return str(caught.value)


def test_all_faults_are_told_at_once():
    text = ONE.replace("cadence_s", "cadense_s").replace("51.9", "151.9").replace('"UTC"', '"Mars/Olympus"')
    message = refused(text)
    assert "4 faults" in message
    assert "station[0].cadense_s: did you mean 'cadence_s'?" in message
    assert "missing key station[0].cadence_s" in message
    assert "found 151.9" in message
    assert "expected an IANA time zone such as 'Europe/Madrid', found 'Mars/Olympus'" in message
    assert "edit stations.toml" in message


def test_a_station_described_twice_is_refused():
    assert "UK0006" in refused(ONE + ONE)


def test_what_is_not_toml_is_refused():
    assert "stations.toml is not TOML" in refused("[[station]\n")


def test_an_unknown_station_names_the_nearest():
    stations = Stations.parse(ONE + ONE.replace("UK0006", "UK0010"), "stations.toml")
    with pytest.raises(ConfigurationError, match="did you mean UK0006"):
        stations["UK0096"]


@pytest.mark.parametrize(
    "error",
    [ConfigurationError("what", expected="e", found="f", mend="m"), BadFrame("corrupt", "empty")],
)
def test_errors_survive_the_way_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


def with_keys(**more: object) -> str:
    return ONE + "".join(f"{key} = {value}\n" for key, value in more.items())


def test_what_a_station_may_say_besides():
    text = with_keys(
        archive_name='"025"',
        camera='"ccd1"',
        clock='"utc"',
        fits_time='"middle"',
        folder_date='"morning"',
        exclude_px="[[0, 0, 400, 30], [900, 0, 1304, 30]]",
        circle_px="[652, 488.5, 480]",
        mask='"masks/uk0006.png"',
        valid_from="2022-01-01",
        valid_to="2023-12-31",
    )
    station = Stations.parse(text, "stations.toml")["UK0006"]
    assert station.name_in_archive == "025"
    assert station.exclude_px == ((0, 0, 400, 30), (900, 0, 1304, 30))
    assert station.circle_px == (652, 488.5, 480)
    assert [station.holds_on(date(year, 6, 1)) for year in (2021, 2022, 2023, 2024)] == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"layout2": '"rms"'}, "did you mean 'layout'?"),
        ({"fits_time": '"begin"'}, "'start', 'middle' or 'end'"),
        ({"folder_date": '"noon"'}, "'evening' or 'morning'"),
        ({"exclude_px": "[[10, 0, 5, 30]]"}, "x0 < x1"),
        ({"exclude_px": "[[1, 2, 3]]"}, "exclude_px"),
        ({"circle_px": "[1, 2, 0]"}, "greater than 0"),
        ({"archive_name": '""'}, "at least 1 character"),
        ({"valid_from": "2023-01-01", "valid_to": "2022-01-01"}, "valid_from not after valid_to"),
    ],
)
def test_what_a_station_may_not_say(more, said):
    assert said in refused(with_keys(**more))


def test_only_rms_stations_may_leave_out_what_their_archive_tells():
    short = ONE.replace("latitude_deg = 51.9\n", "")
    assert "missing key station[0].latitude_deg" in refused(short)
    stations = Stations.parse(short.replace("allsky", "rms"), "stations.toml")
    assert not stations
    assert [entry.missing for entry in stations.incomplete] == [("latitude_deg",)]
    assert stations.completed({"UK0006": {"latitude_deg": 51.8, "cadence_s": 1}})["UK0006"].cadence_s == 51


def test_the_same_frames_for_two_stations_are_refused():
    other = with_keys(archive_name='"UK0006"').replace('id = "UK0006"', 'id = "NEW"')
    assert "gives the same frames to two stations" in refused(ONE + other)
    for apart in ('camera = "b"\n', "valid_from = 2023-01-01\n"):
        told = ONE + ("valid_to = 2022-12-31\n" if "valid" in apart else "")
        assert len(Stations.parse(told + other + apart, "stations.toml")) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("UK0007", 'add a [[station]] with id = "UK0007" to stations.toml'),
        ("025", 'add a [[station]] with id = "allsky-025" and archive_name = "025" to'),
        ("Café 山", 'id = "allsky-Caf" and archive_name = "Café 山" to'),
    ],
)
def test_an_undescribed_name_comes_with_an_id_that_is_allowed(name, said):
    assert said in str(Stations.parse(ONE, "stations.toml").unknown({name: "allsky"}))
