"""Fitting from the side of who calls `fit` with samples of their own."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.settings import parse_toml
from nightsift.models.fit import fit
from nightsift.models.fitting import Diverged
from nightsift.models.trainfile import TrainConfig
from tests.models.strokes import strokes

TRAIN = """
[model]
name = "tiny"
architecture = "resnet18"
head = "HEAD"
classes = ["meteor", "nothing"]
[recipe]
size_px = 64
[data]
seed = 1
stations = 2
test_seed = 2
test_stations = 1
[training]
crop_px = 32
precision = "fp32"
MORE
"""
STAGES = """
head_only = { steps = 1, batch = 8 }
crops = { steps = 1, batch = 8 }
whole = { epochs = 2, batch = 8, schedule = "cosine-restarts", cycle_growth = 2 }
"""
WHOLE = "crops = { steps = 0 }\n"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def config(more=STAGES, head="mean-max"):
    return parse_toml(TrainConfig, TRAIN.replace("MORE", more).replace("HEAD", head), "TRAIN.toml")


def weights(fitted):
    return save({key: value.contiguous() for key, value in fitted.network.state_dict().items()})


def killed_after(rounds):
    """What a progress callback does to its own process."""
    left = iter(range(rounds))

    def progress(*_):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


@pytest.mark.parametrize("rounds", [0, 2])
def test_a_killed_training_that_goes_on_ends_with_the_same_bytes(tmp_path, rounds):
    """Killed at the end of the first stage, and within the third."""
    path = tmp_path / "checkpoint.safetensors"
    code = (
        "from pathlib import Path; from tests.models import test_fit as t; t.torch.set_num_threads(1); "
        "t.fit(t.config(t.STAGES, 'fastai'), t.strokes(seed=1), t.strokes(seed=2), "
        f"t.killed_after({rounds}), checkpoint=Path({str(path)!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    chosen, samples = config(STAGES, "fastai"), (strokes(seed=1), strokes(seed=2))
    seen = []
    resumed = fit(chosen, *samples, lambda *done: seen.append(done), checkpoint=path)
    unbroken = fit(chosen, *samples)
    assert len(seen) == len(unbroken.history) - rounds - 1
    assert weights(resumed) == weights(unbroken)
    columns = ["stage", "step", "learning_rate", "loss", "validation_loss"]
    assert resumed.history[columns].equals(unbroken.history[columns])
    assert resumed.seconds > 0


def test_a_checkpoint_of_another_configuration_or_of_other_samples_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    once = config("crops = { steps = 0 }\nwhole = { steps = 1, batch = 8 }")
    fit(once, strokes(seed=1), strokes(seed=2), checkpoint=path)
    other = config("crops = { steps = 0 }\nwhole = { steps = 2, batch = 8 }")
    with pytest.raises(ConfigurationError, match=r"expected: training\.whole\.steps = 2") as caught:
        fit(other, strokes(seed=1), strokes(seed=2), checkpoint=path)
    assert "found: training.whole.steps = 1" in str(caught.value)
    with pytest.raises(ConfigurationError, match="samples"):
        fit(once, strokes(seed=3), strokes(seed=2), checkpoint=path)
    path.write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(ConfigurationError, match="is not a checkpoint"):
        fit(once, strokes(seed=1), strokes(seed=2), checkpoint=path)


@pytest.mark.parametrize("meteors", [0, 1])
def test_samples_of_one_class_are_refused(meteors):
    with pytest.raises(ConfigurationError, match="expected: some of each"):
        fit(config(), strokes(meteors=meteors), strokes())


def test_validation_without_anything_known_is_nan_and_the_last_weights_are_kept():
    unknown = strokes(seed=2, meteors=1)
    unknown.objects["clear"] = False
    fitted = fit(config(WHOLE + "whole = { steps = 1, batch = 8 }"), strokes(seed=1), unknown)
    assert fitted.history["validation_loss"].isna().all()


def test_a_loss_that_is_no_number_stops_with_step_and_rate():
    wild = 'whole = { steps = 30, batch = 8, learning_rate = 1e30, schedule = "constant" }\n'
    with pytest.raises(Diverged, match=r"step \d+ of the stage 'whole'(.|\n)*learning rate 1e\+30"):
        fit(config(WHOLE + wild), strokes(), strokes())


def test_patience_ends_a_stage_that_gets_no_better():
    steady = (
        'patience = 1\nwhole = { epochs = 5, batch = 12, learning_rate = 1e-12, schedule = "constant" }\n'
    )
    impatient = fit(config(WHOLE + steady), strokes(seed=1), strokes(seed=2))
    patient = fit(config(WHOLE + steady.replace("1", "0", 1)), strokes(seed=1), strokes(seed=2))
    assert len(impatient.history) < len(patient.history) == 5


def test_the_frozen_convolutions_keep_weights_and_statistics():
    frozen = "frozen_convolutions = 6\nwhole = { steps = 2, batch = 8 }\n"
    fitted = fit(config(WHOLE + frozen), strokes(seed=1), strokes(seed=2)).network.state_dict()
    torch.manual_seed(0)
    from nightsift.models.networks import build

    begun = build("resnet18", 2).state_dict()
    changed = {key for key in begun if not torch.equal(begun[key], fitted[key])}
    assert {"body.rest.0.0.conv2.weight", "body.rest.0.0.bn2.running_mean"} <= changed
    # Six: the stem's, four of the first block, one of the second; the second's shortcut comes later.
    kept = ("body.stem", "body.first", "body.rest.0.0.conv1", "body.rest.0.0.bn1")
    assert not [key for key in changed if key.startswith(kept)]


def test_the_head_alone_changes_before_the_body_is_unfrozen():
    from nightsift.models.networks import build

    alone = "head_only = { steps = 3, batch = 8 }\nwhole = { steps = 0 }\n"
    fitted = fit(config(WHOLE + alone, "galindo"), strokes(seed=1), strokes(seed=2)).network.state_dict()
    torch.manual_seed(0)
    begun = build("resnet18", 2, "galindo").state_dict()
    changed = {key.split(".")[0] for key in begun if not torch.equal(begun[key], fitted[key])}
    assert changed == {"head"}


@pytest.mark.parametrize("balance", ["none", "undersample", "oversample", "weights"])
def test_every_balance_trains(balance):
    more = f'{WHOLE}balance = "{balance}"\nwhole = {{ steps = 2, batch = 8 }}\n'
    fitted = fit(config(more), strokes(meteors=0.25), strokes())
    assert np.isfinite(fitted.history["loss"]).all()
