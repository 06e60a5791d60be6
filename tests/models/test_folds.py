import numpy as np
import pandas as pd
import pytest

from nightsift.archive.errors import ConfigurationError
from nightsift.models.folds import fold_figures, split_folds, summary
from tests.models.strokes import strokes

CLASSES = ("meteor", "nothing")


def test_folds_are_stratified_and_keep_station_nights_whole():
    samples = strokes(400, 32, seed=1, meteors=0.25, nights=40)
    folds = split_folds(samples, CLASSES, 10)
    assert np.array_equal(np.sort(np.concatenate(folds)), np.arange(400))
    nights = [set(samples.frames.loc[rows, "night"]) for rows in folds]
    assert sum(map(len, nights)) == len(set.union(*nights)) == 40
    shares = [(samples.labels(CLASSES)[rows] == 0).mean() for rows in folds]
    assert max(shares) < 0.35
    assert min(shares) > 0.15


def test_folds_by_image_are_exactly_stratified():
    samples = strokes(80, 32, meteors=0.25, nights=2)
    folds = split_folds(samples, CLASSES, 10, "image")
    assert {(samples.labels(CLASSES)[rows] == 0).sum() for rows in folds} == {2}
    assert {len(rows) for rows in folds} == {8}


def test_an_empty_fold_is_refused_by_number():
    with pytest.raises(ConfigurationError, match="fold 4 of 10 has 0 meteors and 0 other samples"):
        split_folds(strokes(nights=3), CLASSES, 10)
    with pytest.raises(ConfigurationError, match=r"fold 2 of 8 has 0 meteors and \d other samples") as caught:
        split_folds(strokes(24, meteors=1 / 24), CLASSES, 8, "image")
    assert "lower [training] folds" in str(caught.value)


def test_figures_of_a_known_fold():
    labels = np.array([0, 0, 1, 1, -1])
    meteor = np.array([0.9, 0.2, 0.8, 0.1, 0.5])
    found = fold_figures(labels, np.stack([meteor, 1 - meteor], 1), CLASSES)
    half = dict.fromkeys(("accuracy", "precision", "recall", "f1"), 0.5)
    assert found == {**half, "average_precision": pytest.approx((1 + 2 / 3) / 2)}


def test_the_report_states_mean_and_deviation():
    assert "| recall | 0.800 ± 0.141 |" in summary(pd.DataFrame({"recall": [0.7, 0.9]}))
