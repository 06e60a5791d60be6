import cv2
import numpy as np
import pytest

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats import pictures
from tests.archive.formats.makers import DEEP, RGB, SMOOTH, bmp, chunk, png, png_of_chunks

DEEP_RGB = np.dstack([DEEP, DEEP[::-1], DEEP[:, ::-1]])
TEN_ROWS = b"".join(b"\0" + bytes(range(row, row + 12)) for row in range(10))


def decoded(data, **options):
    (picture,) = pictures("frame.png", data, **options)
    return picture


@pytest.mark.parametrize("array", [RGB[..., 0], DEEP], ids=["8 bits", "16 bits"])
def test_gray_keeps_its_levels_and_its_depth(array):
    picture = decoded(png(array), colour=True)
    assert picture.gray.dtype == array.dtype
    assert np.array_equal(picture.gray, array)
    assert picture.colour is None
    assert not picture.camera_jpeg


@pytest.mark.parametrize("rgb", [RGB, DEEP_RGB], ids=["8 bits", "16 bits"])
def test_colour_becomes_luma_as_opencv_weighs_it(rgb):
    assert np.array_equal(decoded(png(rgb)).gray, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    assert decoded(png(rgb)).colour is None
    assert np.array_equal(decoded(png(rgb), colour=True).colour, rgb)


def test_transparency_is_ignored():
    rgba = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    data = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))[1].tobytes()
    assert np.array_equal(decoded(data, colour=True).colour, RGB)


@pytest.mark.parametrize(("depth", "width"), [(8, 6), (16, 3)])
def test_gray_with_transparency_is_gray(depth, width):
    picture = decoded(png_of_chunks(width, 10, depth, 4, TEN_ROWS), colour=True)
    rows = np.array([list(range(row, row + 12)) for row in range(10)], np.uint8)
    levels = rows[:, ::2] if depth == 8 else rows.view(">u2")[:, ::2]
    assert np.array_equal(picture.gray, levels)
    assert picture.colour is None


def test_a_palette_is_colour():
    palette = chunk(b"PLTE", bytes(range(90)))
    picture = decoded(png_of_chunks(12, 10, 8, 3, TEN_ROWS, palette), colour=True)
    assert picture.colour[2, 5].tolist() == [21, 22, 23]


def test_gamma_does_not_change_levels():
    gamma = chunk(b"gAMA", (45455).to_bytes(4, "big"))
    with_gamma = png_of_chunks(12, 10, 8, 0, TEN_ROWS, gamma)
    assert np.array_equal(decoded(with_gamma).gray, decoded(png_of_chunks(12, 10, 8, 0, TEN_ROWS)).gray)


@pytest.mark.parametrize("share", [k / 10 for k in range(10)])
def test_a_file_cut_off_anywhere_is_corrupt(share):
    data = png(SMOOTH)
    with pytest.raises(BadFrame) as caught:
        decoded(data[: int(share * len(data))])
    assert caught.value.reason == "corrupt"


def test_a_wrong_checksum_is_named():
    data = bytearray(png(SMOOTH))
    data[data.index(b"IDAT") + 50] ^= 1
    with pytest.raises(BadFrame, match="wrong checksum of the IDAT chunk at byte 33"):
        decoded(bytes(data))


@pytest.mark.parametrize("array", [RGB, RGB[..., 0]], ids=["colour", "gray"])
def test_bmp(array):
    picture = decoded(bmp(array), colour=True)
    gray = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY) if array.ndim == 3 else array
    assert np.array_equal(picture.gray, gray)
    assert (picture.colour is not None) == (array.ndim == 3)


def test_the_real_mask_and_flat(shared):
    for name in ("mask.bmp", "flat.bmp"):
        path = shared / "rms_UK0006_20220914" / name
        assert np.array_equal(decoded(path.read_bytes()).gray, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
