import time

import cv2
import numpy as np
import pytest

from nightsift.models.trails import fit_trail

SHAPES = [(180, 320), (976, 1304)]


def drawn(shape, noise, rng, length=40.0, thickness=2):
    """Noise of given density with one trail on it, and the trail's ends from left to right."""
    difference = rng.random(shape) < noise
    centre = rng.uniform((60, 60), (shape[1] - 60, shape[0] - 60))
    angle = rng.uniform(0, np.pi)
    half = length / 2 * np.array([np.cos(angle), np.sin(angle)])
    ends = sorted((tuple(centre - half), tuple(centre + half)))
    canvas = np.zeros(shape, np.uint8)
    points = [tuple(round(16 * v) for v in end) for end in ends]
    cv2.line(canvas, *points, 255, thickness, cv2.LINE_8, 4)
    return difference | (canvas > 0), ends


def fitted(difference, ends, rng):
    width = difference.shape[1]
    x_px, y_px = np.mean(ends, axis=0) + rng.normal(0, 0.005 * width, 2)
    region = np.array([x_px, y_px, x_px, y_px]) + width / 7 * np.array([-1, -1, 1, 1])
    return fit_trail(difference, x_px, y_px, region)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("noise", [0.001, 0.02, 0.08, 0.15])
def test_ends_of_a_trail_in_noise(shape, noise):
    rng = np.random.default_rng(5)
    errors, seconds = [], []
    for _ in range(30):
        difference, ends = drawn(shape, noise, rng)
        started = time.process_time()
        trail = fitted(difference, ends, rng)
        seconds.append(time.process_time() - started)
        assert trail is not None
        assert trail.x_begin_px <= trail.x_end_px
        stated = np.array([[trail.x_begin_px, trail.y_begin_px], [trail.x_end_px, trail.y_end_px]])
        assert trail.length_px == pytest.approx(np.hypot(*(stated[1] - stated[0])))
        errors.append(np.linalg.norm(stated - ends, axis=1).mean())
    assert np.median(errors) < 3
    assert np.median(seconds) < 0.02  # about 2 ms on an idle machine


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("noise", [0.0, 0.001, 0.02, 0.08, 0.15])
def test_noise_alone_has_no_trail(shape, noise):
    rng = np.random.default_rng(6)
    middle = (np.array(shape[::-1]) / 2).astype(float)
    region = np.array([0.0, 0.0, shape[1] / 2, shape[0] / 2])
    for _ in range(10):
        assert fit_trail(rng.random(shape) < noise, *middle, region) is None


def test_the_edge_of_a_cloud_is_no_trail():
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0:720, 0:960]
    cloud = (columns + 0.3 * rows > 500) & (rng.random((720, 960)) < 0.6)
    assert fit_trail(cloud, 400.0, 330.0, np.array([300.0, 230.0, 500.0, 430.0])) is None


def test_a_trail_that_leaves_the_frame_ends_at_its_edge():
    difference = np.zeros((180, 320), bool)
    difference[50:52, 290:] = True
    trail = fit_trail(difference, 305.0, 50.0, np.array([280.0, 30.0, 319.0, 70.0]))
    assert trail is not None
    assert trail.x_begin_px == pytest.approx(290, abs=1.5)
    assert trail.x_end_px == pytest.approx(319, abs=1.5)
    assert trail.y_end_px == pytest.approx(50.5, abs=0.6)


def test_no_position_no_trail():
    assert fit_trail(np.ones((50, 50), bool), float("nan"), 3.0, np.array([0.0, 0.0, 9.0, 9.0])) is None
