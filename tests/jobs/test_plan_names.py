"""What `nightsift plan` says of names that nobody claims, and of stations that their archive describes."""

import json
import shutil

import pytest

from tests.jobs.test_run import nightsift

RMS = '[[station]]\nid = "UK0006"\nnetwork = "UKMON"\nlayout = "rms"\n'


@pytest.fixture
def archive(tmp_path, simulated, configure):
    """A copy of the simulated archive, with further files."""

    def write(*keys: str, stations: str = "") -> object:
        shutil.copytree(simulated.archive, tmp_path / "archive")
        for key in keys:
            path = tmp_path / "archive" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        text = (simulated.folder / "stations.toml").read_text()
        (tmp_path / "stations.toml").write_text(text + stations)
        return configure(archive="archive", stations="stations.toml")

    return write


def test_names_that_almost_fit_come_with_what_does_not(archive):
    names = [f"SIM001/20211030/img_2021103022260{n}.jpg" for n in range(3)]
    config = archive(*names, "SIM001/20211030/keogram/keogram-20211030.jpg", "SIM001/\x1b[2Jnotes")
    said = nightsift("plan", config).stdout
    assert "5 objects that no station claims, such as" in said
    assert f"{names[0]} (3 of this form)" in said
    assert "allsky: 'SIM001/20211030/' fits STATION/[images/]YYYYMMDD/; expected image-YYYYMMDDHHMMSS" in said
    assert "written beside the frames by the camera's software, not a frame" in said
    assert "\x1b[2J" not in said
    values = json.loads(nightsift("plan", config, "--json").stdout)
    assert values["unclaimed"] == 5
    assert values["unclaimed_reasons"][0]["like_it"] == 3


def test_a_station_that_its_archive_describes(archive, tmp_path):
    ff = "UK0006_20220914_185543_087124/FF_UK0006_20220914_194911_205_0079616.fits"
    config = archive(ff, stations=RMS)
    refused = nightsift("plan", config, code=3).stderr
    assert "missing key latitude_deg" in refused
    settings = (
        "[System]\nstationID: UK001L\nlatitude: 51.9\nlongitude: -1.3\nelevation: 80\n[Capture]\nfps: 25\n"
    )
    (tmp_path / "archive" / ff).with_name(".config").write_text(settings)
    said = nightsift("plan", config).stdout
    assert "3 stations, 5 nights" in said
    assert ".config says that it is of station UK001L, its frames UK0006" in said


def test_an_archive_that_begins_a_folder_too_high(archive, tmp_path, configure):
    archive()
    (tmp_path / "network").mkdir()
    (tmp_path / "archive").rename(tmp_path / "network/archive")
    said = nightsift("plan", configure(archive="network", stations="stations.toml"), code=3).stderr
    assert "should [archive] url end with 'archive/'?" in said
