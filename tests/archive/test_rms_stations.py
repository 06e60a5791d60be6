"""RMS stations of which the archive tells the rest."""

import json
import shutil

import pytest

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.layouts import inventory
from nightsift.archive.rms_stations import complete_stations, read_config, read_platepar
from nightsift.archive.stations import Stations
from nightsift.archive.stores import Archive

ENTRY = '[[station]]\nid = "UK0006"\nnetwork = "UKMON"\nlayout = "rms"\n'
FF = "FF_UK0006_20220914_194911_205_0079616.fits"
CONFIG = """
[System]
stationID: UK0006 ; assigned by the network
latitude: 51.88 ; WGS84 +N (degrees)
longitude: -1.31
elevation: 80
[Capture]
fps: 25.0 ; frames per second
"""
PLACE = {"lat": 51.8831, "lon": -1.30616, "elev": 81.0, "station_code": "UK0006"}


@pytest.fixture
def archive(tmp_path):
    """Two nights of FF files, with what each folder holds beside them."""

    def write(*nights: tuple[str | None, dict | None]) -> Archive:
        for number, (config, place) in enumerate(nights):
            folder = tmp_path / f"UK0006/UK0006_2022091{4 + number}_185543_087124"
            folder.mkdir(parents=True)
            (folder / FF).write_bytes(b"FITS")
            if config is not None:
                (folder / ".config").write_text(config)
            if place is not None:
                (folder / "platepar_cmn2010.cal").write_text(json.dumps(place))
        return Archive(str(tmp_path))

    return write


def complete(archive, text=ENTRY):
    stations, notes = complete_stations(Stations.parse(text, "stations.toml"), archive, archive.objects())
    return stations["UK0006"], "\n".join(notes)


def test_the_real_station(shared):
    """Its .config is of UK001L, its platepar and frames of UK0006; both tell one place."""
    archive = Archive(str(shared / "rms_UK0006_20220914"))
    stations, notes = complete_stations(Stations.parse(ENTRY, "stations.toml"), archive, archive.objects())
    station = stations["UK0006"]
    assert (station.latitude_deg, station.longitude_deg, station.height_msl_m) == (51.8831, -1.30616, 80.0)
    assert (station.exposure_s, station.cadence_s, station.timezone) == (10.24, 10.24, "UTC")
    assert ".config says that it is of station UK001L, its frames UK0006" in "\n".join(notes)
    assert [
        (str(unit), len(refs)) for unit, refs in inventory(archive.objects(), stations).nights.items()
    ] == [("UK0006/2022-09-14", 1)]


def test_the_platepar_goes_before_the_settings(archive):
    station, notes = complete(archive((CONFIG, PLACE)))
    assert (station.latitude_deg, station.height_msl_m) == (51.8831, 81.0)
    assert "filled from UK0006/UK0006_20220914_185543_087124/platepar_cmn2010.cal and" in notes


def test_the_settings_alone_are_enough(archive):
    station, _ = complete(archive((CONFIG, None)))
    assert (station.latitude_deg, station.exposure_s) == (51.88, 10.24)


def test_what_stations_toml_says_goes_before_both(archive):
    station, _ = complete(archive((CONFIG, PLACE)), ENTRY + 'height_msl_m = 7\ntimezone = "Europe/London"\n')
    assert (station.height_msl_m, station.timezone, station.latitude_deg) == (7, "Europe/London", 51.8831)


def test_the_first_night_tells_so_that_later_ones_change_nothing(archive):
    station, _ = complete(archive((CONFIG, PLACE), (CONFIG, PLACE | {"lat": 51.8835})))
    assert station.latitude_deg == 51.8831


def test_the_files_may_lie_in_a_folder_above(archive, tmp_path):
    one = archive((None, None))
    (tmp_path / "UK0006/.config").write_text(CONFIG)
    assert complete(one)[0].latitude_deg == 51.88


def test_far_from_greenwich_nights_still_end_at_noon(archive):
    far = CONFIG.replace("-1.31", "-155.5")
    station, _ = complete(archive((far, None)))
    assert station.timezone == "Etc/GMT+10"


def test_two_places_are_refused(archive):
    with pytest.raises(ConfigurationError, match="tells two positions") as caught:
        complete(archive((CONFIG, PLACE | {"lat": 51.9})))
    assert "2.2 km apart" in str(caught.value)
    assert "state latitude_deg, longitude_deg" in str(caught.value)


def test_two_places_do_not_matter_where_it_is_stated(archive):
    place = "latitude_deg = 1\nlongitude_deg = 2\nheight_msl_m = 3\n"
    station, _ = complete(archive((CONFIG, PLACE | {"lat": 51.9})), ENTRY + place)
    assert (station.latitude_deg, station.exposure_s) == (1, 10.24)


@pytest.mark.parametrize(("config", "place"), [(None, None), (None, PLACE)])
def test_what_nobody_tells_is_asked_for(archive, config, place):
    with pytest.raises(ConfigurationError) as caught:
        complete(archive((config, place)))
    assert "missing key exposure_s" in str(caught.value)
    assert "stations.toml (station UK0006" in str(caught.value)


DAMAGED = ["", "fps: 25", "[a]\n[a]\nfps: 0", "[a]\nlatitude: nan\nfps: 1e999", "\0", "[" * 9999, "[a]\nfps"]


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_settings_tell_nothing(text):
    assert values_or_refusal(read_config, text) in ({}, "refused")


DAMAGED_JSON = [
    "",
    "[]",
    "1",
    '{"lat": "north"}',
    '{"lat": NaN}',
    "[" * 99_999,
    '{"lat": [1]}',
    f'{{"lat": {10**400}}}',
]


@pytest.mark.parametrize("text", DAMAGED_JSON)
def test_a_damaged_platepar_tells_nothing(text):
    assert values_or_refusal(read_platepar, text) in ({}, "refused")


def values_or_refusal(read, text):
    try:
        return read(text, "beside").values
    except ConfigurationError as error:
        return "refused" if "beside cannot be read" in str(error) else str(error)


def test_stations_out_of_range_are_refused(archive):
    with pytest.raises(ConfigurationError, match="latitude_deg"):
        complete(archive((CONFIG.replace("51.88", "151.88"), None)))


def test_an_undescribed_station_comes_with_its_entry(shared, tmp_path):
    for name in ("UK0006", "UK0007"):
        (tmp_path / name).mkdir()
        shutil.copy(shared / "rms_UK0006_20220914" / FF, tmp_path / name / FF.replace("UK0006", name))
    archive = Archive(str(tmp_path))
    place = 'latitude_deg=1\nlongitude_deg=1\nheight_msl_m=1\ntimezone="UTC"\ncadence_s=1\nexposure_s=1\n'
    with pytest.raises(ConfigurationError, match="station 'UK0007' is not described") as caught:
        inventory(archive.objects(), Stations.parse(ENTRY + place, "stations.toml"))
    entry = str(caught.value).partition("\n\n")[2]
    described = Stations.parse(ENTRY + place + entry, "stations.toml")
    assert [incomplete.station.id for incomplete in described.incomplete] == ["UK0007"]
    (tmp_path / "UK0007/.config").write_text(CONFIG)
    whole, _ = complete_stations(described, archive, archive.objects())
    assert {unit.station for unit in inventory(archive.objects(), whole).nights} == {"UK0006", "UK0007"}
