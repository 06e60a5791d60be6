"""docs/training.md: its example runs, and it names every key."""

import json
import re

import pandas as pd
import pytest

from nightsift.models.recipe import FullSize
from nightsift.models.settings import PretrainingConfig, StageConfig, TrainingConfig
from nightsift.models.streak_fitting import StreakTraining
from nightsift.models.trainfile import ModelConfig
from tests.conftest import ROOT
from tests.jobs.test_run import nightsift

PAGE = (ROOT / "docs" / "training.md").read_text()


@pytest.mark.parametrize(
    "model", [ModelConfig, PretrainingConfig, TrainingConfig, StageConfig, StreakTraining, FullSize]
)
def test_the_page_names_every_key(model):
    keys = {field.alias or name for name, field in model.model_fields.items()}
    assert not [key for key in keys if f"`{key}`" not in PAGE]


def test_the_page_names_every_published_recipe():
    names = {path.name for path in (ROOT / "models" / "recipes").glob("*-20*.toml")}
    assert not [name for name in names if name not in PAGE and not name.startswith("carrasco-davis")]


def test_the_example_of_the_page(tmp_path):
    train_file, package = tmp_path / "TRAIN.toml", tmp_path / "my-model"
    train_file.write_text(re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL).group(1))
    words = ("model", "train", train_file, "--output", package)
    (tmp_path / "my-model-checkpoints").mkdir()
    assert "--resume" in nightsift(*words, code=3).stderr
    nightsift(*words, "--resume")
    assert not (tmp_path / "my-model-checkpoints").exists()
    assert "Fitted from scratch in " in (package / "README.md").read_text()
    assert pd.read_csv(package / "history.csv")["stage"].tolist() == ["head_only", "whole", "whole"]
    assert pd.read_csv(package / "history.csv").notna().all(axis=None)
    assert {"curves.png", "confusion.png"} <= {path.name for path in package.iterdir()}

    rate, cache = tmp_path / "rate", tmp_path / "my-model-samples"
    words = ("model", "train", train_file, "--output", rate, "--find-rate", "--cache", cache, "--json")
    said = json.loads(nightsift(*words).stdout)
    assert said["stage"] == "head_only"
    assert {"rate.png", "rate.csv"} == {path.name for path in rate.iterdir()}
