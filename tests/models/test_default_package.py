"""The model that comes with Nightsift, on simulated stations of a seed that it never saw."""

from datetime import date
from itertools import pairwise

import numpy as np
import pytest

from nightsift.archive.differences import difference
from nightsift.archive.formats.jpeg import decode_gray
from nightsift.archive.simulator import Rates, SimulatedNight, draw_station, encode_frame
from nightsift.models.classify import Classifier
from nightsift.models.package import ModelPackage, packaged_names
from nightsift.models.samples import AIRCRAFT, SATELLITE
from nightsift.models.streaks import rise_in_noise

SEED = 31


@pytest.fixture(scope="module")
def package():
    return ModelPackage.load("default")


def test_default_is_packaged(package):
    assert "default" in packaged_names()
    assert package.name == "default"
    assert package.architecture == "streaks"
    assert sum(path.stat().st_size for path in package.folder.iterdir()) < 45e6
    assert (package.folder / "README.md").read_text().count("|") > 50


@pytest.fixture(scope="module")
def scored(package):
    """Score of each difference of a simulated clear camera and the brightest meteor in it, or None."""
    simulated = draw_station(0, SEED)
    night = SimulatedNight(simulated, date(2021, 12, 4), 900, SEED, Rates(1.5, 0.0, 0.0, 0.0, 0.0))
    middle = len(night.starts_utc) // 2
    frames = [night.render(index) for index in range(middle, middle + 30)]
    gray = [decode_gray(encode_frame(image)) for image, _ in frames]
    risen = np.stack([difference(now, before, 3.5) for before, now in pairwise(gray)])
    rises = np.stack([rise_in_noise(now, before) for before, now in pairwise(gray)])
    return Classifier(package, "cpu").classify(risen, rises).meteor, [objects for _, objects in frames[1:]]


def test_bright_meteors_score_well_above_empty_frames(scored):
    score, objects = scored
    bright = [any(o.snr > 15 and o.length_px > 25 for o in seen) for seen in objects]
    empty = [not any(o.kind not in (SATELLITE, AIRCRAFT) for o in seen) for seen in objects]
    assert sum(bright) >= 3
    assert sum(empty) >= 3
    assert np.median(score[bright]) > np.median(score[empty]) + 0.3


def test_any_size_and_any_threshold_are_read(package):
    assert package.recipe.threshold == "any"
    classifier = Classifier(package, "cpu")
    for shape in ((180, 320), (1800, 3000)):
        scores = classifier.classify(np.zeros((1, *shape), bool))
        assert scores.meteor[0] < package.threshold
        assert np.isnan(scores.x_px[0])
