"""The ready TRAIN files: sound, faithful in what they name, and each trains."""

import pandas as pd
import pytest
import torch

from nightsift.archive.settings import parse_toml
from nightsift.models import train as training
from nightsift.models.networks import untrained
from nightsift.models.origins import Parts
from nightsift.models.package import ModelPackage
from nightsift.models.settings import StageConfig
from nightsift.models.trainfile import TrainConfig
from tests.conftest import ROOT
from tests.models.strokes import strokes
from tests.models.test_pretraining import small_fashion_mnist

PUBLISHED = [
    "regordosa-2021",
    "pena-asensio-2023",
    "galindo-2018-fashion",
    "galindo-2018-imagenet50",
]


def recipe(name):
    path = ROOT / "models" / "recipes" / f"{name}.toml"
    return parse_toml(TrainConfig, path.read_text(), str(path))


def test_regordosa_as_the_thesis_says():
    found = recipe("regordosa-2021")
    assert (found.model.architecture, found.model.head, found.model.threshold) == ("resnet34", "fastai", 0.85)
    assert (found.training.whole.epochs, found.training.whole.batch) == (35, 32)
    assert found.training.head_only.learning_rate == 0.003
    assert found.training.balance == "undersample"
    assert found.training.augmentation == ("regordosa",)
    assert found.pretraining.source == "imagenet"


def test_pena_asensio_as_the_paper_says():
    found = recipe("pena-asensio-2023")
    assert (found.model.architecture, found.model.head) == ("resnet34", "fastai")
    assert (found.training.whole.epochs, found.training.whole.batch) == (35, 32)
    assert found.training.whole.learning_rate == 0.003


@pytest.mark.parametrize(
    ("name", "architecture", "source"),
    [
        ("galindo-2018-fashion", "resnet18", "fashion-mnist"),
        ("galindo-2018-imagenet50", "resnet50", "imagenet"),
    ],
)
def test_galindo_as_the_paper_says(name, architecture, source):
    found = recipe(name)
    assert (found.model.architecture, found.model.head) == (architecture, "galindo")
    assert found.pretraining.source == source
    rates = (found.training.head_only.learning_rate, found.training.whole.learning_rate)
    assert rates == (0.03, 0.001)
    assert {found.training.head_only.schedule, found.training.whole.schedule} == {"cosine-restarts"}
    assert (found.training.optimizer, found.training.weight_decay) == ("adam", 0)
    assert (found.training.frozen_convolutions, found.training.folds) == (6, 10)
    assert found.training.augmentation == ()


def quick(config, folder):
    """The same recipe with two folds, one step a stage, little pictures, and first weights from here."""
    settings = config.training

    def short(stage):
        return stage.model_copy(update={"steps": int(stage.planned), "epochs": 0, "batch": 8})

    update = {name: short(getattr(settings, name)) for name in ("head_only", "crops", "whole")}
    small = settings.model_copy(update={**update, "crop_px": 32, "folds": 2 * bool(settings.folds)})
    first = config.pretraining.model_copy(update={"size_px": 32, "stage": StageConfig(steps=1, batch=8)})
    if first.source == "fashion-mnist":
        first = first.model_copy(update={"path": small_fashion_mnist(folder)})
    elif first.source == "imagenet":
        torch.save(untrained(config.model.architecture).state_dict(), folder / "imagenet.pth")
        first = first.model_copy(update={"path": folder / "imagenet.pth"})
    # Three cells of 32 pixels a side would be slower, one would leave nothing to normalise.
    recipe = config.recipe.model_copy(update={"size_px": 64})
    return config.model_copy(update={"training": small, "pretraining": first, "recipe": recipe})


@pytest.mark.parametrize("name", [*PUBLISHED, "resnet34"])
def test_every_recipe_trains_to_a_package(name, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    parts = Parts(*(strokes(seed=seed, count=24) for seed in (1, 2, 3)))
    monkeypatch.setattr(training, "draw_parts", lambda *_: parts)
    config = quick(recipe(name), tmp_path)
    report = training.train(config, tmp_path / "package")
    package = ModelPackage.load(str(tmp_path / "package"))
    assert (package.architecture, package.head) == (config.model.architecture, config.model.head)
    assert len(report.folds) == config.training.folds
    card = (tmp_path / "package" / "README.md").read_text()
    assert f"head {config.model.head}" in card
    assert "1 thread of" in card or "NVIDIA" in card
    assert ("mean ± deviation of 2 folds" in card) == bool(config.training.folds)
    assert (tmp_path / "package" / "folds.csv").exists() == bool(config.training.folds)
    for picture in ("curves.png", "confusion.png"):
        assert (tmp_path / "package" / picture).stat().st_size > 5000
    assert pd.read_csv(tmp_path / "package" / "history.csv")["loss"].notna().all()
    assert not (tmp_path / "package-checkpoints").exists()
