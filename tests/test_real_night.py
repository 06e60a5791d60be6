"""The real night of station UK0006: 300 stacks of 51 s with a gap of hours, from a folder and from S3."""

import pandas as pd
import pytest

from tests.conftest import products
from tests.jobs.test_run import run

STATIONS = """
[[station]]
id = "UK0006"
network = "UKMON"
latitude_deg = 51.9
longitude_deg = -1.3
height_msl_m = 80.0
timezone = "UTC"
layout = "allsky"
cadence_s = 51
exposure_s = 51
"""


@pytest.fixture
def real(shared, configure, tmp_path):
    (tmp_path / "real.toml").write_text(STATIONS)

    def configured(**places):
        return configure(
            **{"archive": shared / "nights", "stations": "real.toml", "model": "default", **places}
        )

    return configured


def test_a_folder_and_a_bucket_give_the_same_catalogue_byte_for_byte(real, bucket, shared, tmp_path):
    run(real(), "--release", "night")
    night, store = bucket("night"), bucket("products")
    night.upload(shared / "nights")
    run(real(archive=night.url, workspace=f"{store.url}/here"), "--release", "night", cluster="local")
    local = {k: v for k, v in products(tmp_path / "workspace").items() if k.startswith("releases/")}
    assert local == {k: v for k, v in products(f"{store.url}/here").items() if k.startswith("releases/")}
    assert any(key.endswith(".parquet") for key in local)


def test_every_frame_is_in_the_ledger_and_no_pair_spans_the_gap(real, tmp_path, shared):
    said = run(real())
    release = tmp_path / "workspace/releases" / said["release"]
    frames = pd.read_parquet(release / "frames")
    names = sorted(path.name for path in (shared / "nights/UK0006/20220914").glob("*.jpg"))
    assert sorted(frames["frame_key"].str.rsplit("/").str[-1]) == names
    assert frames["gap_s"][frames["score"].notna()].max() < 120
    assert frames["reason"].value_counts().to_dict() == {"first": 1, "gap": 1}
    (coverage,) = pd.read_parquet(release / "coverage").to_dict("records")
    assert coverage["frames_present"] == 300
    assert coverage["pairs_scored"] == 298
    assert coverage["live_time_s"] == 298 * 51
    assert coverage["frames_expected"] > 600
