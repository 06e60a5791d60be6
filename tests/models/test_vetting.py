"""Vetting: stamps, their normalisation, training, packages."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.settings import parse_toml
from nightsift.catalogs.schema import KINDS as COLUMNS
from nightsift.models.vetting.figures import vetting_figures
from nightsift.models.vetting.network import StampsGru
from nightsift.models.vetting.package import KINDS, VettingPackage, save_vetting_package
from nightsift.models.vetting.samples import (
    Job,
    StampSamples,
    VettingData,
    draw_night,
    held_out_jobs,
    training_jobs,
)
from nightsift.models.vetting.stamps import Place, StampRecipe, normalised
from nightsift.models.vetting.train import (
    VettingTrainConfig,
    VettingTraining,
    fine_tune,
    train_vetting,
)
from nightsift.models.vetting.vet import Candidate, Cutter, Vetter, cut_stamps
from tests.conftest import ROOT

RECIPE = StampRecipe(size_px=48)
DATA = VettingData(
    seed=5, stations=2, validation_share=0.5, test_seed=6, test_stations=1, runs=2, frames=6, small=True
)


def sky(random, frames=5, shape=(240, 320), level=60, noise=3.0):
    return random.normal(level, noise, (frames, *shape))


def draw_line(frame, begin, end, rise):
    for step in np.linspace(0, 1, 400):
        x, y = np.add(begin, step * np.subtract(end, begin))
        frame[round(y), round(x)] = 60 + rise
    return frame


def stamps_of(frames, place, recipe=RECIPE, cadence=31.0):
    begins = np.arange(len(frames)) * cadence
    cutter = Cutter(recipe, [Candidate(2, place)], begins, np.full(len(frames), 30.0))
    return cut_stamps(cutter, enumerate(frames))[0]


def test_a_trail_lies_along_the_rows_in_the_middle_of_its_stamp():
    frames = sky(np.random.default_rng(1))
    begin, end = (140, 90), (180, 150)
    draw_line(frames[2], begin, end, 80)
    stamps = stamps_of(frames.round().astype(np.uint8), Place.of_trail(begin, end))
    bright = stamps.codes[2] > 45
    rows, columns = np.nonzero(bright)
    assert abs(rows.mean() - 23.5) < 1.5
    assert rows.std() < 3
    assert columns.std() > 3
    assert not (stamps.codes[[0, 1, 3, 4]] > 45).any()


def test_8_and_16_bits_and_any_gain_look_alike():
    frames = sky(np.random.default_rng(2), level=60, noise=4.0)
    draw_line(frames[2], (140, 90), (180, 150), 80)
    place = Place(160, 120)
    eight = stamps_of(frames.round().astype(np.uint8), place)
    deep = stamps_of((frames.clip(0) * 200).round().astype(np.uint16), place)
    assert np.abs(eight.codes.astype(int) - deep.codes).mean() < 2
    assert np.array_equal(eight.steps, deep.steps)


def test_missing_frames_are_masked_and_cadence_is_known():
    frames = sky(np.random.default_rng(3), frames=3).round().astype(np.uint8)
    begins = np.array([0.0, 31.0, 62.0])
    cutter = Cutter(RECIPE, [Candidate(0, Place(100, 100))], begins, np.full(3, 30.0))
    assert cutter.wanted().tolist() == [True, True, True]
    (stamps,) = cut_stamps(cutter, enumerate(frames)).values()
    assert stamps.steps[:, 0].tolist() == [0, 0, 1, 1, 1]
    assert stamps.steps[:, 1].tolist() == pytest.approx([0, 0, 0, 31 / 60, 62 / 60])
    assert stamps.steps[2, 2] == pytest.approx(0.5)
    assert not stamps.codes[:2].any()


def test_frames_across_a_gap_are_not_wanted():
    begins = np.array([0.0, 31.0, 4000.0, 4031.0])
    cutter = Cutter(RECIPE, [Candidate(2, Place(100, 100))], begins, np.full(4, 30.0))
    assert cutter.wanted().tolist() == [False, False, True, True]


def test_a_candidate_whose_own_frame_is_gone_has_no_stamps():
    frames = sky(np.random.default_rng(3)).round().astype(np.uint8)
    cutter = Cutter(RECIPE, [Candidate(2, Place(100, 100))], np.arange(5) * 31.0, np.full(5, 30.0))
    assert cut_stamps(cutter, [(i, frame) for i, frame in enumerate(frames) if i != 2]) == {}


@pytest.mark.parametrize("place", [Place(0, 0), Place(319, 239, 30.0, 400.0), Place(5, 200, 90.0, 20.0)])
def test_windows_beyond_the_frame_and_larger_than_it(place):
    stamps = stamps_of(sky(np.random.default_rng(4)).round().astype(np.uint8), place)
    assert stamps.codes.shape == (5, 48, 48)
    assert stamps.steps[:, 0].all()


def test_a_flat_frame_divides_by_no_zero():
    flat = {2: np.full((48, 48), 7, np.float32)}
    stamps = normalised(flat, {2: 0.0}, {2: 30.0}, RECIPE.window(Place(9, 9), (90, 90)), RECIPE)
    assert not stamps.codes.any()


@pytest.fixture(scope="module")
def samples():
    return draw_night(Job(5, 1, 0, DATA, RECIPE))


def test_samples_hold_what_their_row_says(samples):
    truth = samples.truth
    assert set(truth["kind"]) >= {"meteor", "other"}
    assert (truth["snr"].isna() == (truth["kind"] == "other")).all()
    assert samples.steps[:, RECIPE.before, 0].all()
    assert not truth.loc[truth["kind"] == "meteor", "recurs"].any()


def test_samples_survive_a_file_and_are_drawn_the_same_again(tmp_path, samples):
    samples.save(tmp_path / "samples.npz")
    for again in (StampSamples.load(tmp_path / "samples.npz"), draw_night(Job(5, 1, 0, DATA, RECIPE))):
        assert np.array_equal(again.codes, samples.codes)
        assert np.array_equal(again.steps, samples.steps)
        assert again.truth["kind"].tolist() == samples.truth["kind"].tolist()


def test_no_station_trains_and_validates_and_no_seed_trains_and_tests():
    training, validation = training_jobs(DATA, RECIPE)
    assert not {job.station for job in training} & {job.station for job in validation}
    assert {job.seed for job in held_out_jobs(DATA, RECIPE)} == {6}


def toy(count=240):
    """Sequences in which a bright row shows in the middle stamp alone, or in the others too, or nowhere."""
    random = np.random.default_rng(7)
    codes = random.normal(0, 16, (count, 5, 48, 48))
    kinds = random.integers(0, 4, count)
    for i, kind in enumerate(kinds):
        if kind < 3:
            codes[i, 2, 24, 12:36] += 60
        if kind == 1:
            codes[i, [1, 3], 24, :10] += 60
        if kind == 2:
            codes[i, [0, 1, 3, 4], 24, 30:] += 60
    steps = np.tile(np.float32([1, 0, 0.5, 0.4]), (count, 5, 1))
    steps[:, :, 1] = np.arange(-2, 3)
    truth = pd.DataFrame({"kind": np.array(KINDS)[kinds], "recurs": (kinds == 1) | (kinds == 2)})
    truth = truth.assign(station=0, night=0, source="object", snr=9.0, length_px=20.0)
    return StampSamples(codes.clip(-127, 127).astype(np.int8), steps, truth)


def test_the_network_learns_what_only_the_sequence_tells():
    torch.manual_seed(0)
    network = StampsGru(4, 2)
    settings = VettingTraining(
        few_shot_steps=100, few_shot_learning_rate=0.005, batch=32, hidden=0, scaling=0
    )
    samples = toy()
    torch.manual_seed(0)
    # Fine-tuning is training with the statistics of the simulation: give it some first.
    network.train()
    with torch.no_grad():
        for _ in range(8):
            network(torch.from_numpy(samples.codes[:64]), torch.from_numpy(samples.steps[:64]))
    fine_tune(network, samples, settings)
    package_scores = network(torch.from_numpy(samples.codes), torch.from_numpy(samples.steps))
    found = vetting_figures(samples.truth, package_scores.softmax(1).detach().numpy())
    assert found.recall > 0.9


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(1)
    network = StampsGru(4, RECIPE.before).eval()
    return save_vetting_package(tmp_path / "vet", network, name="vet", recipe=RECIPE, card="# vet\n").folder


def test_scores_do_not_depend_on_the_company(folder):
    samples = toy(40)
    package = VettingPackage.load(str(folder))
    vetter = Vetter(package)
    sequences = [stamps_of(sky(np.random.default_rng(i)).astype(np.uint8), Place(90, 90)) for i in range(3)]
    together = vetter.scores(sequences * 12)
    alone = vetter.scores(sequences[1:2])
    assert np.array_equal(together[1::3], np.repeat(alone, 12, axis=0))
    assert together.sum(1) == pytest.approx(1)
    assert len(vetter.scores([])) == 0
    assert len(samples) == 40


def test_a_package_keeps_what_it_is(folder):
    package = VettingPackage.load(str(folder))
    assert (package.classes, package.recipe, package.paired) == (KINDS, RECIPE, True)
    assert package == VettingPackage.load("vet", folder.parent)
    assert COLUMNS == KINDS


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04."), "is not what its digest says"),
        (lambda f: replaced(f, "meteor", "comet"), "in this order"),
        (lambda f: replaced(f, "least_px = 64", "least_px = 65"), "is not what its digest says"),
        (lambda f: replaced(f, "stamps-gru", "resnet18"), "is not a vetting package"),
        (lambda f: (f / "model.safetensors").unlink(), "no readable model.safetensors"),
    ],
)
def test_a_damaged_package_is_refused(folder, damage, fault):
    damage(folder)
    with pytest.raises(ConfigurationError, match=fault):
        VettingPackage.load(str(folder))


def replaced(folder, old, new):
    path = folder / "model.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_weights_that_are_not_finite_are_refused(tmp_path):
    network = StampsGru(4, 2)
    with torch.no_grad():
        network.head[1].bias[0] = torch.nan
    with pytest.raises(ConfigurationError, match="not finite"):
        save_vetting_package(tmp_path / "bad", network, name="bad", recipe=RECIPE, card="")


def test_a_changed_package_is_refused_when_it_is_used(folder):
    package = replace(VettingPackage.load(str(folder)), sha256="0" * 64)
    with pytest.raises(ConfigurationError, match="changed since the run was planned"):
        package.network()


def test_a_tiny_training_gives_a_package_with_its_figures(tmp_path):
    config = VettingTrainConfig(
        model={"kind": "vetting", "name": "tiny"},
        recipe=RECIPE,
        data=DATA.model_copy(update={"runs": 4, "frames": 8}),
        training={"steps": 10, "batch": 8},
    )
    done = train_vetting(config, tmp_path / "tiny")
    assert VettingPackage.load(str(tmp_path / "tiny")) == done.package
    card = (tmp_path / "tiny" / "README.md").read_text()
    assert "left as meteor" in card
    assert json.dumps(done.figures.as_dict())
    assert done.figures.confusion.sum() > 20


def test_a_training_set_without_a_kind_is_refused(tmp_path):
    config = VettingTrainConfig(
        model={"kind": "vetting", "name": "tiny"},
        data=DATA.model_copy(update={"satellites": 0.0}),
        training={"steps": 2, "batch": 8},
    )
    with pytest.raises(ConfigurationError, match=r"none of .* shows satellite"):
        train_vetting(config, tmp_path / "tiny")


@pytest.mark.parametrize("name", ["vetting", "carrasco-davis-2019"])
def test_the_train_files_are_sound(name):
    path = ROOT / "models" / "recipes" / f"{name}.toml"
    config = parse_toml(VettingTrainConfig, path.read_text(), str(path))
    assert config.model.name == name
    assert config.recipe == VettingPackage.load().recipe


def test_the_packaged_model_is_small_and_says_how_well_it_vets():
    folder = VettingPackage.load().folder
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6
    assert "left as meteor" in (folder / "README.md").read_text()


def test_faults_of_a_train_file_are_named():
    with pytest.raises(ConfigurationError, match="did you mean 'steps'"):
        parse_toml(
            VettingTrainConfig, '[model]\nkind = "vetting"\nname = "x"\n[training]\nstep = 3\n', "TRAIN"
        )
