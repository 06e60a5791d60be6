import cv2
import numpy as np
import pytest

from nightsift.archive.conditions import CONDITIONS, StarCounter, find_stars

SHAPE = (480, 640)


def night_sky(rng: np.random.Generator, level: float = 40, noise: float = 2.0, shape=SHAPE) -> np.ndarray:
    return rng.normal(level, noise, shape)


def with_stars(image: np.ndarray, places: np.ndarray, peak: float = 40, width: float = 0.9) -> np.ndarray:
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    for y, x in places:
        image = image + peak * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2 / width**2)
    return image


def as_frame(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def scattered(rng: np.random.Generator, count: int, shape=SHAPE) -> np.ndarray:
    """Places at least 12 px apart and from the border."""
    grid = np.stack(np.mgrid[20 : shape[0] - 20 : 20, 20 : shape[1] - 20 : 20], -1).reshape(-1, 2)
    return rng.permutation(grid)[:count] + rng.uniform(-4, 4, (count, 2))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_every_bright_star_is_found_at_its_place(rng):
    places = scattered(rng, 60)
    found = find_stars(as_frame(with_stars(night_sky(rng), places)))
    distances = np.linalg.norm(places[:, None] - found[None], axis=2)
    assert (distances.min(axis=1) < 1.5).all()
    assert len(found) <= len(places) + 2


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0, 5.0, 20.0])
def test_noise_shows_no_stars_whatever_its_width(rng, noise):
    assert len(find_stars(as_frame(night_sky(rng, 80, noise)))) <= 2


def test_the_skewed_noise_of_a_stack_shows_no_stars(rng):
    assert len(find_stars(as_frame(60 + 3 * rng.gumbel(size=SHAPE)))) <= 3


def test_sixteen_bits_show_the_same_stars(rng):
    frame = as_frame(with_stars(night_sky(rng), scattered(rng, 40)))
    deep = frame.astype(np.uint16) * 257
    assert (find_stars(deep) == find_stars(frame)).all()


def test_clouds_the_moon_and_trails_are_not_stars(rng):
    places = scattered(rng, 30)
    image = with_stars(night_sky(rng), places)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(rows - 200, columns - 500)
    image = image + 150 * np.exp(-distance / 60) + 300 * (distance < 25)  # the Moon and its glare
    image = image + 40 * (columns + 30 * np.sin(rows / 40) < 120)  # the sharp edge of a cloud
    frame = as_frame(image)
    cv2.line(frame, (150, 450), (420, 300), 255, 2, cv2.LINE_AA)  # a satellite
    found = find_stars(frame)
    distances = np.linalg.norm(places[:, None] - found[None], axis=2)
    assert (distances.min(axis=0) > 2).sum() <= 3
    assert (distances.min(axis=1) < 1.5).mean() > 0.6  # some stars lie behind these things


def test_black_corners_add_no_stars(rng):
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    inside = np.hypot(rows - 240, columns - 320) < 200
    frame = as_frame(np.where(inside, night_sky(rng), 0))
    assert len(find_stars(frame)) <= 3


def test_what_is_excluded_is_not_looked_at(rng):
    frame = as_frame(with_stars(night_sky(rng), scattered(rng, 60)))
    sky = np.zeros(SHAPE, bool)
    sky[:, 320:] = True
    found = find_stars(frame, sky)
    assert len(found)
    assert (found[:, 1] >= 320).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (9, 9), (16, 16), (131, 97)])
def test_frames_of_any_size(rng, shape):
    assert len(find_stars(as_frame(night_sky(rng, shape=shape)))) <= 1


def test_what_stands_still_is_not_a_star(rng):
    fixed, stars = scattered(rng, 25), scattered(rng, 25)
    night = StarCounter()
    for step in range(8):
        moved = np.mod(stars - (20, 20 - 11.0 * step), np.array(SHAPE) - 40) + 20
        night.look(as_frame(with_stars(with_stars(night_sky(rng), fixed, width=0.4), moved)))
    counted = night.conditions()["stars"]
    assert (counted >= 15).all()  # some pass beside a lamp
    assert (counted <= 27).all()


def test_too_few_frames_cannot_tell_what_stands_still(rng):
    fixed = scattered(rng, 25)
    night = StarCounter()
    for _ in range(4):
        night.look(as_frame(with_stars(night_sky(rng), fixed)))
    assert (night.conditions()["stars"] >= 24).all()


def test_cells_are_counted_once(rng):
    night = StarCounter()
    night.look(as_frame(with_stars(night_sky(rng), np.array([[10.0, 10], [10, 30], [30, 10], [200, 300]]))))
    said = night.conditions()
    assert said["stars"].tolist() == [4]
    assert said["star_cells"].tolist() == [2]
    assert set(said) == set(CONDITIONS)


def test_thin_cloud_over_a_real_camera_takes_stars_away(shared):
    clear, veiled, moonlit = (
        len(find_stars(cv2.imread(str(shared / "indi_allsky" / name), cv2.IMREAD_GRAYSCALE)))
        for name in ("test_no_clouds.jpg", "test_transparent_clouds_plane.jpg", "test_moon.jpg")
    )
    assert clear > 2 * veiled > 0
    assert clear > 2 * moonlit > 0  # the Moon takes stars away too: it has to be told apart by its place


def test_the_clouded_half_of_a_real_night_shows_no_stars(shared):
    counted = {}
    for path in sorted((shared / "nights" / "UK0006" / "20220914").glob("*.jpg"))[::5]:
        counted[path.stem[-14:]] = len(find_stars(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)))
    clear = [count for time, count in counted.items() if "20220914194500" < time < "20220914204600"]
    cloudy = [count for time, count in counted.items() if time > "20220915"]
    assert min(clear) > 20
    assert max(cloudy) <= 2
