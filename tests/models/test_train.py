from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.settings import parse_toml
from nightsift.models.augment import augment
from nightsift.models.crops import Crops
from nightsift.models.dataset import DataConfig, StationNightRun, draw_night, held_out_jobs, training_jobs
from nightsift.models.figures import Share, average_precision, figures
from nightsift.models.package import ModelPackage
from nightsift.models.recipe import RECIPES, Recipe
from nightsift.models.samples import Samples
from nightsift.models.train import TrainConfig, train

RECIPE_FOLDER = Path(__file__).parents[2] / "models" / "recipes"
TRAIN_FILES = sorted(path for path in RECIPE_FOLDER.glob("*.toml") if "resnet" in path.read_text())

TINY = """
[model]
name = "tiny"
architecture = "resnet18"
classes = ["meteor", "satellite", "nothing"]
threshold = 0.5
[recipe]
size_px = 96
[data]
seed = 1
stations = 2
validation_share = 0.5
test_seed = 2
test_stations = 1
nights = 1
runs = 2
frames = 5
meteors = 1.5
satellites = 1.0
small = true
[training]
crop_px = 32
crops = { steps = 30, batch = 16, learning_rate = 0.002 }
whole = { steps = 10, batch = 8, learning_rate = 0.001 }
precision = "fp32"
"""


def test_a_tiny_training_gives_a_package_that_loads_and_its_loss_falls(tmp_path):
    stages = []
    report = train(
        parse_toml(TrainConfig, TINY, "TRAIN.toml"),
        tmp_path / "package",
        lambda stage, done, total: stages.append((stage, done == total)),
    )
    losses = report.history[report.history["stage"] == "crops"]["loss"]
    assert losses.iloc[-3:].mean() < losses.iloc[:3].mean()
    assert {("draw", True), ("crops", True), ("whole", True)} <= set(stages)
    package = ModelPackage.load(str(tmp_path / "package"))
    assert package == report.package
    assert package.recipe.size_px == 96
    assert "average precision" in (tmp_path / "package" / "README.md").read_text()
    assert len(pd.read_csv(tmp_path / "package" / "history.csv")) == len(report.history)


@pytest.mark.parametrize("path", TRAIN_FILES, ids=lambda path: path.stem)
def test_the_train_files_are_sound(path):
    config = parse_toml(TrainConfig, path.read_text(), str(path))
    assert config.recipe == RECIPES["regordosa-v4"]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("stations = 2", "station = 2", "did you mean 'stations'"),
        ('["meteor", "satellite", "nothing"]', '["meteor", "satellite"]', "one class for all other frames"),
        ('["meteor", "satellite", "nothing"]', '["satellite", "nothing"]', "'meteor' among them"),
        ('"resnet18"', '"resnet19"', "resnet34"),
    ],
)
def test_faults_of_a_train_file_are_named(old, new, fault):
    with pytest.raises(ConfigurationError, match=fault):
        parse_toml(TrainConfig, TINY.replace(old, new), "TRAIN.toml")


def test_no_station_trains_and_validates_and_no_seed_trains_and_tests():
    data = DataConfig(seed=1, stations=10, test_seed=2, test_stations=3, validation_share=0.2)
    training, validation = training_jobs(data, Recipe())
    assert {job.station for job in training} == set(range(8))
    assert {job.station for job in validation} == {8, 9}
    assert {job.seed for job in [*training, *validation]} == {1}
    assert {job.seed for job in held_out_jobs(data, Recipe())} == {2}


@pytest.fixture(scope="module")
def samples():
    data = DataConfig(
        seed=3, stations=1, test_seed=4, test_stations=1, runs=3, frames=6, meteors=4.0, small=True
    )
    return draw_night(StationNightRun(3, 1, 0, data, Recipe()))


def test_samples_survive_a_file(tmp_path, samples):
    samples.save(tmp_path / "samples.npz")
    again = Samples.load(tmp_path / "samples.npz")
    assert np.array_equal(again.images, samples.images)
    pd.testing.assert_frame_equal(again.truth, samples.truth, check_dtype=False)


def test_concatenated_samples_keep_their_objects(samples):
    twice = Samples.concatenate([samples, samples])
    assert np.array_equal(
        np.tile(samples.labels(("meteor", "nothing")), 2), twice.labels(("meteor", "nothing"))
    )


def test_labels_follow_the_truth(samples):
    labels = samples.labels(("nothing", "meteor", "satellite"))
    truth = samples.truth
    assert len(truth) == len(samples) == 15
    assert np.array_equal(labels == 1, truth["meteors"] > 0)
    assert np.array_equal(labels == -1, (truth["meteors"] == 0) & (truth["faint"] > 0))
    assert (labels == 1).any()


def test_cells_agree_with_the_labels(samples):
    classes = ("meteor", "nothing")
    cells, labels = samples.cell_labels(classes, 7), samples.labels(classes)
    assert cells.shape == (len(samples), 7, 7)
    assert np.array_equal((cells == 0).any((1, 2)), labels == 0)
    clear = samples.objects[(samples.objects["kind"] == "meteor") & samples.objects["clear"]].iloc[0]
    column, row = int(7 * clear["x_begin"]), int(7 * clear["y_begin"])
    assert cells[int(clear["image"]), row, column] == 0


def test_pictures_and_cells_turn_together():
    torch.manual_seed(0)
    gray = torch.rand(64, 7, 7)
    turned, cells = augment(gray, gray.clone(), ("flips", "rotation"))
    assert torch.equal(turned, cells)
    assert (
        len(
            {tuple(picture.flatten().tolist()) for picture in turned}
            & set(map(tuple, gray.flatten(1).tolist()))
        )
        < 20
    )


def test_crops_hold_what_their_class_says(samples):
    crops = Crops(samples, ("meteor", "nothing"), 64)
    images, labels, _ = crops.draw(40, np.random.default_rng(1))
    assert images.shape == (40, 64, 64)
    assert 8 < (labels == 0).sum() < 32


def test_average_precision_of_a_known_ranking():
    truth = np.array([True, False, True, False])
    assert average_precision(truth, np.array([0.9, 0.8, 0.7, 0.1])) == pytest.approx((1 + 2 / 3) / 2)


def test_wilson_interval_of_a_known_share():
    low, high = Share(8, 10).interval
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_figures_of_perfect_scores(samples):
    classes = ("meteor", "nothing")
    labels = samples.labels(classes)
    score = np.where(labels[:, None] == [0, 1], 1.0, 0.0)
    truth = samples.truth
    middle = np.stack([(truth[f"{axis}_begin_px"] + truth[f"{axis}_end_px"]) / 2 for axis in "xy"], axis=1)
    found = figures(samples, classes, score, middle, 0.5)
    assert found.recall["meteor"].value == found.precision["meteor"].value == 1
    assert found.position_error["to the middle of the trail"] == (0, 0)
    assert found.false_alarms["all"].count == 0
