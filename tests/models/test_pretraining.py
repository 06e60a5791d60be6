import pickle
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nightsift.archive.errors import ConfigurationError
from nightsift.models import pretraining
from nightsift.models.networks import build, untrained
from nightsift.models.package import save_package
from nightsift.models.pretraining import fashion_mnist, first_weights, imagenet
from nightsift.models.recipe import Recipe
from nightsift.models.settings import PretrainingConfig, StageConfig, TrainingConfig


def small_fashion_mnist(folder, count=40):
    """Files as torchvision unpacks them: a big-endian header, then bytes."""
    raw, rng = folder / "FashionMNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        images = rng.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        header = np.array([0x803, count, 28, 28], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            np.array([0x801, count], ">i4").tobytes() + labels.tobytes()
        )
    return folder


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(5)
    return untrained("resnet18")


@pytest.mark.parametrize("name", ["resnet.pth", "resnet.safetensors"])
def test_a_state_dict_of_torchvision_becomes_the_body(tmp_path, resnet, name):
    (save_file if name.endswith("s") else torch.save)(resnet.state_dict(), tmp_path / name)
    network = build("resnet18", 2)
    network.body.load_state_dict(imagenet("resnet18", tmp_path / name, tmp_path))
    assert torch.equal(network.body.stem[0].weight, resnet.conv1.weight)
    assert torch.equal(network.body.rest[2][1].bn2.running_var, resnet.layer4[1].bn2.running_var)


def test_weights_of_another_architecture_are_refused(tmp_path, resnet):
    torch.save(resnet.state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(ConfigurationError, match="does not hold torchvision's weights of resnet34"):
        imagenet("resnet34", tmp_path / "resnet.pth", tmp_path)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was run",))


@pytest.mark.parametrize("content", [pickle.dumps(Bomb()), b"nothing", b""])
def test_a_pickle_is_refused_and_never_run(tmp_path, content):
    (tmp_path / "resnet.pth").write_bytes(content)
    with pytest.raises(ConfigurationError, match="without running code"):
        imagenet("resnet18", tmp_path / "resnet.pth", tmp_path)


def test_a_whole_network_instead_of_a_state_dict_is_refused(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ConfigurationError, match="is not a state dict"):
        imagenet("resnet18", tmp_path / "list.pth", tmp_path)


def test_a_download_that_fails_names_the_file_and_the_mend(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", offline)
    with pytest.raises(ConfigurationError, match=r"resnet50-.*\.pth(.|\n)*\[pretraining\] path"):
        imagenet("resnet50", None, tmp_path)
    with pytest.raises(ConfigurationError, match=r"there is no Fashion-MNIST(.|\n)*\[pretraining\] path"):
        fashion_mnist(None, tmp_path)


def test_a_folder_without_fashion_mnist_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no Fashion-MNIST in"):
        fashion_mnist(tmp_path, tmp_path)


def first(config, cache):
    silent = TrainingConfig(precision="fp32")
    return first_weights(
        config, "resnet18", silent, Recipe(size_px=64), cache, lambda *_: None, torch.device("cpu")
    )


def test_fashion_mnist_trains_a_body_once(tmp_path, monkeypatch):
    config = PretrainingConfig(
        source="fashion-mnist",
        path=small_fashion_mnist(tmp_path),
        size_px=32,
        stage=StageConfig(steps=2, batch=8),
    )
    body = first(config, tmp_path / "cache")
    assert set(body) == set(build("resnet18", 2).body.state_dict())
    monkeypatch.setattr(pretraining, "fashion_mnist", pytest.fail)
    again = first(config, tmp_path / "cache")
    assert all(torch.equal(body[key], again[key]) for key in body)


def test_a_package_lends_its_body(tmp_path):
    network = build("resnet18", 3, "fastai").eval()
    save_package(
        tmp_path,
        network,
        name="lent",
        architecture="resnet18",
        head="fastai",
        classes=("meteor", "satellite", "nothing"),
        threshold=0.5,
        recipe=Recipe(),
        card="",
    )
    body = first(PretrainingConfig(source="package", path=tmp_path), tmp_path)
    assert torch.equal(body["stem.0.weight"], network.body.stem[0].weight.half().float())
    lent = PretrainingConfig(source="package", path=tmp_path)
    with pytest.raises(ConfigurationError, match="cannot lend its body"):
        pretraining.of_package(str(lent.path), "resnet34")


def test_no_first_weights_unless_asked(tmp_path):
    assert first(PretrainingConfig(), tmp_path) is None
