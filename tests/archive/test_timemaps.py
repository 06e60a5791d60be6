import re

import numpy as np
import pytest

from nightsift.archive.formats import pictures
from nightsift.archive.timemaps import trail_positions
from tests.archive.formats.makers import ff_file

SIZE = (200, 300)
SPEED_PX = (7.3, 3.1)  # per short exposure
BEGIN = (40.0, 50.0)


def place(index):
    """Where the synthetic meteor is in the middle of a short exposure; it shows from 100 to 124."""
    return BEGIN[0] + SPEED_PX[0] * (index - 100), BEGIN[1] + SPEED_PX[1] * (index - 100)


def stacked(random, *, stars=0, peak=80.0, shown=range(100, 125)):
    """Maximum and time map of 256 noisy frames with a moving spot; stars stand still and flicker."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    sky = 40 + 0.05 * x
    for _ in range(stars):
        at = random.uniform(10, 190), random.uniform(10, 290)
        sky = sky + 60 * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 3)
    maximum, timemap = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    for index in range(256):
        frame = random.normal(sky, 3)
        if index in shown:
            for part in np.linspace(-0.5, 0.5, 9):
                spot = place(index + part)
                frame += peak / 4 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * 1.5**2))
        levels = frame.clip(0, 255).round().astype(np.uint8)
        timemap[levels > maximum] = index
        maximum = np.maximum(maximum, levels)
    return maximum, timemap


def errors_px(positions):
    return [np.hypot(found.x_px - x, found.y_px - y) for found in positions for x, y in [place(found.index)]]


@pytest.mark.parametrize(("stars", "limit_px"), [(0, 1.0), (150, 2.0)])
def test_each_short_exposure_of_a_synthetic_meteor(stars, limit_px):
    maximum, timemap = stacked(np.random.default_rng(2), stars=stars)
    found = trail_positions(maximum, timemap, BEGIN, place(124))
    assert {position.index for position in found} >= set(range(101, 124))
    assert {position.index for position in found} <= set(range(98, 127))
    inner = [position for position in found if 101 <= position.index <= 123]
    assert max(errors_px(inner)) < limit_px


def test_the_order_of_the_ends_does_not_matter():
    maximum, timemap = stacked(np.random.default_rng(3))
    forth = trail_positions(maximum, timemap, BEGIN, place(124))
    back = trail_positions(maximum, timemap, place(124), BEGIN)
    assert [position.index for position in forth] == [position.index for position in back]
    assert np.allclose([p.x_px for p in forth], [p.x_px for p in back], atol=0.3)


def test_without_a_meteor_there_is_hardly_a_position():
    maximum, timemap = stacked(np.random.default_rng(4), shown=())
    assert len(trail_positions(maximum, timemap, BEGIN, place(124))) <= 2


def test_16_bits_and_a_trail_that_leaves_the_frame():
    maximum, timemap = stacked(np.random.default_rng(5))
    deep = trail_positions(maximum.astype(np.uint16) * 200, timemap, BEGIN, place(124))
    assert max(errors_px(deep[1:-1])) < 1
    outside = trail_positions(maximum, timemap, (-50.0, 12.0), place(124))
    assert len(outside) > 10
    assert trail_positions(maximum, timemap, (-90.0, -90.0), (-50.0, -50.0)) == ()


def test_a_point_instead_of_a_trail():
    maximum, timemap = stacked(np.random.default_rng(6))
    found = trail_positions(maximum, timemap, place(110), place(110))
    assert all(abs(position.index - 110) <= 3 for position in found)


def test_an_ff_file_end_to_end():
    maximum, timemap = stacked(np.random.default_rng(7))
    (picture,) = pictures("FF.fits", ff_file(maximum, timemap))
    found = trail_positions(picture.gray, picture.timemap, BEGIN, place(124))
    assert max(errors_px(found[1:-1])) < 1


def test_a_real_meteor_against_its_ftpdetectinfo(shared):
    """Every one of the 21 frames that RMS measured is within 2 px, the two ends included.

    RMS counts frames as the FF file does and adds the row's share of the read-out (rolling shutter):
    59.0579 is frame 59, row 41.66 of 720. So the whole part is the index, and the position compares as it is.
    """
    folder = shared / "rms_UK0006_20220914"
    (picture,) = pictures("FF", (folder / "FF_UK0006_20220914_194911_205_0079616.fits").read_bytes())
    measured = ftpdetectinfo(folder / "FTPdetectinfo_UK0006_20220914_185543_087124_EXCERPT.txt")
    assert [int(frame) for frame, _, _ in measured] == list(range(59, 80))
    assert all(abs(frame % 1 - row / 720) < 1e-3 for frame, _, row in measured)

    found = trail_positions(picture.gray, picture.timemap, measured[0][1:], measured[-1][1:])
    by_index = {position.index: position for position in found}
    apart = [
        np.hypot(by_index[int(f)].x_px - column, by_index[int(f)].y_px - row) for f, column, row in measured
    ]
    print(f"{len(apart)} frames: max {max(apart):.2f} px, median {np.median(apart):.2f} px")
    assert len(apart) == 21
    assert max(apart) < 2
    assert np.median(apart) < 0.5
    assert set(by_index) - set(range(59, 80)) <= {57, 58, 80, 81}  # fainter than RMS cares for


def ftpdetectinfo(path):
    """(frame, column, row) of the only meteor in a file."""
    lines = re.findall(r"^(\d+\.\d{4}) +(\d+\.\d+) +(\d+\.\d+) ", path.read_text(), re.MULTILINE)
    return [tuple(map(float, line)) for line in lines]
