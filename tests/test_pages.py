"""The examples of the documentation, run as they stand."""

import doctest
from pathlib import Path

import matplotlib
import pytest

from tests.conftest import ROOT
from tests.jobs.test_run import run


@pytest.mark.filterwarnings("ignore:Numcodecs codecs", "ignore:Consolidated metadata")
def test_reading_frames_and_differences(configure, simulated, monkeypatch):
    config = configure()
    run(config, "--stage", "differences", "--station", "SIM001")
    monkeypatch.chdir(config.parent)
    matplotlib.use("Agg")
    result = doctest.testfile(str(ROOT / "docs" / "products.md"), module_relative=False)
    assert result.attempted > 10
    assert result.failed == 0
    assert Path("busiest.png").stat().st_size > 10_000
