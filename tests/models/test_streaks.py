"""Reading differences at full size: what the network sees, where, and that it learns."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from nightsift.archive.errors import ConfigurationError
from nightsift.models.classify import Classifier
from nightsift.models.dataset import DataConfig, training_jobs
from nightsift.models.package import ModelPackage
from nightsift.models.recipe import FullSize, Recipe
from nightsift.models.streak_fitting import CropDrawer, StreakTraining
from nightsift.models.streak_samples import (
    METEOR_CELL,
    NOT_JUDGED,
    NightSamples,
    Things,
    draw_night,
    draw_nights,
    significance_of,
)
from nightsift.models.streak_train import (
    CLASSES,
    StreakConfig,
    StreakModel,
    recommended,
    save_streaks,
    train_streaks,
)
from nightsift.models.streaks import StreakNetwork, bars, detections, in_noise, read

RECIPE = FullSize(kind="full-size")
SHAPE = (200, 330)


def noisy(ends: list[tuple[int, int, int, int]], seed: int = 0) -> np.ndarray:
    """A difference with noise and trails."""
    image = (np.random.default_rng(seed).random(SHAPE) < 0.05).astype(np.uint8)
    for x0, y0, x1, y1 in ends:
        cv2.line(image, (x0, y0), (x1, y1), 1, 2)
    return image.view(bool)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """A package that answers to bars: enough to tell trails from noise."""
    torch.manual_seed(1)
    config = StreakConfig(
        model=StreakModel(name="tiny", architecture="streaks"),
        data=DataConfig(seed=1, stations=1, test_seed=2, test_stations=1),
    )
    return save_streaks(tmp_path_factory.mktemp("tiny"), StreakNetwork(3), config, 0.5, "# Tiny")


def test_frames_of_any_size_are_read(tiny: ModelPackage) -> None:
    classifier = Classifier(tiny)
    for shape in ((180, 320), (33, 1000), (976, 1304)):
        rises = np.ones((2, -(-shape[0] // 16), -(-shape[1] // 16)), np.float32)
        scores = classifier.classify(np.zeros((2, *shape), bool), rises)
        assert scores.score.shape == (2, 3)
        assert np.allclose(scores.score.sum(1), 1, atol=1e-5)
        assert classifier.heat_map(np.zeros((1, *shape), bool)).shape == (1, *shape)


def test_a_large_frame_is_reduced_by_the_mean() -> None:
    difference = np.zeros((4912, 7360), bool)
    difference[:4, :2] = True
    image, rise = read(difference, np.full((307, 460), 255, np.float32), RECIPE)
    assert image.shape == (1248, 1856)
    assert image[0, 0] == pytest.approx(0.5)
    assert rise.shape == (78, 116)
    assert rise[:76, :115].min() == rise.max() == 1.0


def test_scores_do_not_depend_on_company(tiny: ModelPackage) -> None:
    shown = np.stack([noisy([(40, 40, 90, 70)]), noisy([], 1), noisy([(10, 150, 60, 120)], 2)])
    together, alone = Classifier(tiny).classify(shown), Classifier(tiny).classify(shown[2:])
    assert together.score[2].tobytes() == alone.score[0].tobytes()


def test_two_meteors_are_two_detections() -> None:
    heat = np.full((6, 10), 0.01, np.float32)
    heat[1, 1], heat[1, 2], heat[4, 8] = 0.6, 0.7, 0.9
    found = detections(heat, 32, 0.1)
    assert [round(place.score, 2) for place in found] == [0.9, 0.7]
    assert found[0].region == (255.5, 127.5, 287.5, 159.5)
    assert 31.5 < found[1].x_px < 95.5


def test_bars_answer_to_their_own_direction() -> None:
    weights = bars().numpy().reshape(16, 4, 4, 3, 3).transpose(0, 3, 1, 4, 2).reshape(16, 12, 12)
    assert np.allclose(weights.sum((1, 2)), 0, atol=1e-6)
    for number, angle in enumerate(np.arange(16) * np.pi / 16):
        middle, along = np.array([5.5, 5.5]), 6 * np.array([np.cos(angle), np.sin(angle)])
        begin, end = (tuple(int(v) for v in np.rint(middle + side * along)) for side in (-1, 1))
        line = cv2.line(np.zeros((12, 12), np.uint8), begin, end, 1, 2)
        answers = (weights * line).sum((1, 2))
        assert min((answers.argmax() - number) % 16, (number - answers.argmax()) % 16) <= 1


def night_with(ends: tuple[float, ...], *, meteor: bool = True, clear: bool = True) -> NightSamples:
    difference = noisy([tuple(int(v) for v in ends)])  # type: ignore[arg-type]
    bits = np.packbits(np.stack([difference, difference]), axis=2)[None]
    columns = ([0], [meteor], [ends], [40.0], [9.0], [20.0], [clear])
    things = Things(*(np.array(column) for column in columns))
    return NightSamples(SHAPE, bits, np.ones((1, 13, 21), np.float16), things)


def test_cells_tell_where_the_trail_is() -> None:
    night = night_with((40.0, 40.0, 80.0, 40.0))
    cells = night.cells(0, (0, 0), 256, 1)
    assert [tuple(cell) for cell in np.argwhere(cells == METEOR_CELL)] == [(1, 1), (1, 2)]
    assert (cells[7] == NOT_JUDGED).all()  # below the frame
    unclear = night_with((40.0, 40.0, 80.0, 40.0), clear=False).cells(0, (0, 0), 96, 1)
    assert (unclear[1, 1:] == NOT_JUDGED).all()


def test_a_crop_shows_what_the_frame_shows() -> None:
    night = night_with((40.0, 40.0, 80.0, 40.0))
    crop = night.crop(0, 1, (32, 64), 128, 1)
    assert np.array_equal(crop.image.astype(bool), night.whole(0)[32:160, 64:192])
    reduced = night.crop(0, 0, (0, 0), 64, 2)
    assert reduced.image[:10, :10] == pytest.approx(
        night.whole(0)[:20, :20].reshape(10, 2, 10, 2).mean((1, 3))
    )


def test_a_trail_stands_out_of_noise() -> None:
    ends = (40.0, 40.0, 90.0, 70.0)
    assert significance_of(noisy([(40, 40, 90, 70)]), ends) > 10
    assert abs(significance_of(noisy([]), ends)) < 4


def test_nights_are_drawn_once(tmp_path: Path) -> None:
    data = DataConfig(
        seed=4, stations=1, test_seed=5, test_stations=1, nights=1, runs=1, frames=3, small=True
    )
    job = training_jobs(data, Recipe())[1][:1]
    (first,) = draw_nights(job, tmp_path)
    (again,) = draw_nights(job, tmp_path)
    assert len(first) == 2
    assert np.array_equal(first.bits, again.bits)
    assert np.array_equal(draw_night(job[0]).things.ends, again.things.ends)


def test_nights_without_a_meteor_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="clear meteor"):
        CropDrawer([night_with((40.0, 40.0, 80.0, 40.0), meteor=False)], StreakTraining())


def test_training_learns_and_writes_a_package(tmp_path: Path) -> None:
    data = DataConfig(
        seed=3,
        stations=3,
        validation_share=0.34,
        test_seed=5,
        test_stations=1,
        nights=1,
        runs=1,
        frames=4,
        small=True,
        meteors=3,
    )
    settings = StreakTraining(crop_px=128, batch=8, cycles=(12,), look_every=1000, learning_rate=0.003)
    config = StreakConfig(
        model=StreakModel(name="learned", architecture="streaks"), data=data, training=settings
    )
    package = train_streaks(config, tmp_path / "learned", cache=tmp_path / "cache")
    assert package.classes == CLASSES
    assert 0 < package.threshold < 1
    history = (tmp_path / "learned" / "history.csv").read_text()
    assert history.startswith("cycle,step,loss")
    assert "simulated network of seed 3" in (tmp_path / "learned" / "README.md").read_text()


def test_the_threshold_lets_three_percent_through() -> None:
    labels, scores = np.zeros(1000, np.int64), np.linspace(0, 1, 1000, dtype=np.float32)
    assert recommended(labels, scores) == pytest.approx(0.97, abs=0.011)


def test_rises_are_in_units_of_the_noise() -> None:
    assert in_noise(np.array([[10]], np.uint8), 2.0) == pytest.approx(5.0)
    assert np.isfinite(in_noise(np.array([[10]], np.uint8), 0.0)).all()


def test_places_lie_in_the_frame(tiny: ModelPackage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightsift.models.streaks.LEAST_SCORE", 0.0)
    scores = Classifier(tiny).classify(np.zeros((1, 33, 65), bool))
    assert 0 <= scores.x_px[0] <= 64
    assert 0 <= scores.y_px[0] <= 32


def test_shares_of_crops_are_at_most_one_together() -> None:
    with pytest.raises(ValueError, match="at most 1"):
        StreakTraining(meteors=0.8, others=0.3)
