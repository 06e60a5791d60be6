import numpy as np
import pandas as pd
import pytest

from nightsift.archive.errors import ConfigurationError
from nightsift.models import rates as finder
from nightsift.models.fit import fit, search_rate
from nightsift.models.rates import _steepest
from tests.models.strokes import strokes
from tests.models.test_fit import WHOLE, config


def test_the_suggestion_is_where_the_loss_falls_most_steeply():
    rates = np.logspace(-6, 0, 61)
    loss = 1 / (1 + np.exp(4 * (np.log10(rates) + 3))) + 10 * np.maximum(np.log10(rates) + 1, 0)
    curve = pd.DataFrame({"learning_rate": rates, "smooth_loss": loss, "loss": loss})
    assert _steepest(curve) == pytest.approx(1e-3, rel=0.3)


def test_a_loss_that_never_falls_suggests_nothing():
    rates = np.logspace(-6, 0, 20)
    curve = pd.DataFrame({"learning_rate": rates, "smooth_loss": rates, "loss": rates})
    with pytest.raises(ConfigurationError, match="no learning rate between 1e-6 and 1"):
        _steepest(curve)


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(finder, "_STEPS", 25)


def test_a_found_rate_comes_with_its_plot_and_lies_in_the_range(tmp_path, few_steps):
    found = search_rate(config(WHOLE + "whole = { steps = 5, batch = 8 }"), strokes(side=32, seed=1))
    assert 1e-6 < found.learning_rate < 1
    found.save(tmp_path)
    assert (tmp_path / "rate.png").stat().st_size > 5000
    assert len(pd.read_csv(tmp_path / "rate.csv")) == len(found.curve)


def test_a_stage_can_ask_for_its_rate(few_steps):
    seen = []
    asked = config(WHOLE + 'whole = { steps = 2, batch = 8, learning_rate = "find" }')
    fitted = fit(asked, strokes(side=32, seed=1), strokes(side=32, seed=2), on_rate=seen.append)
    (found,) = seen
    assert fitted.history["learning_rate"].unique().tolist() == [found.learning_rate]
