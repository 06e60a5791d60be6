import pickle

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
