"""Files of real stations, laid out as their networks lay them out, through the first two stages."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

from tests.conftest import untrained
from tests.jobs.test_run import nightsift, run

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs", "ignore:Consolidated metadata")

PLACE = """
network = "N"
latitude_deg = 51.9
longitude_deg = -1.3
height_msl_m = 80.0
timezone = "{timezone}"
layout = "{layout}"
cadence_s = {cadence}
exposure_s = {cadence}
"""


@pytest.fixture
def archive(tmp_path, shared, configure):
    """Put files of the shared data under the names of an archive, and describe their station."""

    def put(files, station, extra=""):
        for name, key in files.items():
            path = tmp_path / "archive" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(shared / name, path)
        (tmp_path / "stations.toml").write_text(f"[[station]]\n{station}\n")
        return configure(archive=tmp_path / "archive", stations=tmp_path / "stations.toml", extra=extra)

    return put


def opened(config, product, unit):
    return xr.open_zarr(config.parent / "workspace" / product / f"{unit}.zarr")


def place(station, layout, timezone="UTC", cadence=30):
    return f'id = "{station}"' + PLACE.format(layout=layout, timezone=timezone, cadence=cadence)


def test_a_night_folder_of_rms_describes_its_station(archive):
    night = "UK0006_20220914_185543_087124"
    ff = "FF_UK0006_20220914_194911_205_0079616.fits"
    files = {
        f"rms_UK0006_20220914/{name}": f"{night}/{name}" for name in (ff, ".config", "platepar_cmn2010.cal")
    }
    config = archive(files, 'id = "UK0006"\nnetwork = "UKMON"\nlayout = "rms"')
    run(config)
    frames = opened(config, "frames", "UK0006/2022-09-14")
    assert frames["time"].values[0] == np.datetime64("2022-09-14T19:49:11.205")
    assert frames["exposure_s"].values[0] == pytest.approx(10.24)
    assert frames["timemap"].shape == frames["frame"].shape == (1, 720, 1280)
    assert frames["rate_hz"].values[0] == 25
    (release,) = (config.parent / "workspace" / "releases").glob("*/release.json")
    assert json.loads(release.read_text())["stations"][0]["latitude_deg"] == pytest.approx(51.8831)


@pytest.mark.parametrize(
    ("clip", "name", "blocks", "shape"),
    [
        ("meteordl/CZ0003_20210307_021710_233167.mp4", "CZ0003_20210307_021710_233167.mp4", 1, (720, 1280)),
        ("freeture/meteor4.flv", "Chaligny_20210307_204411.flv", 2, (240, 320)),
        ("freeture/meteor1.avi", "Chaligny_20210307_204411.avi", 1, (480, 640)),
    ],
)
def test_clips_become_maxima_with_their_time_map(archive, clip, name, blocks, shape):
    station = name.split("_")[0]
    config = archive({clip: f"{station}/20210306/{name}"}, place(station, "video", cadence=10))
    run(config)
    (night,) = (config.parent / "workspace" / "frames" / station).iterdir()
    frames = opened(config, "frames", f"{station}/{night.stem}")
    assert frames["frame"].shape == (blocks, *shape)
    assert frames["timemap"].max() == 255 if blocks > 1 else frames["timemap"].max() > 100
    assert len(set(frames["key"].values)) == blocks
    if blocks > 1:
        step = np.diff(frames["time"].values)[0] / np.timedelta64(1, "ms")
        assert step == pytest.approx(256 / 25 * 1000, abs=1)


def test_sixteen_bit_fits_with_the_time_in_the_header(archive, tmp_path):
    package = untrained(tmp_path / "sigma", threshold="5 sigma")
    config = archive(
        {"pyasc/IMG01329.FIT": "MASN01/20151107/IMG01329.FIT"},
        # Read as UTC, the Moon in this frame would be below the horizon: the camera wrote civil time.
        place("MASN01", "fits", timezone="America/New_York") + 'fits_clock = "local"\n',
        extra='[difference]\nthreshold = "5 sigma"\n',
    )
    config.write_text(
        config.read_text().replace(config.read_text().split('package = "')[1].split('"')[0], str(package))
    )
    run(config)
    frames = opened(config, "frames", "MASN01/2015-11-07")
    assert frames["frame"].dtype == np.uint16
    assert frames["time"].values[0] == np.datetime64("2015-11-08T10:12:22")
    assert frames["exposure_s"].values[0] == 25


def test_indi_allsky_and_dfn_by_their_names(archive):
    names = ("20210421_043940.jpg", "test_moon.jpg", "test_no_clouds.jpg")
    keys = [f"INDI/20260301/night/ccd1_20260301_22{minute}51.jpg" for minute in (42, 43, 44)]
    config = archive(
        dict(zip([f"indi_allsky/{n}" for n in names], keys, strict=True)), place("INDI", "indi-allsky")
    )
    run(config)
    frames = opened(config, "frames", "INDI/2026-03-01")
    assert frames["frame"].shape == (2, 1080, 1920)  # the first is of another size
    said = json.loads(nightsift("status", config, "--json").stdout)
    assert said["stations"]["INDI"]["scores"] == 1


def test_exif_orientation_never_turns_the_pixels(archive, shared, tmp_path):
    from PIL import Image

    with Image.open(shared / "freeture" / "gretz_armainvilliers-fireball-20141229.jpg") as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = tmp_path / "archive" / "DFN" / "025_2021-09-09_053629_E_DSC_0379.thumb.jpg"
        turned.parent.mkdir(parents=True)
        image.save(turned, exif=exif)
    station = place("DFNEXT025", "dfn") + 'archive_name = "025"\n'
    config = archive({}, station)
    run(config)
    (night,) = (config.parent / "workspace" / "frames" / "DFNEXT025").iterdir()
    assert opened(config, "frames", f"DFNEXT025/{night.stem}")["frame"].shape == (1, 717, 834)
