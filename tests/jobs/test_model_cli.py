"""``nightsift model``, as a model owner types it."""

import json

import pandas as pd

from nightsift.catalogs.truth import write_truth
from tests.jobs.test_run import nightsift, run

TINY = """
[model]
name = "tiny"
architecture = "resnet18"
threshold = 0.5
[recipe]
size_px = 64
[data]
seed = 1
stations = 2
validation_share = 0.5
test_seed = 2
test_stations = 1
nights = 1
runs = 2
frames = 4
meteors = 1.5
small = true
[training]
crop_px = 32
crops = { steps = 4, batch = 8, learning_rate = 0.001 }
whole = { steps = 4, batch = 8, learning_rate = 0.001 }
"""


def test_a_model_is_trained_shown_used_and_evaluated(configure, tmp_path, simulated):
    (tmp_path / "TRAIN.toml").write_text(TINY)
    folder = tmp_path / "tiny"
    made = json.loads(
        nightsift("model", "train", tmp_path / "TRAIN.toml", "--output", folder, "--json").stdout
    )
    shown = json.loads(nightsift("model", "show", folder, "--json").stdout)
    assert shown["sha256"] == made["sha256"]
    assert "meteor" in shown["classes"]
    assert (
        "is not empty"
        in nightsift("model", "train", tmp_path / "TRAIN.toml", "--output", folder, code=3).stderr
    )

    config = configure(model=folder, extra="threshold = 0\n")
    release = run(config)["release"]
    write_truth(tmp_path / "truth.parquet", simulated.truth)
    said = json.loads(
        nightsift("model", "evaluate", config, "--truth", tmp_path / "truth.parquet", "--json").stdout
    )
    frames = pd.read_parquet(tmp_path / "workspace/releases" / release / "frames")
    meteors = {row["frame_key"] for row in simulated.truth if row["kind"] == "meteor"}
    scored = set(frames["frame_key"][frames["score"].notna()])
    assert said["recall"]["of"] == said["recall"]["hits"] == len(meteors & scored)
    assert said["false_frames"]["of"] == len(scored - meteors)
    assert sum(said["unscored_meteors"].values()) == len(meteors - scored)


def test_the_packaged_model_shows_its_card():
    said = nightsift("model", "show").stdout
    assert "sha256" in said
    assert "simulated" in said


def test_a_training_file_with_unknown_keys_is_refused(tmp_path):
    (tmp_path / "TRAIN.toml").write_text(TINY.replace("stations = 2", "statoins = 2"))
    assert "did you mean" in nightsift("model", "train", tmp_path / "TRAIN.toml", code=3).stderr


def test_options_that_a_training_would_not_heed_are_refused(tmp_path):
    (tmp_path / "TRAIN.toml").write_text('[model]\nname = "m"\narchitecture = "streaks"\n')
    for option in (("--resume",), ("--few-shot", "3")):
        said = nightsift("model", "train", tmp_path / "TRAIN.toml", *option, code=2).stderr
        assert option[0] in said
