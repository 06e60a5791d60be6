"""Model packages, as those who share them type it; and everything that may be wrong with one."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from torchvision.models import resnet18

from nightsift.models.classify import Classifier
from nightsift.models.package import ModelPackage
from nightsift.models.verify import draw_differences
from tests.jobs.test_bad_input import CONFIGURATION
from tests.jobs.typed import refused, typed
from tests.models.test_convert import Bomb
from tests.models.test_package import edit, put_weights


@pytest.fixture
def folder(package, tmp_path):
    return shutil.copytree(package, tmp_path / "package")


def test_a_package_is_verified(package):
    said = json.loads(typed("model", "verify", package, "--json"))
    assert said["within"]
    assert said["deviation"] <= said["tolerance"]
    assert said["then"]["torch"] == said["now"]["torch"]
    assert "within the tolerance of 0.01" in typed("model", "verify", package)


def test_a_package_that_scores_otherwise_here_fails(folder):
    recipe = ModelPackage.load(str(folder)).recipe.model_dump(mode="json")
    edit(folder, recipe={**recipe, "std": [0.05, 0.05, 0.05]})
    assert not json.loads(typed("model", "verify", folder, "--json", code=1))["within"]
    assert "OUTSIDE" in typed("model", "verify", folder, code=1)
    typed("model", "seal", folder)
    typed("model", "verify", folder)


def test_a_package_without_a_check_is_told_to_be_sealed(folder):
    (folder / "check.safetensors").unlink()
    edit(folder, check=None)
    said = typed("model", "verify", folder, code=3)
    assert "holds no check" in said
    assert f"nightsift model seal {folder}" in said


def test_weights_are_imported_and_verified(tmp_path):
    torch.manual_seed(0)
    torch.save(resnet18(num_classes=2).state_dict(), tmp_path / "theirs.pth")
    options = ("--architecture", "resnet18", "--classes", "meteor,nothing", "--recipe", "regordosa-v4")
    words = ("model", "import", tmp_path / "theirs.pth", *options, "--output", tmp_path / "theirs", "--json")
    said = json.loads(typed(*words))
    assert said["head"] == "average"
    assert json.loads(typed("model", "verify", tmp_path / "theirs", "--json"))["within"]
    shown = json.loads(typed("model", "show", tmp_path / "theirs", "--json"))
    assert (shown["name"], shown["sha256"]) == ("theirs", said["sha256"])
    assert "is not empty" in refused(*words, code=CONFIGURATION)


@pytest.mark.parametrize(
    ("changed", "told", "code"),
    [
        (("--recipe", "regordosa-v5"), "there is no recipe 'regordosa-v5'", 2),
        (("--classes", "nothing"), "two or more different classes, 'meteor' among them", CONFIGURATION),
        (("--classes", "meteor,satellite,nothing"), "does not fit", CONFIGURATION),
        (("--threshold", "2"), "threshold", CONFIGURATION),
    ],
)
def test_an_import_that_is_refused(tmp_path, changed, told, code):
    torch.save(resnet18(num_classes=2).state_dict(), tmp_path / "theirs.pth")
    options = {"--architecture": "resnet18", "--classes": "meteor,nothing", "--recipe": "regordosa-v4"}
    options |= {"--output": str(tmp_path / "theirs"), changed[0]: changed[1]}
    words = [word for pair in options.items() for word in pair]
    assert told in refused("model", "import", tmp_path / "theirs.pth", *words, code=code)
    assert not (tmp_path / "theirs").exists()


def test_an_import_of_a_pickle_does_not_run_it(tmp_path):
    torch.save({"model": Bomb(tmp_path / "made")}, tmp_path / "learner.pkl")
    options = ("--architecture", "resnet18", "--classes", "meteor,nothing", "--recipe", "regordosa-v4")
    words = ("model", "import", tmp_path / "learner.pkl", *options, "--output", tmp_path / "theirs")
    assert "nothing in it was run" in refused(*words, code=CONFIGURATION)
    assert not (tmp_path / "made").exists()


def test_a_package_is_exported_and_runs_elsewhere(folder, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "network.onnx"
    said = json.loads(typed("model", "export", folder, "--onnx", path, "--json"))
    assert 0 <= said["deviation"] <= said["tolerance"]
    package = ModelPackage.load(str(folder))
    images = np.stack([package.recipe.resize(risen) for risen in draw_differences(seed=1)])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, len(images)):
        (scores,) = session.run(["scores"], {"images": images[:count, None]})
        expected = Classifier(package, "cpu").classify_inputs(images[:count])[:, :2]
        np.testing.assert_allclose(scores, expected, atol=said["tolerance"])


def changed_byte(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def without_recipe(folder):
    edit(folder, recipe=None)


def other_class_order(folder):
    edit(folder, classes=["nothing", "meteor"])


def with_nan(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["head.linear.weight"][0, 0] = torch.nan
    put_weights(folder, save(tensors))


def pickled(folder):
    put_weights(folder, pickle.dumps(Bomb(folder / "made")))


def truncated(folder):
    put_weights(folder, (folder / "model.safetensors").read_bytes()[:-1000])


def unknown_architecture(folder):
    edit(folder, architecture="vgg16")


def damaged_toml(folder):
    (folder / "model.toml").write_bytes(b"name = \xff\xfe")


FAULTS = [
    (changed_byte, "model.safetensors changed: it is not what its digest says"),
    (without_recipe, "missing key recipe"),
    (other_class_order, "names the classes in another order"),
    (with_nan, "nan or infinity in head.linear.weight"),
    (pickled, "is not a safetensors file"),
    (truncated, "is not a safetensors file"),
    (unknown_architecture, "architecture: Input should be 'resnet18', 'resnet34'"),
    (damaged_toml, "is not TOML"),
]


@pytest.mark.parametrize(("damage", "told"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_faulty_package_is_refused(folder, damage, told):
    damage(folder)
    assert told in refused("model", "verify", folder, code=CONFIGURATION)
    assert not (folder / "made").exists()


def test_a_run_refuses_a_faulty_package_too(folder, configure):
    other_class_order(folder)
    assert "names the classes in another order" in refused("run", configure(model=folder), code=CONFIGURATION)
