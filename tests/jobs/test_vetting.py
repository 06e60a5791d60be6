"""Kinds and speeds of candidates, as an analyst finds them in a release."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nightsift.archive.differences import DifferenceSettings
from nightsift.archive.frames import FrameSettings, ingest_night
from nightsift.archive.night_store import NightStore, differences_path
from nightsift.archive.receipts import write_objects
from nightsift.jobs.second_look import SecondLook
from nightsift.models.vetting.package import KINDS, VettingPackage
from tests.archive.formats.makers import ff_file
from tests.archive.one_night import write_night
from tests.archive.test_timemaps import BEGIN, SPEED_PX, place, stacked
from tests.jobs.test_run import nightsift, run

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs", "ignore:Consolidated metadata")


def catalogue(workspace, release):
    return pd.read_parquet(workspace / "releases" / release / "candidates").set_index("candidate_id")


def test_candidates_have_their_kind_whether_frames_are_kept_or_not(configure, one_night, tmp_path):
    kept = configure(archive=one_night, workspace="kept")
    found = catalogue(tmp_path / "kept", run(kept)["release"])
    located = found["x_px"].notna()
    assert located.any()
    assert (found["kind"].notna() == located).all()
    assert set(found["kind"].dropna()) <= set(KINDS)
    assert found["kind_score"].dropna().between(1 / len(KINDS), 1).all()

    not_kept = configure(archive=one_night, workspace="not", extra="[frames]\nkeep_frames = false\n")
    again = catalogue(tmp_path / "not", run(not_kept)["release"])
    pd.testing.assert_frame_equal(found[["kind", "kind_score"]], again[["kind", "kind_score"]])


def test_another_vetting_makes_the_scores_stale_and_none_leaves_kinds_null(configure, one_night, tmp_path):
    first = run(configure(archive=one_night))
    release = json.loads((tmp_path / "workspace/releases" / first["release"] / "release.json").read_text())
    assert release["parameters"]["vetting"]["model_sha256"] == VettingPackage.load().sha256
    config = configure(archive=one_night, extra="vetting = false\n")
    plan = json.loads(nightsift("plan", config, "--json").stdout)
    assert {stage: stale["nights"] for stage, stale in plan["stale"].items()} == {
        "frames": 0,
        "differences": 0,
        "scores": 1,
    }
    found = catalogue(tmp_path / "workspace", run(config)["release"])
    assert found["kind"].isna().all()
    assert found["kind_score"].isna().all()
    before = catalogue(tmp_path / "workspace", first["release"])
    assert (before["lineage"] != found["lineage"]).all()


def test_a_first_model_does_not_vet(configure, package):
    said = nightsift("plan", configure(extra=f'vetting = "{package}"\n'), code=3).stderr
    assert "is not a vetting package" in said
    said = nightsift("plan", configure(extra='vetting = "nobody"\n'), code=3).stderr
    assert "nobody" in said


@pytest.fixture
def ff_night(tmp_path):
    """Three FF files of an RMS camera, a meteor in the second."""
    maximum, timemap = stacked(np.random.default_rng(7))
    quiet = [ff_file(*stacked(np.random.default_rng(seed), shown=())) for seed in (8, 9)]
    files = {"1.fits": quiet[0], "2.fits": ff_file(maximum, timemap), "3.fits": quiet[1]}
    return write_night(tmp_path, files, layout="rms")


@pytest.mark.parametrize("keep", ["zstd", False])
def test_a_meteor_of_an_ff_night_has_its_speed_and_direction(ff_night, keep):
    ingest_night(ff_night, FrameSettings(keep), DifferenceSettings(max_sun_altitude_deg=90))
    write_objects(ff_night.workspace, ff_night.unit, ff_night.refs)
    group = NightStore(ff_night.workspace, differences_path(ff_night.unit)).open()
    series = {name: group[name][:] for name in ("time", "exposure_s", "key")}
    (x1, y1), (x0, y0) = BEGIN, place(124)  # the fit puts the smaller x first, or any other
    trail = {"x_begin_px": x0, "y_begin_px": y0, "x_end_px": x1, "y_end_px": y1}
    row = {"score_meteor": 0.9, "x_px": 130.0, "y_px": 87.0, "length_px": 190.0, **trail}
    rows = [{"score_meteor": None}, row, {"score_meteor": 0.9, "x_px": None}]
    look = SecondLook(*_places(ff_night), VettingPackage.load())
    assert look.complete(rows, series) == 1
    assert row["speed_px_s"] == pytest.approx(25 * np.hypot(*SPEED_PX), rel=0.02)
    assert (row["x_begin_px"], row["y_begin_px"]) == BEGIN
    assert row["kind"] in KINDS
    assert sum(row[f"kind_score_{kind}"] for kind in KINDS) == pytest.approx(1)
    assert not {"kind", "speed_px_s"} & (rows[0].keys() | rows[2].keys())

    alone = {**row, **trail}
    del alone["speed_px_s"]
    assert replace(look, package=None).complete([{}, alone, {}], series) == 0
    assert alone["speed_px_s"] == row["speed_px_s"]


def test_a_frame_that_the_archive_lost_leaves_its_row_without_a_kind(ff_night, tmp_path):
    ingest_night(ff_night, FrameSettings(False), DifferenceSettings(max_sun_altitude_deg=90))
    write_objects(ff_night.workspace, ff_night.unit, ff_night.refs)
    group = NightStore(ff_night.workspace, differences_path(ff_night.unit)).open()
    series = {name: group[name][:] for name in ("time", "exposure_s", "key")}
    (tmp_path / "archive" / "2.fits").unlink()
    rows = [
        {},
        {"score_meteor": 0.9, "x_px": 90.0, "y_px": 80.0},
        {"score_meteor": 0.9, "x_px": 5, "y_px": 5},
    ]
    assert SecondLook(*_places(ff_night), VettingPackage.load()).complete(rows, series) == 1
    assert "kind" not in rows[1]
    assert rows[2]["kind"] in KINDS


def _places(night):
    return night.archive, night.workspace, night.station, night.unit


TRAIN = """
[model]
kind = "vetting"
name = "tiny"
[data]
seed = 5
stations = 2
validation_share = 0.5
test_seed = 6
test_stations = 1
runs = 3
frames = 6
small = true
[training]
steps = 4
batch = 8
few_shot_steps = 2
"""


def test_a_vetting_model_is_trained_and_fine_tuned_with_verdicts(configure, one_night, tmp_path):
    (tmp_path / "TRAIN.toml").write_text(TRAIN)
    config = configure(archive=one_night)
    found = catalogue(tmp_path / "workspace", run(config)["release"])
    located = found[found["x_px"].notna()].index
    verdicts = pd.DataFrame({"candidate_id": located, "verdict": "no-meteor"})
    verdicts.loc[:2, "verdict"] = "satellite"
    verdicts.to_csv(tmp_path / "verdicts.csv", index=False)
    train = ("model", "train", tmp_path / "TRAIN.toml", "--output", tmp_path / "vet", "--few-shot", 2)
    assert "three options" in nightsift(*train, code=2).stderr
    nightsift(*train, "--config", config, "--verdicts", tmp_path / "verdicts.csv")
    card = (tmp_path / "vet" / "README.md").read_text()
    assert "0 meteor, 2 satellite, 0 aircraft, 2 other" in card
    again = configure(archive=one_night, extra='vetting = "vet"\n')
    assert catalogue(tmp_path / "workspace", run(again)["release"])["kind"].notna().any()
