import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from nightsift.archive.errors import ConfigurationError, NightsiftError
from nightsift.archive.exclusions import Exclusion, read_exclusion
from nightsift.archive.stations import Station


def camera(**said: object) -> Station:
    """A station that says this of its pixels."""
    described = {"id": "UK0006", "network": "UKMON", "latitude_deg": 51.9, "longitude_deg": -1.3}
    described |= {"height_msl_m": 80, "timezone": "UTC", "layout": "rms", "cadence_s": 10, "exposure_s": 10}
    return Station.model_validate({**described, **said})


def masked(folder: Path, image: np.ndarray, name: str = "mask.png") -> Station:
    cv2.imwrite(str(folder / name), image)
    return camera(mask=name)


def hiding_left(height: int = 30, width: int = 40) -> np.ndarray:
    image = np.full((height, width), 255, np.uint8)
    image[:, :10] = 0
    return image


def test_a_station_that_excludes_nothing_sees_everything(tmp_path):
    exclusion = read_exclusion(camera(), tmp_path)
    assert not exclusion
    assert exclusion.sky((30, 40)) is None


def test_a_box_excludes_its_first_pixels_and_not_its_last(tmp_path):
    sky = read_exclusion(camera(exclude_px=((3, 1, 6, 4),)), tmp_path).sky((10, 20))
    rows, columns = np.nonzero(~sky)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (3, 1, 5, 3)


def test_boxes_are_cut_at_the_border_but_never_missed(tmp_path):
    sky = Exclusion(boxes=((-5, -5, 2, 2), (18, 8, 99, 99))).sky((10, 20))
    assert (~sky).sum() == 4 + 4
    with pytest.raises(NightsiftError, match=r"\[20, 0, 30, 5\] lies outside the frames"):
        Exclusion(boxes=((20, 0, 30, 5),)).sky((10, 20))


def test_only_the_circle_shows_the_sky():
    sky = Exclusion(circle=(10.0, 10.0, 5.0)).sky((21, 21))
    assert sky[10, 5]
    assert not sky[10, 4]
    assert sky.sum() == pytest.approx(np.pi * 25, rel=0.1)


@pytest.mark.parametrize("name", ["mask.png", "mask.bmp"])
def test_black_is_excluded_whatever_the_colours_of_the_file(tmp_path, name):
    gray = read_exclusion(masked(tmp_path, hiding_left(), name), tmp_path).sky((30, 40))
    colour = cv2.cvtColor(hiding_left(), cv2.COLOR_GRAY2BGR)
    assert not gray[:, :10].any()
    assert gray[:, 10:].all()
    assert (read_exclusion(masked(tmp_path, colour, name), tmp_path).sky((30, 40)) == gray).all()


def test_mask_box_and_circle_add_up(tmp_path):
    masked(tmp_path, hiding_left())
    station = camera(mask="mask.png", exclude_px=[(30, 0, 40, 30)], circle_px=(20.0, 15.0, 12.0))
    sky = read_exclusion(station, tmp_path).sky((30, 40))
    assert sky[15, 20]
    assert not sky[15, 9]
    assert not sky[15, 30]
    assert not sky[0, 20]


def test_a_mask_of_another_size_says_both_sizes(tmp_path):
    exclusion = read_exclusion(masked(tmp_path, hiding_left()), tmp_path)
    with pytest.raises(NightsiftError) as caught:
        exclusion.sky((60, 80))
    assert "expected: 80 x 60 px" in str(caught.value)
    assert "found: 40 x 30 px" in str(caught.value)


def test_a_mask_that_was_drawn_anew_is_another_exclusion(tmp_path):
    old = read_exclusion(masked(tmp_path, hiding_left()), tmp_path)
    new = read_exclusion(masked(tmp_path, hiding_left()[:, ::-1]), tmp_path)
    assert new != old
    assert new.sky((30, 40))[0, 0]
    with pytest.raises(NightsiftError, match="not the one that this run began with"):
        old.sky((30, 40))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xd8\xff", b"BM" + bytes(60), b"\x89PNG\r\n\x1a\n"])
def test_a_mask_that_cannot_be_read_is_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / "mask.png").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_exclusion(camera(mask="mask.png"), tmp_path)
    assert str(tmp_path / "mask.png") in str(caught.value)
    assert "correct mask of station 'UK0006' in stations.toml" in str(caught.value)


def test_a_mask_that_hides_everything_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="a black image"):
        read_exclusion(masked(tmp_path, np.zeros((30, 40), np.uint8)), tmp_path)


def test_no_sky_left_is_told():
    with pytest.raises(NightsiftError, match="nothing is left of the sky"):
        Exclusion(circle=(-50.0, -50.0, 10.0)).sky((10, 20))


def test_it_travels_to_workers(tmp_path):
    exclusion = read_exclusion(masked(tmp_path, hiding_left()), tmp_path)
    again = pickle.loads(pickle.dumps(exclusion))
    assert again == exclusion
    assert hash(again) == hash(exclusion)
    assert (again.sky((30, 40)) == exclusion.sky((30, 40))).all()


def test_the_mask_of_a_real_rms_camera(shared):
    exclusion = read_exclusion(camera(mask="mask.bmp"), shared / "rms_UK0006_20220914")
    sky = exclusion.sky((720, 1280))
    assert sky[300, 600]  # the middle of the field
    assert not sky[700, 1260]  # the tree at the lower right
    assert sky.mean() == pytest.approx(0.96, abs=0.02)


@pytest.mark.parametrize("box", [(5, 0, 5, 9), (5, 9, 9, 9), (-1, 0, 5, 5), (9, 0, 5, 5)])
def test_a_box_without_pixels_is_refused(box):
    with pytest.raises(ValueError, match="0 <= x0 < x1"):
        camera(exclude_px=[box])
