import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats.jpeg import decode_gray

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (60, 80, 3), dtype=np.uint8)
JPEG = cv2.imencode(".jpg", COLOUR)[1].tobytes()


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
        decode_gray(cv2.imencode(".png", COLOUR)[1].tobytes())


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
