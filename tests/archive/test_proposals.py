"""What is proposed, checked against simulated cameras, whose captions and lenses are known, and real ones."""

from datetime import date
from functools import cache

import cv2
import numpy as np
import pytest

from nightsift.archive.proposals import find_captions, find_circle
from nightsift.archive.simulator import SimulatedNight, draw_station
from nightsift.archive.simulator.output import watermark


@cache
def sampled(index: int, *, seed: int = 11, count: int = 12) -> tuple[list[np.ndarray], SimulatedNight]:
    """Some frames of a simulated night, spread over it."""
    night = SimulatedNight(draw_station(index, seed, small=True), date(2021, 10, 30), 900, seed)
    frames = [night.render(int(i))[0] for i in np.linspace(0, 899, count)]
    gray = [f if f.ndim == 2 else cv2.cvtColor(f, cv2.COLOR_BGR2GRAY) for f in frames]
    return gray, night


def caption(night: SimulatedNight, shape: tuple[int, int]) -> np.ndarray:
    """The pixels that the caption of the night's first frame covers."""
    picture = np.zeros(shape, np.uint8)
    watermark(picture, night.camera, night.station, night.starts_utc[0], 1.0)
    return picture > 0


def stamped(frames: list[np.ndarray], place: tuple[int, int], level: int = 255) -> list[np.ndarray]:
    pictures = []
    for number, frame in enumerate(frames):
        picture = frame.copy()
        text = f"UK0006 2022-09-14 2{number % 3}:{7 * number % 60:02d}:{13 * number % 60:02d} UTC"
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, level, 1, cv2.LINE_AA)
        pictures.append(picture)
    return pictures


def plain(rng: np.random.Generator, count: int = 12, shape=(480, 640)) -> list[np.ndarray]:
    """Skies of different brightness with stars that move, and trees that do not."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    trees = rng.normal(0, 12, shape) * (rows > 400 + 30 * np.sin(columns / 40))
    frames = []
    for number in range(count):
        image = 30 + 5 * number + rng.normal(0, 2, shape) + trees
        for y, x in rng.uniform(0, shape, (80, 2)).astype(int):
            image[y : y + 2, x : x + 2] += 90
        frames.append(np.clip(image, 0, 255).astype(np.uint8))
    return frames


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(8)


@pytest.mark.parametrize("place", [(8, 20), (200, 20), (8, 470)])
def test_a_caption_is_found_where_it_stands(rng, place):
    frames = plain(rng)
    (box,) = find_captions(stamped(frames, place))
    x0, y0, x1, y1 = box
    changed = np.any([a != b for a, b in zip(stamped(frames, place), frames, strict=True)], axis=0)
    assert changed[y0:y1, x0:x1].sum() == changed.sum()
    assert (x1 - x0) * (y1 - y0) < 2 * 330 * 16


def test_without_a_caption_none_is_proposed(rng):
    assert find_captions(plain(rng)) == ()


def test_a_caption_that_never_changes_does_no_harm_and_is_left(rng):
    frames = [cv2.putText(f, "GAIN 250", (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255) for f in plain(rng)]
    assert find_captions(frames) == ()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_frames_propose_nothing(rng, count):
    frames = stamped(plain(rng, 3), (8, 20))[:count]
    assert find_captions(frames) == ()
    assert find_circle(frames) is None


def test_captions_of_simulated_cameras():
    """Of those that carry one most are found, whole; where there is none, nothing is."""
    found = 0
    for index in (0, 1, 6):
        frames, night = sampled(index)
        ink = caption(night, frames[0].shape)
        covered = np.zeros_like(ink)
        for x0, y0, x1, y1 in find_captions(frames):
            covered[y0:y1, x0:x1] = True
        found += ink.any() and bool((ink & covered).sum() > 0.95 * ink.sum())
        assert covered.mean() < 0.06
        assert ink.any() or not covered.any()
    assert found >= 2


def test_the_circle_of_a_simulated_all_sky_camera():
    frames, night = sampled(0)
    lens = night.camera.lens
    x, y, radius = find_circle(frames)
    assert (x, y) == pytest.approx((lens.centre_x_px, lens.centre_y_px), abs=3)
    assert radius == pytest.approx(lens.focal_px * np.radians(lens.edge_deg), rel=0.03)


def test_the_circle_of_a_deep_camera():
    frames, _ = sampled(0)
    deep = [frame.astype(np.uint16) * 257 for frame in frames]
    assert find_circle(deep) == pytest.approx(find_circle(frames), abs=1)


def test_a_lens_that_fills_the_frame_has_no_circle(rng):
    rows, columns = np.mgrid[:480, :640]
    vignetting = 1 - 0.6 * ((rows - 240) ** 2 + (columns - 320) ** 2) / 400**2
    assert find_circle([np.uint8(frame * vignetting) for frame in plain(rng)]) is None
    assert find_circle(plain(rng)) is None


def test_frames_of_nothing_propose_nothing():
    for level in (0, 255):
        frames = [np.full((90, 120), level, np.uint8)] * 5
        assert find_captions(frames) == ()
        assert find_circle(frames) is None
    assert find_captions([np.zeros((1, 1), np.uint8)] * 3) == ()
    assert find_circle([np.zeros((1, 1), np.uint8)] * 3) is None


def test_the_caption_of_a_real_camera(shared):
    names = ("test_no_clouds.jpg", "test_moon.jpg", "test_transparent_clouds_plane.jpg")
    frames = [cv2.imread(str(shared / "indi_allsky" / name), cv2.IMREAD_GRAYSCALE) for name in names]
    (box,) = find_captions(frames)
    assert box == pytest.approx((14, 8, 315, 132), abs=8)  # four lines in the upper left corner
    assert find_circle(frames) is None


def test_the_small_caption_of_a_real_night(shared):
    paths = sorted((shared / "nights" / "UK0006" / "20220914").glob("*.jpg"))[::25]
    frames = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    boxes = find_captions(frames)
    assert boxes
    for x0, y0, x1, y1 in boxes:  # letters shrunk to dots, in the left corners
        assert x0 == 0
        assert x1 < 65
        assert y1 < 14 or y0 > 160
    assert find_circle(frames) is None


def test_the_circle_of_a_real_camera(shared):
    """Two frames of one camera at two sizes agree."""
    small, large = (
        cv2.imread(str(shared / "guaita_thesis" / f"image-2021031{name}.jpg"), cv2.IMREAD_GRAYSCALE)
        for name in ("0222605_meteor_383x287", "0222605_meteor_631x474")
    )
    one, other = find_circle([small] * 3), find_circle([large] * 3)
    assert np.array(one) * 631 / 383 == pytest.approx(np.array(other), abs=12)
