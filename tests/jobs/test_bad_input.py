"""What users do wrong, and what goes wrong under them: the exit code, and a message with a mend."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.jobs.test_run import nightsift, run

CONFIGURATION, STORAGE = 3, 4


def refusal(*words: object, code: int, **environment: str) -> str:
    said = nightsift(*words, code=code, **environment).stderr
    assert "Traceback" not in said
    assert "mend: " in said
    return said


def ledger(config: Path, said: dict) -> pd.DataFrame:
    return pd.read_parquet(config.parent / "workspace/releases" / said["release"] / "frames")


def test_unknown_keys_get_the_nearest_known_one_all_at_once(configure):
    said = refusal("run", configure(extra='treshold = 0.5\n[workspaces]\nurl = "x"\n'), code=CONFIGURATION)
    assert "2 faults" in said
    assert "model.treshold: did you mean 'threshold'?" in said
    assert "workspaces: did you mean 'workspace'?" in said


def test_a_configuration_that_is_not_there(tmp_path):
    assert "cannot be read" in refusal("run", tmp_path / "nowhere.toml", code=CONFIGURATION)


def test_secrets_in_the_configuration_are_refused_and_not_repeated(configure):
    config = configure(extra='[archive.storage_options]\nsecret = "hunter2"\n')
    said = refusal("plan", config, code=CONFIGURATION)
    assert "AWS_SECRET_ACCESS_KEY" in said
    assert "hunter2" not in said


def test_an_unknown_model_names_the_known_ones(configure):
    said = refusal("run", configure(model="defualt"), code=CONFIGURATION)
    assert "there is no model package 'defualt'" in said
    assert "default" in said


def test_a_model_made_for_other_differences_is_refused_by_name(configure):
    said = refusal("run", configure(extra="[difference]\nthreshold = 5\n"), code=CONFIGURATION)
    assert "model package 'untrained' does not fit" in said


def test_an_unknown_option_or_stage_is_a_usage_error(configure):
    nightsift("run", configure(), "--stage", "everything", code=2)
    nightsift("run", configure(), "--from", "yesterday", code=2)
    nightsift("audit", code=2)


def test_a_station_or_date_without_frames_is_a_usage_error(configure):
    said = refusal("run", configure(), "--station", "SIM009", code=2)
    assert "a station of SIM001, SIM002" in said


def test_a_station_missing_from_the_stations_file(configure, tmp_path, simulated):
    text = (simulated.folder / "stations.toml").read_text().replace("SIM002", "SIM003")
    (tmp_path / "stations.toml").write_text(text)
    said = refusal("run", configure(stations="stations.toml"), code=CONFIGURATION)
    assert "station 'SIM002' is not described in" in said
    assert 'add a [[station]] with id = "SIM002"' in said


def test_an_empty_folder(configure, tmp_path):
    (tmp_path / "empty").mkdir()
    said = refusal("run", configure(archive="empty"), code=CONFIGURATION)
    assert "no object at all" in said


def test_a_folder_that_is_not_there(configure):
    assert "there is nothing at this url" in refusal("run", configure(archive="nowhere"), code=STORAGE)


def test_a_folder_where_nothing_matches_shows_what_is_there(configure, simulated):
    said = refusal("plan", configure(archive=simulated.archive / "SIM001"), code=CONFIGURATION)
    assert "STATION/[images/]YYYYMMDD/image-YYYYMMDDHHMMSS.jpg" in said
    assert "should [archive] url be one folder higher?" in said


def test_an_empty_bucket(configure, bucket):
    said = refusal("run", configure(archive=bucket("empty").url), code=CONFIGURATION)
    assert "no object at all" in said


def test_a_bucket_that_is_not_there(configure, bucket):
    bucket("other")
    assert "s3://nowhere" in refusal("run", configure(archive="s3://nowhere"), code=STORAGE)
    said = refusal("run", configure(workspace="s3://nowhere/here"), code=STORAGE)
    assert "there is no such bucket" in said


@pytest.mark.parametrize("which", ["archive", "workspace"])
def test_wrong_credentials(configure, bucket, which):
    config = configure(**{which: bucket("closed").url})
    said = refusal("run", config, code=STORAGE, AWS_SECRET_ACCESS_KEY="wrong")
    assert "refuses these credentials" in said
    assert "AWS_ACCESS_KEY_ID" in said


@pytest.mark.parametrize("which", ["archive", "workspace"])
def test_an_endpoint_that_is_down(configure, bucket, which):
    bucket("other")
    options = f'[{which}.storage_options]\nendpoint_url = "http://127.0.0.1:9"\n'
    said = refusal("run", configure(**{which: "s3://any"}, extra=options), code=STORAGE)
    assert "cannot be reached" in said
    assert "endpoint_url" in said


def damaged(configure, archive: Path) -> tuple[Path, pd.DataFrame]:
    config = configure(archive=archive)
    said = run(config, "--station", "SIM001")
    return config, ledger(config, said).set_index("frame_key")


def test_zero_bytes_truncation_and_another_size_in_mid_night(configure, one_night):
    files = sorted(one_night.rglob("*.jpg"))
    names = [str(file.relative_to(one_night)) for file in files]
    files[8].write_bytes(b"")
    files[10].write_bytes(files[9].read_bytes()[:-2000])
    small = np.zeros((48, 64), np.uint8)
    cv2.imwrite(str(files[12]), small)
    _, frames = damaged(configure, one_night)
    assert frames.loc[names[8], "reason"] == "corrupt"
    assert "empty" in frames.loc[names[8], "detail"]
    assert frames.loc[names[10], "reason"] == "corrupt"
    assert "JPEG" in frames.loc[names[10], "detail"]
    assert frames.loc[names[12], "reason"] == "wrong-size"
    assert "found 64 x 48 px" in frames.loc[names[12], "detail"]
    assert sorted(frames.index) == names
    assert frames["score"].notna().sum() >= len(names) - 10


def test_a_first_frame_of_another_size_does_not_cost_the_night(configure, one_night):
    first = min(one_night.rglob("*.jpg"))
    cv2.imwrite(str(first), np.zeros((48, 64), np.uint8))
    _, frames = damaged(configure, one_night)
    assert (frames["reason"] == "wrong-size").sum() == 1


def test_two_frames_of_the_same_second(configure, one_night):
    first = min(one_night.rglob("*.jpg"))
    other = one_night / "SIM001" / "images" / first.parent.name / first.name
    other.parent.mkdir(parents=True)
    shutil.copy(first, other)
    _, frames = damaged(configure, one_night)
    assert list(frames.index[frames["reason"] == "duplicate-time"]) == [str(other.relative_to(one_night))]


def test_a_night_with_one_frame(configure, one_night):
    for file in sorted(one_night.rglob("*.jpg"))[1:]:
        file.unlink()
    _, frames = damaged(configure, one_night)
    assert list(frames["reason"]) == ["first"]


def test_a_night_of_which_no_frame_can_be_used(configure, one_night):
    for file in one_night.rglob("*.jpg"):
        file.write_bytes(b"\xff\xd8 no picture")
    _, frames = damaged(configure, one_night)
    assert set(frames["reason"]) == {"corrupt"}
    assert len(frames) == len(list(one_night.rglob("*.jpg")))


def test_a_release_name_is_given_once(configure):
    config = configure()
    run(config, "--release", "mine")
    configure(extra="threshold = 0.5\n")
    assert "release 'mine' exists" in refusal("run", config, "--release", "mine", code=CONFIGURATION)
    assert "cannot name a release" in refusal("run", config, "--release", "../up", code=2)
    assert "there is no release other" in refusal("release", "show", config, "other", code=2)


@pytest.mark.parametrize("name", ["..", ".", "latest", "a/b", ""])
def test_a_release_s_name_never_leaves_its_folder(configure, tmp_path, name):
    config = configure()
    run(config, "--stage", "frames")
    assert "cannot name a release" in refusal("run", config, "--release", name, code=2)
    assert (tmp_path / "workspace/frames/SIM001").is_dir()


def test_names_in_an_archive_are_shown_as_they_are(configure, one_night):
    (one_night / "SIM001" / "x[b].txt").write_text("")
    assert "SIM001/x[b].txt" in nightsift("plan", configure(archive=one_night)).stdout


def test_faults_of_several_files_are_told_together(configure, tmp_path):
    (tmp_path / "stations.toml").write_text("[[station]]\nid = 'A'\n")
    said = refusal("run", configure(stations="stations.toml", model="defualt"), code=CONFIGURATION)
    assert "stations.toml has" in said
    assert "there is no model package" in said


def test_a_worker_that_dies_again_and_again_costs_one_night(configure, tmp_path):
    """A step that takes its process down is tried on several workers, then written down as failed."""
    poison = tmp_path / "poison.py"
    poison.write_text(
        "import os\n"
        "from nightsift.jobs import steps\n"
        "def poisoned(step):\n"
        "    if str(step.name.unit) == 'SIM001/2021-10-30':\n"
        "        os._exit(1)\n"
        "    return steps._ingest(step)\n"
        "steps._WORK['frames'] = poisoned\n"
    )
    config = configure()
    done = nightsift("run", config, "--json", code=1, DASK_DISTRIBUTED__WORKER__PRELOAD=f'["{poison}"]')
    said = json.loads(done.stdout)
    (failure,) = said["failures"]
    assert failure["unit"] == "SIM001/2021-10-30"
    assert "workers down" in failure["reason"]
    coverage = pd.read_parquet(tmp_path / "workspace/releases" / said["release"] / "coverage")
    assert (coverage["failed"] > 0).sum() == 1
    assert (coverage["pairs_scored"] > 0).sum() == 3


def test_a_simulation_does_not_write_over_anything(tmp_path):
    (tmp_path / "precious").write_text("mine")
    assert "not empty" in refusal("simulate", tmp_path, code=CONFIGURATION)
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.fixture
def mounted(tmp_path):
    """Mount small file systems, as root."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    places = []

    def mount(size: str) -> Path:
        place = tmp_path / f"disk{len(places)}"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", place], check=True)


def test_a_read_only_workspace(configure, mounted):
    place = mounted("1m")
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    said = refusal("run", configure(workspace=place / "workspace"), "--cluster", "serial", code=STORAGE)
    assert "the store is read-only" in said


@pytest.mark.parametrize("cluster", ["serial", "local"])
def test_a_full_disk_stops_the_run_and_the_next_goes_on(configure, mounted, cluster):
    place = mounted("700k")
    config = configure(workspace=place / "workspace")
    said = refusal("run", config, "--cluster", cluster, code=STORAGE)
    assert "the store is full" in said
    assert "free space there" in said
    subprocess.run(["mount", "-o", "remount,size=100m", place], check=True)
    said = run(config)
    assert said["failures"] == []
    frames = pd.read_parquet(place / "workspace/releases" / said["release"] / "frames")
    assert frames["score"].notna().any()
