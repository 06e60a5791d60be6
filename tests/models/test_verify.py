"""The replay of a package's check."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from nightsift.archive.errors import ConfigurationError
from nightsift.models.description import write_description
from nightsift.models.package import ModelPackage
from nightsift.models.verify import draw_differences, seal, verify
from tests.conftest import untrained
from tests.models.test_package import edit


@pytest.fixture
def folder(tmp_path):
    return untrained(tmp_path / "package")


def test_a_package_gives_the_scores_of_its_check_where_it_was_made(folder):
    found = verify(ModelPackage.load(str(folder)))
    assert found.within
    assert found.deviation == found.deviation_px == 0
    assert found.then == found.now
    assert found.then["torch"] == torch.__version__


def test_other_scores_are_found(folder):
    held = load_file(folder / "check.safetensors")
    held["score"][3] += np.array([0.02, -0.02], np.float32)
    save_file(held, folder / "check.safetensors")
    edit(folder)
    found = verify(ModelPackage.load(str(folder)))
    assert not found.within
    assert found.deviation == pytest.approx(0.02, abs=1e-6)


def test_a_score_that_is_no_number_is_not_within_the_tolerance(folder):
    held = load_file(folder / "check.safetensors")
    held["score"][0] = np.nan
    save_file(held, folder / "check.safetensors")
    edit(folder)
    assert not verify(ModelPackage.load(str(folder))).within


def test_another_recipe_shows_itself(folder):
    package = ModelPackage.load(str(folder))
    edit(folder, recipe={**package.recipe.model_dump(mode="json"), "std": [0.05, 0.05, 0.05]})
    assert not verify(ModelPackage.load(str(folder))).within


def test_a_package_without_a_check_says_so(folder):
    (folder / "check.safetensors").unlink()
    edit(folder, check=None)
    with pytest.raises(ConfigurationError, match="holds no check") as caught:
        verify(ModelPackage.load(str(folder)))
    assert f"nightsift model seal {folder}" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"no safetensors at all", bytes(8)])
def test_a_check_that_is_none_is_refused(folder, data):
    (folder / "check.safetensors").write_bytes(data)
    edit(folder)
    with pytest.raises(ConfigurationError, match=r"check\.safetensors holds no check"):
        verify(ModelPackage.load(str(folder)))


def test_sealing_again_changes_nothing(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    seal(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_package_without_digests_is_sealed(folder):
    package = ModelPackage.load(str(folder))
    values = {
        "name": "edited",
        "architecture": "resnet18",
        "classes": list(package.classes),
        "threshold": 0.9,
    }
    write_description(folder, {**values, "recipe": package.recipe.model_dump(mode="json")})
    sealed = seal(folder)
    assert (sealed.name, sealed.threshold) == ("edited", 0.9)
    assert verify(sealed).within


def test_the_differences_are_various_and_small():
    drawn = draw_differences()
    assert len({risen.shape for risen in drawn}) == len(drawn)
    assert all(0.0002 < risen.mean() < 0.2 for risen in drawn)
    assert sum(np.packbits(risen, axis=1).nbytes for risen in drawn) < 400_000
    assert all(np.array_equal(one, two) for one, two in zip(drawn, draw_differences(), strict=True))


def test_the_checks_of_the_default_package_lie_between_the_extremes():
    score = load_file(ModelPackage.load("default").folder / "check.safetensors")["score"]
    assert ((score > 0.1) & (score < 0.9)).any(axis=1).sum() >= 3
