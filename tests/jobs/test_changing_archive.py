"""Frames that arrive late, are uploaded again, or vanish."""

import json
import shutil

import pandas as pd
import pytest

from tests.conftest import products, untrained
from tests.jobs.test_run import nightsift, run


@pytest.fixture(scope="module")
def processed_once(tmp_path_factory, simulated, package):
    """A copy of the archive, processed once."""
    folder = tmp_path_factory.mktemp("processed")
    shutil.copytree(simulated.archive, folder / "archive")
    config = folder / "nightsift.toml"
    config.write_text(
        f'[archive]\nurl = "archive"\nstations = "{simulated.folder}/stations.toml"\n'
        f'[workspace]\nurl = "workspace"\n[model]\npackage = "{package}"\n'
    )
    run(config, "--release", "before")
    return folder


@pytest.fixture
def processed(tmp_path, processed_once):
    """A private copy of all of it, to be changed."""
    shutil.copytree(processed_once, tmp_path / "copy")
    return tmp_path / "copy" / "nightsift.toml", tmp_path / "copy" / "archive"


def planned(config, *words):
    return json.loads(nightsift("plan", config, "--json", *words).stdout)


def stale(plan):
    return {stage: said["nights"] for stage, said in plan["stale"].items()}


NOTHING = {"frames": 0, "differences": 0, "scores": 0}
ONE_NIGHT = {"frames": 1, "differences": 1, "scores": 1}


def test_a_frame_that_arrives_late_makes_exactly_its_night_stale(processed):
    config, archive = processed
    path = sorted(archive.rglob("*.jpg"))[5]
    late = path.with_name(f"image-{int(path.stem.split('-')[1]) + 3}.jpg")
    shutil.copy(path, late)
    assert stale(planned(config)) == ONE_NIGHT
    run(config)
    assert stale(planned(config)) == NOTHING


def test_a_frame_uploaded_again_makes_exactly_its_night_stale(processed):
    config, archive = processed
    paths = sorted(archive.rglob("*.jpg"))
    paths[5].write_bytes(paths[6].read_bytes())
    assert stale(planned(config)) == ONE_NIGHT


def test_vanished_frames_hold_their_night_until_they_are_accepted(processed):
    config, archive = processed
    workspace = config.parent / "workspace"
    before = products(workspace)
    path = sorted(archive.rglob("*.jpg"))[5]
    path.unlink()

    plan = planned(config)
    assert stale(plan) == NOTHING
    (held,) = plan["vanished"]
    assert held["examples"] == [str(path.relative_to(archive))]
    assert "--accept-missing" in nightsift("plan", config).stdout
    assert run(config)["release"] == "before"
    assert products(workspace) == before

    assert stale(planned(config, "--accept-missing")) == ONE_NIGHT
    run(config, "--accept-missing", "--release", "after")
    kept = pd.read_parquet(workspace / "releases" / "after" / "frames")
    assert len(kept) == len(pd.read_parquet(workspace / "releases" / "before" / "frames")) - 1
    assert planned(config)["vanished"] == []


def test_a_night_that_vanished_stays_in_the_releases_until_that_is_accepted(processed):
    config, archive = processed
    workspace = config.parent / "workspace"
    night = sorted(path for path in archive.rglob("*") if path.is_dir())[-1]
    shutil.rmtree(night)
    (held,) = planned(config)["vanished"]
    assert held["frames"] >= 20
    assert run(config)["release"] == "before"
    run(config, "--accept-missing", "--release", "after")
    before, after = (
        pd.read_parquet(workspace / "releases" / name / "coverage") for name in ("before", "after")
    )
    assert len(after) == len(before) - 1
    assert run(config)["release"] == "after"  # accepted once, for good


def test_accepting_the_loss_at_one_station_leaves_the_others_held(processed):
    config, archive = processed
    paths = sorted(archive.rglob("*.jpg"))
    for path in (paths[5], paths[-5]):
        path.unlink()
    run(config, "--station", "SIM001", "--accept-missing")
    (held,) = planned(config)["vanished"]
    assert held["unit"].startswith("SIM002")


def test_new_files_of_a_held_night_are_told(processed):
    config, archive = processed
    path = sorted(archive.rglob("*.jpg"))[5]
    path.rename(path.with_name(f"image-{int(path.stem.split('-')[1]) + 3}.jpg"))
    (held,) = planned(config)["vanished"]
    assert (held["frames"], held["waiting"]) == (1, 1)


def test_what_vanished_is_still_known_after_a_run_that_was_lost(processed):
    config, archive = processed
    workspace = config.parent / "workspace"
    for receipt in (workspace / "receipts" / "frames").rglob("*.json"):
        receipt.unlink()  # as a run leaves it that was killed while it made the frames anew
    sorted(archive.rglob("*.jpg"))[5].unlink()
    (held,) = planned(config)["vanished"]
    assert held["blocked"]


def test_a_damaged_memory_of_the_archive_is_named(processed):
    config, archive = processed
    sorted(archive.rglob("*.jpg"))[5].unlink()
    for path in (config.parent / "workspace" / "receipts" / "objects").rglob("*.gz"):
        path.write_bytes(b"damaged")
    said = nightsift("plan", config, code=1).stderr
    assert "receipts/objects/" in said
    assert "is damaged" in said


def test_a_new_model_scores_a_night_whose_files_vanished(processed, package, tmp_path):
    config, archive = processed
    shutil.rmtree(sorted(path for path in archive.rglob("*") if path.is_dir())[-1])
    other = untrained(tmp_path / "other", seed=1)
    config.write_text(config.read_text().replace(str(package), str(other)))
    assert stale(planned(config)) == {"frames": 0, "differences": 0, "scores": 4}
    assert run(config)["failures"] == []


def test_what_cannot_be_made_anew_for_want_of_its_files_is_left_as_it_is(processed):
    config, archive = processed
    workspace = config.parent / "workspace"
    frames = {key: data for key, data in products(workspace).items() if key.startswith("frames/")}
    sorted(archive.rglob("*.jpg"))[5].unlink()
    config.write_text(config.read_text() + '[frames]\nkeep_frames = "zstd"\n')
    said = run(config, code=1)
    (held,) = said["vanished"]
    assert held["blocked"]
    after = products(workspace)
    station, night = held["unit"].split("/")
    kept = {key: data for key, data in frames.items() if key.startswith(f"frames/{station}/{night}")}
    assert kept
    assert all(after[key] == data for key, data in kept.items())
