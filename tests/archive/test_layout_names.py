"""What each layout reads off real names, and off those of every file of the real cases."""

from collections import Counter
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightsift.archive.layouts import LAYOUTS
from nightsift.archive.layouts.claims import Claim
from nightsift.archive.layouts.stamps import find_stamp
from nightsift.archive.stations import LayoutName

NIGHT = date(2021, 3, 10)
SHOT = datetime(2021, 3, 10, 22, 26, 5)
INDI = datetime(2026, 3, 1, 22, 42, 51)
SESSION = "DFNEXT022/2018/01/2018-01-31_DFNEXT022_1517440320"
CAPTURE = "UK0006_20220914_185543_087124"

NAMES = [
    ("allsky", "PUJALT/20210310/image-20210310222605.jpg", Claim("PUJALT", None, NIGHT, SHOT)),
    ("allsky", "PUJALT/images/20210310/image-20210310222605.jpg", Claim("PUJALT", None, NIGHT, SHOT)),
    ("allsky", "PUJALT/20210310/image-20210310222605.JPEG", Claim("PUJALT", None, NIGHT, SHOT)),
    ("allsky", "PUJALT/20210310/image-20210310222605.png", Claim("PUJALT", None, NIGHT, SHOT)),
    ("allsky", "PUJALT/20210310/image-20210310222605-cam2.jpg", Claim("PUJALT", "cam2", NIGHT, SHOT)),
    ("allsky", "PUJALT/20210310/image_cam2-20210310222605.jpg", Claim("PUJALT", "cam2", NIGHT, SHOT)),
    ("allsky", "PUJALT/20210310/image2-20210310222605.jpg", Claim("PUJALT", "2", NIGHT, SHOT)),
    ("allsky", "PUJALT/20210310/north-20210310222605.jpg", Claim("PUJALT", "north", NIGHT, SHOT)),
    (
        "allsky",
        "PUJALT/20210310/image-2021031022260.jpg",
        Claim("PUJALT", None, NIGHT, reason="unparsable-name"),
    ),
    ("allsky", "PUJALT/20210310/image-20210310222605.gif", None),
    ("allsky", "PUJALT/20210310/keogram/keogram-20210310.jpg", None),
    ("allsky", "PUJALT/20210310/thumbnails/image-20210310222605.jpg", None),
    ("allsky", "PUJALT/20211350/image-20210310222605.jpg", None),
    (
        "indi-allsky",
        "S/ccd_6f-1/exposures/20260301/night/01_22/ccd1_20260301_224251.png",
        Claim("S", "ccd1", None, INDI),
    ),
    (
        "indi-allsky",
        "ccd_6f-1/exposures/20260301/night/01_22/ccd1_20260301_224251.jpg",
        Claim("ccd_6f-1", "ccd1", None, INDI),
    ),
    ("indi-allsky", "S/ccd12_20260301_224251.fit", Claim("S", "ccd12", None, INDI)),
    (
        "indi-allsky",
        "S/exposures/20260301/night/01_22/ccd1_20260301_994251.png",
        Claim("S", "ccd1", date(2026, 3, 1), reason="unparsable-name"),
    ),
    ("indi-allsky", "S/ccd1_20260301_994251.png", None),
    ("indi-allsky", "S/exposures/20260301/night/01_22/raw_ccd1_20260301_224251.png", None),
    ("indi-allsky", "S/timelapse/20260301/allsky-keogram_ccd1_20260301_night_1.jpg", None),
    (
        "dfn",
        "025_2021-09-09_053629_E_DSC_0379.thumb.jpg",
        Claim("025", start_utc=datetime(2021, 9, 9, 5, 36, 29, tzinfo=UTC)),
    ),
    (
        "dfn",
        f"{SESSION}/022_2018-01-31_143200_DSC_1644.JPG",
        Claim("022", start_utc=datetime(2018, 1, 31, 14, 32, tzinfo=UTC)),
    ),
    (
        "dfn",
        f"{SESSION}/022_2018-01-31_143299_E_DSC_1644.jpg",
        Claim("022", None, date(2018, 1, 31), reason="unparsable-name"),
    ),
    ("dfn", f"{SESSION}/022_2018-01-31_143200_E_DSC_1644.NEF", None),
    ("dfn", "005_2017-07-31_115327_E_DSC_0401.thumb.5200.3600.tile.jpg", None),
    (
        "rms",
        f"UK0006/ArchivedFiles/{CAPTURE}/FF_UK0006_20220914_194911_205_0079616.fits",
        Claim("UK0006", start_utc=datetime(2022, 9, 14, 19, 49, 11, 205000, tzinfo=UTC)),
    ),
    (
        "rms",
        "FF_UK0006_20220914_194911_205123_0079616.fits",
        Claim("UK0006", start_utc=datetime(2022, 9, 14, 19, 49, 11, 205123, tzinfo=UTC)),
    ),
    (
        "rms",
        f"{CAPTURE}/FF_UK0006_20220914_194911.fits",
        Claim("UK0006", None, date(2022, 9, 14), reason="unparsable-name"),
    ),
    ("rms", "FF_UK0006_20220914_194911.fits", None),
    ("rms", "FF_UK001L_20230319_045940_890_0757504.jpg", None),
    ("rms", f"{CAPTURE}/FR_UK0006_20220914_194911_205_0079616.bin", None),
    ("fits", "UMD/20151108/IMG01329.FIT", Claim("UMD", None, date(2015, 11, 8))),
    ("fits", "UMD/2015/2015-11-08/cam/a.fts", Claim("UMD", None, date(2015, 11, 8))),
    (
        "fits",
        "UMD/20151108/sky_20151108_051222.fits",
        Claim("UMD", None, date(2015, 11, 8), datetime(2015, 11, 8, 5, 12, 22)),
    ),
    ("fits", "UMD/IMG01329.FIT", None),
    (
        "video",
        "CZ0003_20210307_021710_233167.mp4",
        Claim("CZ0003", None, None, datetime(2021, 3, 7, 2, 17, 10, 233167)),
    ),
    (
        "video",
        "AMS1/HD/2018_12_25_09_29_24_000_010003.mp4",
        Claim("AMS1", "010003", None, datetime(2018, 12, 25, 9, 29, 24)),
    ),
    (
        "video",
        "AMS1/2021_11_20_22_50_01_000_010001-trim-1376-HD.mp4",
        Claim("AMS1", "010001", None, datetime(2021, 11, 20, 22, 50, 56, 40_000)),
    ),
    (
        "video",
        "Chaligny/meteor_20150315T204411_UT.avi",
        Claim("Chaligny", start_utc=datetime(2015, 3, 15, 20, 44, 11, tzinfo=UTC)),
    ),
    (
        "video",
        "S/20210310/clip.mov",
        Claim("S", None, NIGHT, reason="unparsable-name"),
    ),
    ("video", "S/clip.mov", None),
    ("video", f"UK0006/{CAPTURE}_timelapse.mp4", None),
]


@pytest.mark.parametrize(("layout", "key", "expected"), NAMES, ids=[f"{n[0]} {n[1]}" for n in NAMES])
def test_what_a_layout_reads(layout, key, expected):
    assert LAYOUTS[layout].claim(key) == expected


def test_a_station_s_layout_is_one_that_exists():
    assert set(LAYOUTS) == set(LayoutName.__args__)


@pytest.mark.parametrize(
    "text",
    [
        "20210307021710",
        "20210307T021710Z",
        "2021-03-07_02-17-10",
        "2021-03-07T02:17:10.233",
        "M20210307_021710_x",
        "cam1 2021.03.07 02.17.10",
    ],
)
def test_spellings_of_a_time(text):
    found = find_stamp(text)
    assert found is not None
    assert found.time.replace(microsecond=0, tzinfo=None) == datetime(2021, 3, 7, 2, 17, 10)


@pytest.mark.parametrize(
    "text", ["120210307021710", "2021-0307-021710", "19991399999999", "20210307_0217", ""]
)
def test_what_is_no_time(text):
    assert find_stamp(text) is None


PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "/",
            "image-",
            "ccd1_",
            "FF_",
            "_",
            "-",
            ".jpg",
            ".fits",
            ".mp4",
            ".tar",
            "20210310",
            "222605",
            "205",
        ]
    ),
    st.from_regex(r"[0-9]{1,17}", fullmatch=True),
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_no_name_breaks_a_layout(key):
    for layout in LAYOUTS.values():
        claim = layout.claim(key)
        assert claim == layout.claim(key)
        assert (claim or layout.near_miss(key)) is not None
        layout.claim_night(key)
        if claim is not None:
            assert claim.station in key
            # A claim has a time, or a night to keep the object in.
            assert claim.civil_time or claim.start_utc or claim.folder_date


START = st.datetimes(datetime(1990, 1, 1), datetime(2098, 1, 1)).map(lambda time: time.replace(microsecond=0))
WRITTEN = {
    "allsky": "S/{0:%Y%m%d}/image-{0:%Y%m%d%H%M%S}.jpg",
    "indi-allsky": "S/ccd1_{0:%Y%m%d_%H%M%S}.png",
    "dfn": "025_{0:%Y-%m-%d_%H%M%S}_E_DSC_0379.thumb.jpg",
    "rms": "FF_UK0006_{0:%Y%m%d_%H%M%S}_000_0000256.fits",
    "fits": "S/{0:%Y%m%d}/{0:%Y-%m-%dT%H%M%S}.fits",
    "video": "S/{0:%Y_%m_%d_%H_%M_%S}_000_010003.mp4",
}


@given(START, st.sampled_from(sorted(WRITTEN)))
def test_a_written_time_is_read_again(start, layout):
    claim = LAYOUTS[layout].claim(WRITTEN[layout].format(start))
    assert claim is not None
    assert (claim.civil_time or claim.start_utc.replace(tzinfo=None)) == start


def test_the_real_cases_by_source(shared):
    """Every file of the real cases by folder and layout; the rest is no frame, or has no time in its name."""
    claimed: Counter[tuple[str, str]] = Counter()
    for path in sorted(path for path in shared.rglob("*") if path.is_file()):
        folder, _, rest = str(path.relative_to(shared)).partition("/")
        # Stills of a network lie in one folder here: as a station's they would lie in a night's.
        keys = [rest, f"{folder}/{rest}"]
        for name, layout in LAYOUTS.items():
            claimed[folder, name] += any(layout.claim(key) for key in keys)
    assert {pair: count for pair, count in claimed.items() if count} == {
        ("meteordl", "video"): 1,
        ("nights", "allsky"): 300,
        ("rms_UK0006_20220914", "rms"): 1,
    }
