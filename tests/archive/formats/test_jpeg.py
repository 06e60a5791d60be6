import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats import pictures
from nightsift.archive.formats.jpeg import decode_gray
from tests.archive.formats.makers import RGB, SMOOTH, jpeg, png, with_frame_header, with_orientation

JPEG = jpeg()


def test_the_luma_is_read_as_guaita_reads_it(tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(JPEG)
    assert np.array_equal(decode_gray(JPEG), cv2.imread(str(path), 0))


@pytest.mark.parametrize("share", [k / 10 for k in range(10)])
def test_a_file_cut_off_anywhere_is_corrupt(share):
    with pytest.raises(BadFrame) as caught:
        decode_gray(JPEG[: int(share * len(JPEG))])
    assert caught.value.reason == "corrupt"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_even_the_last_bytes_are_missed(cut):
    with pytest.raises(BadFrame):
        decode_gray(JPEG[:-cut])


def test_padding_behind_the_picture_is_no_fault():
    assert np.array_equal(decode_gray(JPEG + b"\0" * 64), decode_gray(JPEG))


def test_another_format_says_what_was_found():
    with pytest.raises(BadFrame, match="expected a JPEG, found a file that begins with 89 50 4e 47"):
        decode_gray(png(RGB))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, len(JPEG)))
def test_damage_is_a_bad_frame_or_a_picture_never_another_error(noise, where):
    for data in (noise, b"\xff\xd8" + noise, JPEG[:where] + noise + JPEG[where + len(noise) :]):
        outcome = reason_or_dtype(data)
        assert outcome in ("corrupt", "unsupported", "too-large", np.uint8)


def reason_or_dtype(data):
    try:
        return decode_gray(data).dtype
    except BadFrame as bad:
        return bad.reason


def picture(data, **options):
    (found,) = pictures("frame.jpg", data, **options)
    return found


def test_a_jpeg_is_the_cameras_own():
    found = picture(JPEG)
    assert found.camera_jpeg
    assert np.array_equal(found.gray, decode_gray(JPEG))
    assert found.colour is None


def test_colour_is_kept_when_asked_for():
    decoded = cv2.imdecode(np.frombuffer(JPEG, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(picture(JPEG, colour=True).colour, decoded)
    assert picture(jpeg(RGB[..., 0]), colour=True).colour is None


def test_exif_orientation_does_not_turn_the_pixels():
    turned = with_orientation(JPEG)
    as_viewers_do = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert as_viewers_do.shape == (80, 60)
    assert np.array_equal(decode_gray(turned), decode_gray(JPEG))
    assert picture(turned, colour=True).colour.shape == (60, 80, 3)


def test_a_progressive_file_is_read():
    progressive = jpeg(SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert np.array_equal(decode_gray(progressive), decode_gray(jpeg(SMOOTH)))


def test_a_progressive_file_needs_room_for_all_its_coefficients():
    progressive = jpeg(SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    for data, reason in ((progressive, "too-large"), (JPEG, "corrupt")):
        with pytest.raises(BadFrame) as caught:
            decode_gray(with_frame_header(data, size=(8_000, 8_000)))
        assert caught.value.reason == reason
