import hashlib
import pickle
import subprocess
import sys
import tomllib

import pytest
import torch
from safetensors.torch import load_file, save

from nightsift.archive.errors import ConfigurationError
from nightsift.models.description import write_description
from nightsift.models.networks import build
from nightsift.models.package import ModelPackage, packaged_names, save_package
from nightsift.models.recipe import RECIPES

CLASSES = ("meteor", "nothing")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("resnet18", len(CLASSES)).eval()


@pytest.fixture
def folder(tmp_path, network):
    return saved(tmp_path / "package", network).folder


def saved(folder, network, **changes):
    values = {
        "name": "tried",
        "architecture": "resnet18",
        "classes": CLASSES,
        "threshold": 0.7,
        "recipe": RECIPES["regordosa-v4"],
        "card": "A card.\n",
    }
    return save_package(folder, network, **{**values, **changes})


def edit(folder, **changes):
    """Change model.toml and give it the digests that then are right."""
    values = {**tomllib.loads((folder / "model.toml").read_text()), **changes}
    left_out = {"sha256", "files"} | {key for key, value in values.items() if value is None}
    write_description(folder, {key: value for key, value in values.items() if key not in left_out})


def put_weights(folder, data):
    (folder / "model.safetensors").write_bytes(data)
    edit(folder)


def test_what_is_saved_is_loaded(folder, network):
    package = ModelPackage.load(str(folder))
    assert (package.name, package.architecture, package.threshold) == ("tried", "resnet18", 0.7)
    assert package.classes == CLASSES
    assert package.recipe == RECIPES["regordosa-v4"]
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(package.network()(images), network(images), atol=1e-2)


def test_the_weights_are_small(folder):
    assert (folder / "model.safetensors").stat().st_size < 23e6


def test_saving_again_gives_the_same_bytes(tmp_path, folder, network):
    again = saved(tmp_path / "again", network).folder
    for name in ("model.toml", "model.safetensors", "check.safetensors", "README.md"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_a_relative_folder_starts_at_the_naming_file(folder):
    assert ModelPackage.load(folder.name, base=folder.parent).sha256 == ModelPackage.load(str(folder)).sha256


def test_the_digest_changes_with_each_part_of_the_meaning(tmp_path, network):
    changes = [
        {},
        {"name": "other"},
        {"threshold": 0.8},
        {"recipe": RECIPES["regordosa-v1"]},
        {"classes": ("nothing", "meteor")},
    ]
    digests = [saved(tmp_path / str(i), network, **change).sha256 for i, change in enumerate(changes)]
    assert len(set(digests)) == len(changes)


def test_the_head_is_part_of_the_package(tmp_path):
    network = build("resnet18", len(CLASSES), "galindo").eval()
    saved(tmp_path, network, head="galindo")
    images = torch.randn(2, 3, 64, 64)
    loaded = ModelPackage.load(str(tmp_path)).network()
    assert torch.allclose(loaded(images), network(images), atol=0.01)
    with pytest.raises(ConfigurationError, match="with 2 classes under fastai"):
        saved(tmp_path / "other", network, head="fastai")


def test_a_package_that_names_no_head_has_the_usual_one(folder):
    edit(folder, head=None)
    assert ModelPackage.load(str(folder)).head == "mean-max"


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ConfigurationError, match="no model package 'defualt'") as caught:
        ModelPackage.load("defualt")
    assert all(name in str(caught.value) for name in packaged_names())


@pytest.mark.parametrize("name", ["model.toml", "model.safetensors", "check.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ConfigurationError, match=name):
        ModelPackage.load(str(folder))


@pytest.mark.parametrize("name", ["model.safetensors", "check.safetensors"])
def test_a_changed_file_is_refused_by_name_with_both_digests(folder, name):
    path = folder / name
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=f"{name} changed") as caught:
        ModelPackage.load(str(folder))
    assert f"expected: sha256 {expected}" in str(caught.value)
    assert f"found: sha256 {hashlib.sha256(data).hexdigest()}" in str(caught.value)


def test_a_changed_recipe_is_refused(folder):
    path = folder / "model.toml"
    path.write_text(path.read_text().replace('"area"', '"nearest"'))
    with pytest.raises(ConfigurationError, match=r"model\.toml changed"):
        ModelPackage.load(str(folder))


def test_another_class_order_than_the_checks_is_refused(folder):
    edit(folder, classes=["nothing", "meteor"])
    with pytest.raises(ConfigurationError, match="classes in another order"):
        ModelPackage.load(str(folder))


def test_a_package_of_another_digest_than_the_pinned_is_refused(folder):
    right = ModelPackage.load(str(folder)).sha256
    assert ModelPackage.load(f"{folder}#sha256={right}").sha256 == right
    with pytest.raises(ConfigurationError, match="another model package than the one that is named"):
        ModelPackage.load(f"{folder}#sha256={'0' * 64}")
    with pytest.raises(ConfigurationError, match="pinned to no digest"):
        ModelPackage.load(f"{folder}#sha256=abc")


def test_an_unknown_key_is_named_with_the_nearest(folder):
    path = folder / "model.toml"
    path.write_text(path.read_text().replace("threshold = 0.7", "treshold = 0.7"))
    with pytest.raises(ConfigurationError, match=r"unknown key treshold: did you mean 'threshold'\?"):
        ModelPackage.load(str(folder))


@pytest.mark.parametrize("classes", [["nothing", "other"], ["meteor"], ["meteor", "meteor"]])
def test_classes_without_sense_are_refused(folder, classes):
    edit(folder, classes=classes)
    with pytest.raises(ConfigurationError, match="two or more different classes"):
        ModelPackage.load(str(folder))


def test_weights_of_another_architecture_are_refused(folder):
    edit(folder, architecture="resnet34")
    with pytest.raises(ConfigurationError, match="weights of resnet34 with 2 classes"):
        ModelPackage.load(str(folder)).network()


def test_weights_of_other_classes_are_refused(folder):
    edit(folder, classes=["meteor", "satellite", "nothing"], check=None)
    with pytest.raises(ConfigurationError, match="with 3 classes under mean-max"):
        ModelPackage.load(str(folder)).network()


def test_weights_that_are_not_finite_are_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["head.linear.bias"][0] = torch.nan
    put_weights(folder, save(tensors))
    with pytest.raises(ConfigurationError, match=r"nan or infinity in head\.linear\.bias"):
        ModelPackage.load(str(folder)).network()


def test_weights_beyond_half_precision_are_not_saved(tmp_path):
    network = build("resnet18", 2)
    with torch.no_grad():
        network.head.linear.weight[0, 0] = 1e6
    with pytest.raises(ConfigurationError, match=r"head\.linear\.weight"):
        saved(tmp_path, network)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was run",))


def test_a_pickle_in_disguise_is_refused_and_never_run(folder):
    put_weights(folder, pickle.dumps(Bomb()))
    with pytest.raises(ConfigurationError, match="not a safetensors file"):
        ModelPackage.load(str(folder)).network()


def test_planning_with_a_package_does_not_import_torch(folder):
    code = (
        "import sys; from nightsift.models.package import ModelPackage; "
        f"ModelPackage.load({str(folder)!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_weights_that_changed_after_loading_are_refused(tmp_path, folder, network):
    package = ModelPackage.load(str(folder))
    saved(folder, network, threshold=0.9)
    with pytest.raises(ConfigurationError, match="changed since the run was planned"):
        package.network()
