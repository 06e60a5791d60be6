import numpy as np
import pytest
import torch

from nightsift.models.classify import Classifier
from nightsift.models.networks import build
from nightsift.models.package import save_package
from nightsift.models.recipe import Recipe

CLASSES = ("nothing", "meteor", "satellite")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    torch.manual_seed(4)
    network = build("resnet18", len(CLASSES))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    return save_package(
        tmp_path_factory.mktemp("package"),
        network,
        name="untrained",
        architecture="resnet18",
        classes=CLASSES,
        threshold=0.5,
        recipe=Recipe(size_px=96, pad="square"),
        card="",
    )


@pytest.fixture(scope="module")
def differences():
    rng = np.random.default_rng(8)
    return rng.random((23, 120, 160)) < rng.uniform(0.001, 0.2, (23, 1, 1))


def rows(scores):
    return np.column_stack([scores.score, scores.x_px, scores.y_px, scores.region])


def test_scores_are_bit_identical_however_they_are_batched(package, differences):
    together = rows(Classifier(package, "cpu", batch=8).classify(differences))
    apart = rows(Classifier(package, "cpu", batch=8).classify(differences[5:12]))
    shuffled = np.random.default_rng(9).permutation(len(differences))
    mixed = rows(Classifier(package, "cpu", batch=8).classify(differences[shuffled]))
    assert together[5:12].tobytes() == apart.tobytes()
    assert together[shuffled].tobytes() == mixed.tobytes()


def test_scores_have_the_stated_shapes_and_ranges(package, differences):
    scores = Classifier(package, "cpu").classify(differences)
    assert scores.classes == CLASSES
    assert scores.score.shape == (23, 3)
    assert np.allclose(scores.score.sum(1), 1, atol=1e-6)
    assert np.array_equal(scores.meteor, scores.score[:, 1])
    assert scores.region.shape == (23, 4)
    assert {a.dtype for a in (scores.score, scores.x_px, scores.y_px, scores.region)} == {np.dtype("f4")}
    seen = np.isfinite(scores.x_px)
    assert np.array_equal(seen, np.isfinite(scores.region).all(1))
    x0, y0, x1, y1 = scores.region[seen].T
    assert ((x0 <= scores.x_px[seen]) & (scores.x_px[seen] <= x1)).all()
    assert ((y0 <= scores.y_px[seen]) & (scores.y_px[seen] <= y1)).all()


def test_heat_map_covers_the_frame_and_agrees_with_the_region(package, differences):
    classifier = Classifier(package, "cpu", batch=5)
    heat, scores = classifier.heat_map(differences), classifier.classify(differences)
    assert heat.shape == differences.shape
    assert (heat >= 0).all()
    assert np.array_equal(heat.max((1, 2)) > 0, np.isfinite(scores.x_px))


def test_nothing_to_classify(package):
    classifier = Classifier(package, "cpu")
    none = np.zeros((0, 120, 160), bool)
    assert classifier.classify(none).score.shape == (0, 3)
    assert classifier.heat_map(none).shape == (0, 120, 160)
