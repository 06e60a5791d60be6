"""Names that no camera should write, each with what becomes of it. None may raise, and none may vanish."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.layouts import FrameRef, explain, member_refs, readable
from nightsift.archive.nights import StationNight
from nightsift.archive.stations import Stations
from nightsift.archive.stores import Archive
from tests.archive.described import sorted_into, station

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
STATIONS = (
    station("PUJALT"),
    station("pujalt"),
    station("rms", "rms", archive_name="UK0006", timezone="UTC"),
    station("sky", "fits"),
    station("clips", "video"),
    station("dfn", "dfn", archive_name="025", timezone="Australia/Perth"),
    station("indi", "indi-allsky"),
    station("hill", archive_name="Café Ñandú 山"),
)
USABLE, UNCLAIMED = "usable", "unclaimed"

NAMES = {
    # times that do not exist
    "PUJALT/20210310/image-20210332222605.jpg": "unparsable-name",  # the 32nd
    "PUJALT/20210310/image-20211310222605.jpg": "unparsable-name",  # month 13
    "PUJALT/20210310/image-20210229222605.jpg": "unparsable-name",  # no leap year
    "PUJALT/20210310/image-20210310240000.jpg": "unparsable-name",  # hour 24
    "PUJALT/20161231/image-20161231235960.jpg": "unparsable-name",  # a leap second, which no clock shows
    "PUJALT/20210310/image-00000310222605.jpg": "unparsable-name",  # year 0
    "PUJALT/20210310/image-00010101000000.jpg": "unparsable-name",  # no zone can move it
    "PUJALT/20210310/image-99991231235959.jpg": "unparsable-name",
    "PUJALT/20210328/image-20210328023000.jpg": "nonexistent-time",  # the clocks jump over it
    "UK0006_20220914_185543_087124/FF_UK0006_20220931_194911_205_0079616.fits": "unparsable-name",
    "FF_UK0006_20220931_194911_205_0079616.fits": UNCLAIMED,  # nor does a folder tell the night
    "indi/exposures/20260301/night/01_22/ccd1_20260301_229951.png": "unparsable-name",
    "2021-02-30_DFNEXT025_1/025_2021-02-30_053629_E_DSC_0379.thumb.jpg": UNCLAIMED,
    "clips/20210310/x_20210310_992605.mp4": "unparsable-name",
    "sky/20210310/x_20210310_992605.fits": USABLE,  # its header may tell
    "PUJALT/20211350/image-20210310222605.jpg": UNCLAIMED,  # a folder of no day
    # times that a camera cannot mean
    "PUJALT/20260309/image-20990310222605.jpg": "implausible-time",  # in the future
    "PUJALT/20261121/image-20261121135900.jpg": "implausible-time",  # a day and an hour ahead
    "PUJALT/20261121/image-20261121115900.jpg": USABLE,  # a day ahead: clocks are wrong by that much
    "PUJALT/19700101/image-19700101000012.jpg": "implausible-time",  # a clock that was never set
    "PUJALT/00020101/image-00020101000000.jpg": "implausible-time",
    "sky/29990310/x.fits": "implausible-time",  # a folder of the future
    "UK0006/UK0006_20990914_185543_087124.tar.bz2": "implausible-time",
    # spellings
    "PUJALT/20210310/image-２０２１０３１０２２２６０５.jpg": "unparsable-name",  # fullwidth digits  # noqa: RUF001
    "PUJALT/20210310/image-٢٠٢١٠٣١٠٢٢٢٦٠٥.jpg": "unparsable-name",  # Arabic digits
    "PUJALT/２０２１０３１０/image-20210310222605.jpg": UNCLAIMED,  # noqa: RUF001
    "PUJALT/20210310/image-+2021310222605.jpg": "unparsable-name",
    "PUJALT/20210310/image- 2021031022260.jpg": "unparsable-name",
    "PUJALT/20210310/image-.jpg": "unparsable-name",
    "PUJALT/20210310/image-20210310222605\n.jpg": "unparsable-name",
    "PUJALT/20210310/image-20210310222605.jpg\n": UNCLAIMED,
    "PUJALT/20210310/image-20210310222605.jpg ": UNCLAIMED,
    "PUJALT/20210310/image-20210310222605.jpg.part": UNCLAIMED,
    "PUJALT/20210310/image-☄️🌠.jpg": "unparsable-name",
    "PUJALT/20210312/imagen-λ-20210312222605.jpg": USABLE,  # another FILENAME, in other letters
    "PUJALT/20210310/image-" + "1" * 300 + ".jpg": "unparsable-name",
    "PUJALT/20210310/" + "image-20210310222605-" * 48 + ".jpg": USABLE,  # the rest is a camera's name
    "20210310/" * 110: UNCLAIMED,
    "a/" * 512: UNCLAIMED,
    "PUJALT/20210310/image-\x1b[31m.jpg": "unparsable-name",  # an escape of terminals
    "PUJALT/20210310/image-\x00.jpg": "unparsable-name",
    "PUJALT/20210310/image-20210310222605\udcff.jpg": UNCLAIMED,  # no UTF-8: no product could name it
    "Café Ñandú 山/20210310/image-20210310222605.jpg": USABLE,
    # places
    "pujalt/20210310/image-20210310222605.jpg": USABLE,  # a station of its own
    "Pujalt/x": UNCLAIMED,
    "PUJALT//20210310/image-20210310222605.jpg": UNCLAIMED,
    "/PUJALT/20210310/image-20210310222605.jpg": UNCLAIMED,
    "PUJALT/20210310/../20210310/image-20210310222605.jpg": UNCLAIMED,
    "PUJALT/20210310/image-20210310222605.jpg/inside.jpg": UNCLAIMED,
    "image-20210310222605.jpg": UNCLAIMED,
    "PUJALT/20210310.tar.gz": USABLE,
    "PUJALT/20211350.tar.gz": UNCLAIMED,
    "PUJALT/backup.zip": UNCLAIMED,
    "/": UNCLAIMED,
    "": UNCLAIMED,
}


@pytest.mark.parametrize(("key", "outcome"), NAMES.items(), ids=[ascii(key)[:60] for key in NAMES])
def test_what_becomes_of_a_name(key, outcome):
    found = sorted_into(key, stations=STATIONS, now=NOW)
    refs = [ref for refs in found.nights.values() for ref in refs]
    assert [ref.reason or USABLE for ref in refs] == ([] if outcome == UNCLAIMED else [outcome])
    assert found.unclaimed.count == (outcome == UNCLAIMED)
    # Whatever it is, it can be shown and written down.
    readable(key).encode()
    for sentence in explain(key, Stations(STATIONS, "stations.toml")):
        assert sentence.isprintable()
        sentence.encode()


def test_all_of_them_at_once():
    found = sorted_into(*NAMES, stations=STATIONS, now=NOW)
    assert found.frames + found.unclaimed.count == len(NAMES)
    assert found.unclaimed.count == list(NAMES.values()).count(UNCLAIMED)


@pytest.mark.parametrize("name", ["..", ".", "PUJALT\n", "P\udcffUJALT", "a" * 300, "山"])
def test_a_station_of_an_odd_name_is_refused_or_unclaimed(name):
    key = f"{name}/20210310/image-20210310222605.jpg"
    if "\udcff" in name:
        assert sorted_into(key).unclaimed.count == 1
        return
    with pytest.raises(ConfigurationError, match=r"is not described in stations\.toml") as caught:
        sorted_into(key)
    assert str(caught.value).replace("\n", "").isprintable()


MEMBERS = {
    # hostile paths: kept below the archive's key, and never read
    "../image-20210310222605.jpg": ("%2E%2E/image-20210310222605.jpg", "unparsable-name"),
    "20210310/../../etc/passwd": ("20210310/%2E%2E/%2E%2E/etc/passwd", "unparsable-name"),
    "/etc/passwd": ("%2Fetc/passwd", "unparsable-name"),
    "//host/image-20210310222605.jpg": ("%2F/host/image-20210310222605.jpg", "unparsable-name"),
    "20210310\\image-20210310222605.jpg": ("20210310%5Cimage-20210310222605.jpg", "unparsable-name"),
    "C:\\image-20210310222605.jpg": ("C:%5Cimage-20210310222605.jpg", "unparsable-name"),
    "image-20210310222605.jpg\0.txt": ("image-20210310222605.jpg%00.txt", "unparsable-name"),
    "..": ("%2E%2E", "unparsable-name"),
    "image-20210310222605\udcff.jpg": ("image-20210310222605%ED%B3%BF.jpg", "unparsable-name"),
    # members of any place in the archive
    "image-20210310222605.jpg": ("image-20210310222605.jpg", None),
    "./image-20210310222605.jpg": ("./image-20210310222605.jpg", None),
    "20210310/image-20210310222605.jpg": ("20210310/image-20210310222605.jpg", None),
    "PUJALT/20210310/image-20210310222605.jpg": ("PUJALT/20210310/image-20210310222605.jpg", None),
    "..20210310/image-2021.jpg": ("..20210310/image-2021.jpg", "unparsable-name"),
    # other nights, names and kinds
    "image-20210311222605.jpg": ("image-20210311222605.jpg", "wrong-night"),
    "20210310/image-20990310222605.jpg": ("20210310/image-20990310222605.jpg", "wrong-night"),
    "image-2021.jpg": ("image-2021.jpg", "unparsable-name"),
    "IMG_1.JPG": ("IMG_1.JPG", "unparsable-name"),
    "more.zip": ("more.zip", "unsupported"),
    "keogram/keogram-20210310.jpg": None,
    "20210310/thumbnails/image-20210310222605.jpg": None,
    "notes.txt": None,
}


@pytest.mark.parametrize(("path", "expected"), MEMBERS.items(), ids=[ascii(path)[:60] for path in MEMBERS])
def test_what_becomes_of_a_member(path, expected):
    container = FrameRef("PUJALT", date(2021, 3, 10), None, "PUJALT/20210310.tar.gz", 10**6, "e")
    # A frame beside it keeps the archive from being empty.
    members = [("image-20210310230000.jpg", 5), (path, 7)]
    found = [ref for ref in member_refs(station(), container, members) if ref.size == 7]
    assert [(ref.key, ref.reason) for ref in found] == (
        [(f"{container.key}/{expected[0]}", expected[1])] if expected else []
    )
    assert all(ref.night == container.night and ref.etag == "e" for ref in found)


def test_folders_that_loop_are_listed_once(tmp_path):
    frame = tmp_path / "PUJALT/20210310/image-20210310222605.jpg"
    frame.parent.mkdir(parents=True)
    frame.write_bytes(b"x")
    (frame.parent / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "PUJALT/20210311").symlink_to(tmp_path / "PUJALT/20210311")
    (tmp_path / "PUJALT/nowhere.jpg").symlink_to(tmp_path / "gone")
    listed = [item.key for item in Archive(str(tmp_path)).objects()]
    assert listed.count("PUJALT/20210310/image-20210310222605.jpg") == 1
    assert len(listed) <= 4
    assert sorted_into(*listed).frames == 1


def test_a_local_name_that_is_no_utf_8_is_listed_and_left(tmp_path):
    folder = tmp_path / "PUJALT/20210310"
    folder.mkdir(parents=True)
    Path(os.fsdecode(os.fsencode(folder) + b"/image-20210310222605\xff.jpg")).write_bytes(b"x")
    listed = [item.key for item in Archive(str(tmp_path)).objects()]
    found = sorted_into(*listed)
    assert (found.frames, found.unclaimed.count) == (0, 1)


def test_stations_that_differ_by_case_are_two():
    keys = ["PUJALT/20210310/image-20210310222605.jpg", "pujalt/20210310/image-20210310222605.jpg"]
    found = sorted_into(*keys, stations=STATIONS, now=NOW)
    assert list(found.nights) == [StationNight(name, date(2021, 3, 10)) for name in ("PUJALT", "pujalt")]
