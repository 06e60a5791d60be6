"""Weights of other programs give the scores that they gave there; so does what is exported."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18, resnet34

from nightsift.archive.errors import ConfigurationError
from nightsift.models.classify import Classifier
from nightsift.models.convert import import_weights, read_state
from nightsift.models.networks import normalise
from nightsift.models.recipe import RECIPES
from nightsift.models.verify import draw_differences

HALF_PRECISION = 2e-3  # of a score
RECIPE = RECIPES["regordosa-v4"]
CLASSES = ("meteor", "nothing")


class ConcatPool(nn.Module):
    """Maxima, then means, as fastai's AdaptiveConcatPool2d has them."""

    def forward(self, maps):
        return torch.cat([maps.amax((2, 3), keepdim=True), maps.mean((2, 3), keepdim=True)], 1)


def fastai(resnet):
    """The model of a fastai 2 learner: a ResNet without its last two modules, and fastai's head."""
    head = nn.Sequential(
        ConcatPool(),
        nn.Flatten(),
        nn.BatchNorm1d(1024),
        nn.Dropout(0.25),
        nn.Linear(1024, 512, bias=False),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(512),
        nn.Dropout(0.5),
        nn.Linear(512, len(CLASSES), bias=False),
    )
    return nn.Sequential(nn.Sequential(*list(resnet.children())[:-2]), head)


def lived(model):
    """The model with statistics in its normalisations, as after training."""
    torch.manual_seed(1)
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 64, 64))
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm1d):
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.normal_(norm.bias)
    return model.eval()


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return {
        "average": lived(resnet34(num_classes=len(CLASSES))),
        "fastai": lived(fastai(resnet18())),
    }


def settings(architecture, classes=CLASSES):
    return {"name": "foreign", "architecture": architecture, "classes": classes, "recipe": RECIPE}


def scores_there(model, images):
    with torch.inference_mode():
        gray = torch.from_numpy(images)[:, None].float() / 255
        return model(normalise(gray, RECIPE)).softmax(1).numpy()


@pytest.mark.parametrize(("head", "architecture"), [("average", "resnet34"), ("fastai", "resnet18")])
def test_what_is_imported_gives_the_scores_that_it_gave(tmp_path, models, head, architecture):
    torch.save(models[head].state_dict(), tmp_path / "weights")
    package = import_weights(tmp_path / "weights", tmp_path / "package", settings(architecture))
    assert package.head == head
    images = np.stack([RECIPE.resize(risen) for risen in draw_differences()])
    expected = scores_there(models[head], images)
    found = Classifier(package, "cpu", batch=len(images)).classify_inputs(images)[:, : len(CLASSES)]
    assert np.ptp(expected) > 50 * HALF_PRECISION
    np.testing.assert_allclose(found, expected, atol=HALF_PRECISION)


@pytest.mark.parametrize("wrapped", ["model", "state_dict", "safetensors"])
def test_however_they_are_wrapped_the_tensors_are_read(tmp_path, wrapped):
    state, path = nn.Linear(3, 2).state_dict(), tmp_path / "weights"
    if wrapped == "safetensors":
        save_file(state, path)
    else:
        torch.save({wrapped: state, "epoch": 3}, path)
    found = read_state(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_the_card_names_what_was_imported(tmp_path, models):
    torch.save(models["fastai"].state_dict(), tmp_path / "theirs.pth")
    package = import_weights(tmp_path / "theirs.pth", tmp_path / "package", settings("resnet18"))
    card = (package.folder / "README.md").read_text()
    assert "theirs.pth" in card
    assert "`meteor`, `nothing`" in card


@pytest.mark.parametrize("named", [("resnet18",), ("resnet34", ("meteor", "satellite", "nothing"))])
def test_weights_that_do_not_fit_are_refused(tmp_path, models, named):
    torch.save(models["average"].state_dict(), tmp_path / "weights")
    with pytest.raises(ConfigurationError, match="does not fit"):
        import_weights(tmp_path / "weights", tmp_path / "package", settings(*named))
    assert not (tmp_path / "package").exists()


class Bomb:
    """A pickle that makes a file when it is run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("wrap", [lambda bomb: bomb, lambda bomb: {"model": bomb}, lambda bomb: [bomb]])
def test_what_would_run_is_refused_and_not_run(tmp_path, wrap):
    torch.save(wrap(Bomb(tmp_path / "made")), tmp_path / "weights")
    with pytest.raises(ConfigurationError, match="nothing in it was run"):
        read_state(tmp_path / "weights")
    assert not (tmp_path / "made").exists()
    torch.load(tmp_path / "weights", weights_only=False)
    assert (tmp_path / "made").exists()


def test_a_whole_model_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "weights")
    with pytest.raises(ConfigurationError, match="no plain state dict"):
        read_state(tmp_path / "weights")


@pytest.mark.parametrize(
    "held", [{}, {"epoch": 3}, {"weight": [1.0]}, [torch.zeros(2)], torch.zeros(2)], ids=repr
)
def test_what_is_no_state_dict_is_refused(tmp_path, held):
    torch.save(held, tmp_path / "weights")
    with pytest.raises(ConfigurationError, match="no plain state dict"):
        read_state(tmp_path / "weights")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x02.", b"a text\n"])
def test_damaged_files_are_refused(tmp_path, data):
    (tmp_path / "weights").write_bytes(data)
    with pytest.raises(ConfigurationError, match="no plain state dict"):
        read_state(tmp_path / "weights")


def test_unknown_names_are_shown(tmp_path):
    torch.save({"encoder.weight": torch.zeros(2)}, tmp_path / "weights")
    with pytest.raises(ConfigurationError, match=r"found: encoder\.weight"):
        import_weights(tmp_path / "weights", tmp_path / "package", settings("resnet18"))
