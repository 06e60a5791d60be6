"""Archives of a night: what their names tell, and which of their members are frames."""

from datetime import UTC, date, datetime

import pytest

from nightsift.archive.layouts import is_container, member_refs, without_duplicates
from nightsift.archive.nights import StationNight
from tests.archive.described import sorted_into, station

NIGHT = date(2021, 3, 10)
UK0006 = station("UK0006", "rms", timezone="UTC")
HAWAII = station("US0001", "rms", timezone="Pacific/Honolulu")
DFN = station("dfn", "dfn", archive_name="022", timezone="Australia/Perth")


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".zip", ".ZIP"])
def test_kinds_of_archives(ending):
    assert is_container(f"PUJALT/20210310{ending}")
    (refs,) = sorted_into(f"PUJALT/20210310{ending}").nights.values()
    assert [(ref.night, ref.start_utc, ref.reason) for ref in refs] == [(NIGHT, None, None)]


@pytest.mark.parametrize(
    "key", ["PUJALT/20210310.jpg", "PUJALT/20210310.tar.gz/a.jpg", "PUJALT/20210310zip", "zip"]
)
def test_what_is_no_archive(key):
    assert not is_container(key)


@pytest.mark.parametrize(
    ("key", "of", "night"),
    [
        ("PUJALT/images/20210310.zip", station(), NIGHT),
        ("PUJALT/20210310.zip", station(folder_date="morning"), date(2021, 3, 9)),
        ("PUJALT/2021/2021-03-10.tar", station(layout="video"), NIGHT),
        ("PUJALT/20210310.tar", station(layout="fits"), NIGHT),
        ("PUJALT/ccd_6f-1/exposures/20210310.tar", station(layout="indi-allsky"), NIGHT),
        ("UK0006/UK0006_20220914_185543_087124_detected.tar.bz2", UK0006, date(2022, 9, 14)),
        ("UK0006_20220914_185543_087124.tar.bz2", UK0006, date(2022, 9, 14)),
        # Dusk in Hawaii is the next day in UTC.
        ("US0001_20220915_044543_087124.tar.bz2", HAWAII, date(2022, 9, 14)),
        ("DFNEXT022/2018/01/2018-01-31_DFNEXT022_1517440320.tar", DFN, date(2018, 1, 31)),
    ],
)
def test_station_and_night_from_the_name(key, of, night):
    assert list(sorted_into(key, stations=(of,)).nights) == [StationNight(of.id, night)]


def members_of(key, *paths, of=None, **more):
    of = of or station(**more)
    ((container,),) = sorted_into(key, stations=(of,)).nights.values()
    return member_refs(of, container, [(path, 9) for path in paths])


@pytest.mark.parametrize("folder", ["", "20210310/", "./20210310/", "images/20210310/", "PUJALT/20210310/"])
def test_members_as_if_unpacked(folder):
    (ref,) = members_of("PUJALT/20210310.tar.gz", f"{folder}image-20210310222605.jpg")
    assert ref.start_utc == datetime(2021, 3, 10, 21, 26, 5, tzinfo=UTC)
    assert ref.key == f"PUJALT/20210310.tar.gz/{folder}image-20210310222605.jpg"
    assert (ref.reason, ref.size, ref.etag, ref.night) == (None, 9, "etag", NIGHT)


def test_members_come_in_time_order_and_once():
    refs = members_of(
        "PUJALT/20210310.tar",
        "image-20210311013000.jpg",
        "image-20210310222605.jpg",
        "20210310/image-20210310222605.jpg",
    )
    assert [(ref.key.rpartition(".tar/")[2], ref.reason) for ref in refs] == [
        ("20210310/image-20210310222605.jpg", None),
        ("image-20210310222605.jpg", "duplicate-time"),
        ("image-20210311013000.jpg", None),
    ]


def test_the_clocks_of_a_night_in_an_archive():
    times = ("28015956", "28023000", "28030019")
    refs = members_of("PUJALT/20210327.tar", *(f"image-202103{time}.jpg" for time in times))
    assert [(str(ref.start_utc)[11:19], ref.reason) for ref in refs] == [
        ("00:59:56", None),
        ("01:00:19", None),
        ("01:30:00", "nonexistent-time"),
    ]


def test_an_archive_of_rms_holds_much_that_is_no_frame():
    capture = "UK0006_20220914_185543_087124"
    refs = members_of(
        f"UK0006/{capture}_detected.tar.bz2",
        "FF_UK0006_20220914_194911_205_0079616.fits",
        f"{capture}_detected/FF_UK0006_20220914_195911_205_0079616.fits",
        "FF_UK0006_20220914_194911_205_0079616.jpg",
        "FR_UK0006_20220914_194911_205_0079616.bin",
        "FF_UK0007_20220914_194911_205_0079616.fits",  # of another station
        f"{capture}_stack_3_meteors.jpg",
        ".config",
        "mask.bmp",
        of=UK0006,
    )
    assert [(ref.key.rpartition("/")[2], ref.reason) for ref in refs] == [
        ("FF_UK0007_20220914_194911_205_0079616.fits", "unparsable-name"),
        ("FF_UK0006_20220914_194911_205_0079616.fits", None),
        ("FF_UK0006_20220914_195911_205_0079616.fits", None),
    ]


def test_members_that_tell_their_time_themselves():
    refs = members_of("PUJALT/20210310.zip", "a.fits", "20210310/b.fits", "20210311/c.fits", layout="fits")
    assert [(ref.key[-6:], ref.start_utc, ref.reason) for ref in refs] == [
        ("b.fits", None, None),
        ("c.fits", None, "wrong-night"),
        ("a.fits", None, None),
    ]


def test_an_archive_of_several_cameras_is_read_for_each():
    cameras = [station(name, "indi-allsky", archive_name="S", camera=name) for name in ("ccd1", "ccd2")]
    found = sorted_into("S/20260301.tar", stations=tuple(cameras))
    paths = [(f"ccd{n}_20260301_22425{n}.png", 1) for n in (1, 2, 3)]
    for camera, (container,) in zip(cameras, found.nights.values(), strict=True):
        refs = member_refs(camera, container, paths)
        assert [ref.key for ref in refs] == [f"S/20260301.tar/{camera.id}_20260301_22425{camera.id[-1]}.png"]


def test_an_archive_without_a_frame_is_kept_with_its_reason():
    (ref,) = members_of("PUJALT/20210310.tar", "notes.txt")
    assert (ref.key, ref.reason) == ("PUJALT/20210310.tar", "unparsable-name")


def test_duplicates_of_archives_and_loose_files():
    loose = sorted_into("PUJALT/20210310/image-20210310222605.jpg").nights[StationNight("PUJALT", NIGHT)]
    packed = members_of("PUJALT/20210310.tar", "image-20210310222605.jpg", "image-20210310222636.jpg")
    both = without_duplicates((*packed, *loose))
    assert [ref.reason for ref in both] == [None, "duplicate-time", None]
    assert without_duplicates(both) == both
