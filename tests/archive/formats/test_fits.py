import warnings
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import astropy.units as u
import cv2
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
from astropy.io import fits
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats import header_exposure, pictures
from tests.archive.formats.makers import DEEP, RGB, SMOOTH, ff_file, fits_file, raw_fits

START = datetime(2022, 9, 14, 22, 10, 5, 250_000, tzinfo=UTC)
MAXIMUM = SMOOTH[..., 0]
TIMEMAP = (np.arange(MAXIMUM.size) % 256).astype(np.uint8).reshape(MAXIMUM.shape)


def decoded(data, **options):
    (picture,) = pictures("frame.fits", data, **options)
    return picture


def refusal(data):
    with pytest.raises(BadFrame) as caught:
        decoded(data)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize("array", [DEEP, MAXIMUM, DEEP // 3], ids=["16 bits", "8 bits", "15 bits"])
def test_levels_keep_their_depth_and_rows_their_order(array):
    picture = decoded(fits_file(array))
    assert picture.gray.dtype == array.dtype
    assert np.array_equal(picture.gray, array)
    assert picture.colour is None


def test_signed_levels_that_are_never_negative_are_levels():
    assert np.array_equal(decoded(fits_file((DEEP // 2).astype(np.int16))).gray, DEEP // 2)


def test_the_off_by_one_of_pyasc_makes_minus_one_which_is_nought():
    stored = np.array([[-32768, -32767, 32767]], ">i2")
    cards = ("BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 3", "NAXIS2  = 1", "BZERO   = 3.2767E+04")
    assert decoded(raw_fits(*cards, data=stored.tobytes())).gray.tolist() == [[0, 0, 65534]]


def test_a_cube_of_three_planes_is_colour():
    picture = decoded(fits_file(np.moveaxis(RGB, -1, 0)), colour=True)
    assert np.array_equal(picture.colour, RGB)
    assert np.array_equal(picture.gray, cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY))
    assert decoded(fits_file(np.moveaxis(RGB, -1, 0))).colour is None


def test_an_image_in_an_extension_with_its_date_in_the_first_header(tmp_path):
    primary = fits.PrimaryHDU(header=fits.Header({"DATE-OBS": "2022-09-14T22:10:05.25", "EXPTIME": 30}))
    fits.HDUList([primary, fits.ImageHDU(DEEP)]).writeto(tmp_path / "a.fits")
    picture = decoded((tmp_path / "a.fits").read_bytes())
    assert np.array_equal(picture.gray, DEEP)
    assert (picture.start_utc, picture.exposure_s) == (START, 30)


@pytest.mark.parametrize(
    ("header", "reason", "words"),
    [
        ({"array": DEEP.astype(np.float32)}, "unsupported", "BITPIX -32"),
        ({"array": DEEP.astype(np.int32)}, "unsupported", "BITPIX 32"),
        ({"array": np.array([[-9, 5]], np.int16)}, "unsupported", "found -9 to 5"),
        ({"array": np.zeros((4, 5, 6), np.uint8)}, "unsupported", r"(4, 5, 6)"),
        ({"array": np.zeros(7, np.uint8)}, "corrupt", "no image"),
    ],
)
def test_what_holds_no_levels_is_refused(header, reason, words):
    found, detail = refusal(fits_file(**header))
    assert found == reason
    assert words in detail


def test_a_packed_image_names_the_tool_that_unpacks_it(tmp_path):
    fits.CompImageHDU(DEEP.astype(np.int32)).writeto(tmp_path / "a.fits.fz")
    assert refusal((tmp_path / "a.fits.fz").read_bytes()) == (
        "unsupported",
        "a compressed FITS image: unpack it with funpack",
    )


def test_an_ff_file_of_rms():
    picture = decoded(ff_file(MAXIMUM, TIMEMAP))
    assert np.array_equal(picture.gray, MAXIMUM)
    assert np.array_equal(picture.timemap, TIMEMAP)
    assert (picture.short_exposures, picture.rate_hz, picture.exposure_s) == (256, 25, 10.24)
    assert picture.start_utc is None


def test_missing_planes_are_named():
    data = ff_file(MAXIMUM, TIMEMAP, without=("MAXFRAME", "STDPIXEL"))
    assert refusal(data) == ("corrupt", "an FF file without MAXFRAME, STDPIXEL")


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_an_ff_file_cut_off_is_corrupt(share):
    data = ff_file(MAXIMUM, TIMEMAP)
    assert refusal(data[: int(share * len(data))])[0] == "corrupt"


def test_without_the_padding_of_the_last_block_nothing_is_lost():
    data = fits_file(DEEP)
    assert np.array_equal(decoded(data[: 2880 + DEEP.nbytes]).gray, DEEP)
    assert refusal(data[: 2880 + DEEP.nbytes - 1])[0] == "corrupt"


MIDDLE = START + timedelta(seconds=10)
END = START + timedelta(seconds=20)
ISO = "%Y-%m-%dT%H:%M:%S.%f"


@pytest.mark.parametrize(
    ("cards", "meaning"),
    [
        ({"DATE-OBS": START.strftime(ISO)}, "start"),
        ({"DATE-OBS": MIDDLE.strftime(ISO)}, "middle"),
        ({"DATE-OBS": END.strftime(ISO)}, "end"),
        ({"DATE-OBS": "2022-09-14", "TIME-OBS": "22:10:05.25"}, "start"),
        ({"DATE-OBS": START.strftime(ISO) + "Z"}, "start"),
        ({"DATE-OBS": END.strftime(ISO), "TIMESYS": "UTC"}, "end"),
        ({"DATE-BEG": START.strftime(ISO), "DATE-OBS": "2001-01-01T00:00:00"}, "end"),
        ({"DATE-AVG": MIDDLE.strftime(ISO)}, "start"),
        ({"DATE-END": END.strftime(ISO)}, "start"),
        ({"MJD-OBS": Time(START).mjd}, "start"),
        ({"MJD-AVG": Time(MIDDLE).mjd}, "start"),
        ({"DATE-OBS": "2022-09-14", "MJD-OBS": Time(START).mjd}, "start"),
    ],
    ids=str,
)
@pytest.mark.parametrize("length", ["EXPTIME", "EXPOSURE", "XPOSURE", "TELAPSE"])
def test_start_of_the_exposure(cards, meaning, length):
    data = fits_file(DEEP, **cards, **{length: 20.0})
    start_utc, exposure_s = header_exposure(data[:28_800], meaning)
    assert exposure_s == 20
    assert abs(start_utc - START) < timedelta(milliseconds=1)
    assert decoded(data, fits_time=meaning).start_utc == start_utc


@pytest.mark.parametrize(
    ("cards", "known"),
    [
        ({}, (None, None)),
        ({"DATE-OBS": "2022-09-14"}, (None, None)),
        ({"DATE-OBS": "yesterday T"}, (None, None)),
        ({"DATE-OBS": "2022-09-14T25:00:00"}, (None, None)),
        ({"DATE-OBS": 7}, (None, None)),
        ({"DATE-OBS": "2022-09-14T22:10:05.25", "TIMESYS": "TT"}, (None, None)),
        ({"DATE-END": "2022-09-14T22:10:05.25"}, (None, None)),
        ({"DATE-OBS": "2022-09-14T22:10:05.25", "EXPTIME": "long"}, (START, None)),
        ({"DATE-OBS": "2022-09-14T22:10:05.25", "EXPTIME": -3}, (START, None)),
        (
            {"DATE-OBS": "14/09/98", "TIME-OBS": "22:10:05"},
            (datetime(1998, 9, 14, 22, 10, 5, tzinfo=UTC), None),
        ),
    ],
    ids=str,
)
def test_what_a_header_does_not_tell_is_not_guessed(cards, known):
    assert header_exposure(fits_file(DEEP, **cards)) == known


def test_a_camera_that_writes_civil_time():
    data = fits_file(DEEP, **{"DATE-OBS": "2022-09-15T00:10:05.25"})
    assert header_exposure(data, fits_zone=ZoneInfo("Europe/Madrid"))[0] == START
    stated = fits_file(DEEP, **{"DATE-OBS": "2022-09-14T22:10:05.25", "TIMESYS": "UTC"})
    assert header_exposure(stated, fits_zone=ZoneInfo("Europe/Madrid"))[0] == START


def test_an_ff_file_tells_its_length_and_newer_ones_their_start():
    assert header_exposure(ff_file(MAXIMUM, TIMEMAP)[:5760]) == (None, 10.24)
    newer = ff_file(MAXIMUM, TIMEMAP, **{"DATE-OBS": "2022-09-14T22:10:05.250000"})
    assert header_exposure(newer, "middle") == (START, 10.24)
    assert decoded(newer, fits_time="middle").start_utc == START


@given(st.binary(max_size=400), st.integers(0, 2880))
def test_no_header_makes_header_exposure_raise(noise, at):
    data = fits_file(DEEP, **{"DATE-OBS": "2022-09-14T22:10:05", "EXPTIME": 3.0})[:2880]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header_exposure(data[:at] + noise + data[at + len(noise) :])


def test_the_real_ff_file(shared):
    name = "FF_UK0006_20220914_194911_205_0079616.fits"
    path = shared / "rms_UK0006_20220914" / name
    picture = decoded(path.read_bytes())
    planes = fits.open(path)
    assert np.array_equal(picture.gray, planes["MAXPIXEL"].data)
    assert np.array_equal(picture.timemap, planes["MAXFRAME"].data)
    assert picture.exposure_s == 10.24


def test_the_real_16_bit_frame(shared):
    path = shared / "pyasc" / "IMG01329.FIT"
    picture = decoded(path.read_bytes())
    assert picture.gray.dtype == np.uint16
    assert np.array_equal(picture.gray, fits.getdata(path))
    assert picture.exposure_s == 25


def test_rows_as_stored_show_the_real_sky_unmirrored(shared):
    """Moon, Venus, Jupiter and Sirius of the real frame, whose clock shows civil time."""
    path = shared / "pyasc" / "IMG01329.FIT"
    picture = decoded(path.read_bytes(), fits_zone=ZoneInfo("America/New_York"))
    assert picture.start_utc == datetime(2015, 11, 8, 10, 12, 22, tzinfo=UTC)
    found = np.array([brightest_near(picture.gray, x, y) for x, y in SEEN_PX])
    zenith_distance, azimuth = np.deg2rad(horizontal(picture.start_utc, picture.exposure_s)).T
    # Seen from below with north up, azimuth runs counter-clockwise, y down.
    seen_from_below = zenith_distance * np.exp(-1j * azimuth)
    assert misfit_px(seen_from_below, found) < 4
    assert misfit_px(seen_from_below.conj(), found) > 20


SEEN_PX = [(1089, 350), (1030, 348), (962, 346), (536, 182)]


def brightest_near(gray, x, y, reach=8):
    window = cv2.GaussianBlur(gray[y - reach : y + reach + 1, x - reach : x + reach + 1], (0, 0), 1.5)
    dy, dx = np.unravel_index(window.argmax(), window.shape)
    return complex(x - reach + dx, y - reach + dy)


def horizontal(start_utc, exposure_s):
    time = Time(start_utc + timedelta(seconds=exposure_s / 2))
    place = EarthLocation(lat=39.0021 * u.deg, lon=-76.956 * u.deg)
    bodies = [get_body(name, time, place) for name in ("moon", "venus", "jupiter")]
    sky = [body.transform_to(AltAz(obstime=time, location=place)) for body in bodies]
    sky.append(SkyCoord(101.287 * u.deg, -16.716 * u.deg).transform_to(sky[0].frame))
    return np.array([(90 - place.alt.deg, place.az.deg) for place in sky])


def misfit_px(sky, pixels):
    """Root mean square of the best shift, turn and scale; equidistant projection."""
    design = np.stack([sky, np.ones_like(sky)], axis=1)
    solution, *_ = np.linalg.lstsq(design, pixels, rcond=None)
    return float(np.sqrt(np.mean(np.abs(design @ solution - pixels) ** 2)))
