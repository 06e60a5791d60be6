"""What an operator is told of objects that no station claims."""

import pytest

from nightsift.archive.layouts import LAYOUTS, Unclaimed, explain
from nightsift.archive.stations import Stations
from tests.archive.described import station

PUJALT = station()
RMS = station("UK0006", "rms")
SHOT = "PUJALT/20210310/image-20210310222605"


@pytest.mark.parametrize(
    ("key", "described", "said"),
    [
        (
            "PUJALT/20210310/img_2021.jpg",
            (PUJALT,),
            "allsky: 'PUJALT/20210310/' fits STATION/[images/]YYYYMMDD/; "
            "expected image-YYYYMMDDHHMMSS, found 'img_2021.jpg'",
        ),
        (f"{SHOT}.bmp", (PUJALT,), "expected .jpg, found '.bmp'"),
        (f"{SHOT}.jpg.part", (PUJALT,), "expected nothing more, found '.part'"),
        (
            f"{SHOT}.jpg",
            (RMS,),
            "its names fit station 'PUJALT', which stations.toml does not describe",
        ),
        (
            "UK0006/FF_UK0006_20220914_194911_205_0079616.fits",
            (station("UK0006"),),
            'rms: its names fit, but station UK0006 has layout = "allsky"',
        ),
        ("FF_UK0006_20220914_194911_205_0079616.jpg", (RMS,), "; expected .fits, found '.jpg'"),
        (
            f"{SHOT}-b.jpg",
            (station(camera="a"),),
            "allsky: its names fit, but its camera is 'b': PUJALT has a",
        ),
        (f"{SHOT}.jpg", (station(valid_to="2020-01-01"),), "station PUJALT does not hold for that night"),
        ("PUJALT/20210310/keogram/keogram-20210310.jpg", (PUJALT,), "written beside the frames"),
        ("PUJALT/backup.tar.gz", (PUJALT,), "an archive whose name tells no station and night"),
        (f"network/{SHOT}.jpg", (PUJALT,), "should [archive] url end with 'network/'?"),
        (SHOT.removeprefix("PUJALT/") + ".jpg", (PUJALT,), "should [archive] url be one folder higher?"),
        ("S/clip.mp4", (station("S", "video"),), "video: 'S/clip.mp4' fits"),
    ],
)
def test_why_an_object_is_not_claimed(key, described, said):
    assert said in "\n".join(explain(key, Stations(described, "stations.toml")))


@pytest.mark.parametrize("key", ["readme", "PUJALT/readme.txt", ""])
def test_what_is_like_nothing_gets_no_guess(key):
    assert explain(key, Stations((PUJALT,), "stations.toml")) == ()


def test_a_station_s_own_layout_is_told_first():
    key = "UK0006/20220914/FF_UK0006_20220914.jpg"
    for own, other in (("rms", "fits"), ("fits", "rms")):
        first, second = explain(key, Stations((station("UK0006", own),), "stations.toml"))
        assert (first.split(":")[0], second.split(":")[0]) == (own, other)


def test_every_layout_s_near_miss_names_its_shape():
    for layout in LAYOUTS.values():
        assert layout.shape.count("/") + 1
        miss = layout.near_miss("no/such/thing.txt")
        assert miss.text.startswith(f"{layout.name}: ")
        assert 0 <= miss.share < 1


def test_the_unclaimed_are_counted_by_form_and_bounded():
    unclaimed = Unclaimed()
    for number in range(10_000):
        unclaimed.add(f"A/{number:08d}/keogram-{number:08d}.jpg")
        unclaimed.add("B/" + "x" * number + ".dat")
    assert unclaimed.count == 20_000
    assert len(unclaimed.examples) <= 50
    assert next(iter(unclaimed.examples.items())) == ("A/00000000/keogram-00000000.jpg", 10_000)
