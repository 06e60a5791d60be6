"""The examples of the documentation, run as they stand."""

import doctest
import os
import shutil
from pathlib import Path

import matplotlib
import pytest
import torch
import xarray as xr
from torchvision.models import resnet18

from tests.conftest import ROOT
from tests.jobs.test_run import run
from tests.jobs.typed import typed
from tests.servers.web import serve


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


@pytest.mark.filterwarnings("ignore:Numcodecs codecs", "ignore:Consolidated metadata")
@pytest.mark.parametrize("keep", ['"jpeg"', '"zstd"', "false"])
def test_a_bucket_of_products_opens_with_xarray_alone(configure, simulated, bucket, keep):
    """With named dimensions, decoded UTC times, units and CF attributes."""
    products = bucket("products")
    config = configure(workspace=products.url, extra=f"[frames]\nkeep_frames = {keep}\n")
    run(config, "--stage", "differences", "--station", "SIM001")
    endpoint = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}
    frames, differences = (
        xr.open_zarr(f"{products.url}/{product}/SIM001/2021-10-30.zarr", storage_options=endpoint)
        for product in ("frames", "differences")
    )
    assert ("frame" in frames) == (keep != "false")
    for opened in (frames, differences):
        assert opened.attrs["Conventions"] == "CF-1.11"
        assert opened["time"].dtype.kind == "M"
        assert opened["time"].to_index().is_monotonic_increasing
        assert opened["exposure_s"].attrs["units"] == "s"
        assert all(variable.attrs.get("long_name") for variable in opened.variables.values())
    risen = differences["difference"].isel(time=differences["usable"].values)
    assert risen.dims == ("time", "y", "x")
    assert 0 < float(risen.mean()) < 0.5


def test_the_commands_of_the_page_on_packages(package, tmp_path, monkeypatch):
    shutil.copytree(package, tmp_path / "mine")
    torch.save(resnet18(num_classes=2).state_dict(), tmp_path / "theirs.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTSIFT_CACHE", "cache")
    lines = (ROOT / "docs" / "packages.md").read_text(encoding="utf-8").splitlines()
    commands = [line.removeprefix("$ nightsift ") for line in lines if line.startswith("$ nightsift ")]
    assert len(commands) > 6
    with serve(tmp_path) as web:
        for command in commands:
            assert typed(*command.replace("https://models.example.org", web.url).split())
