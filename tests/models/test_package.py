import pickle
import subprocess
import sys
import tomllib

import pytest
import tomli_w
import torch
from safetensors.torch import load_file, save

from nightsift.archive.errors import ConfigurationError
from nightsift.models import package as packages
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
    """Change model.toml and give it the digest that then is right."""
    path = folder / "model.toml"
    values = {**tomllib.loads(path.read_text()), **changes}
    meaning = {key: value for key, value in values.items() if key != "sha256"}
    digest = packages._digest(meaning, (folder / "model.safetensors").read_bytes())
    path.write_text(tomli_w.dumps({**meaning, "sha256": digest}))


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
    for name in ("model.toml", "model.safetensors", "README.md"):
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
    package = saved(tmp_path, network, head="galindo")
    images = torch.randn(2, 3, 64, 64)
    loaded = ModelPackage.load(str(tmp_path)).network()
    assert torch.allclose(loaded(images), network(images), atol=0.01)
    assert package.sha256 != saved(tmp_path / "other", network, head="fastai").sha256


def test_the_usual_head_goes_unsaid_so_that_older_packages_keep_their_digest(folder):
    assert "head" not in tomllib.loads((folder / "model.toml").read_text())
    edit(folder)
    assert ModelPackage.load(str(folder)).head == "mean-max"


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ConfigurationError, match="no model package 'defualt'") as caught:
        ModelPackage.load("defualt")
    assert all(name in str(caught.value) for name in packaged_names())


@pytest.mark.parametrize("name", ["model.toml", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ConfigurationError, match=name):
        ModelPackage.load(str(folder))


def test_changed_weights_are_refused_with_both_digests(folder):
    expected = ModelPackage.load(str(folder)).sha256
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=expected) as caught:
        ModelPackage.load(str(folder))
    assert "found: sha256" in str(caught.value)


def test_a_changed_recipe_is_refused(folder):
    path = folder / "model.toml"
    path.write_text(path.read_text().replace('"area"', '"nearest"'))
    with pytest.raises(ConfigurationError, match="not the model package that its digest names"):
        ModelPackage.load(str(folder))


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
    edit(folder, classes=["meteor", "satellite", "nothing"])
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
