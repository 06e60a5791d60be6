"""The chain from an archive to a catalogue, as an operator runs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
import xarray as xr

from nightsift.archive.simulator import SimulatedNight, draw_station
from nightsift.catalogs.schema import CANDIDATES, COVERAGE, FRAMES, REASONS, reason_column
from tests.conftest import RATES, products

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs", "ignore:Consolidated metadata")


def nightsift(*words: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "nightsift", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def run(config: Path, *words: object, code: int = 0, cluster: str = "serial") -> dict:
    return json.loads(nightsift("run", config, "--json", "--cluster", cluster, *words, code=code).stdout)


@pytest.fixture(scope="module")
def finished(simulated, package, tmp_path_factory):
    """A finished serial run, for tests that only read."""
    folder = tmp_path_factory.mktemp("finished")
    config = folder / "nightsift.toml"
    config.write_text(
        f'[archive]\nurl = "{simulated.archive}"\nstations = "{simulated.folder}/stations.toml"\n'
        f'[workspace]\nurl = "workspace"\n[model]\npackage = "{package}"\n'
    )
    said = run(config, "--release", "first")
    assert said["release"] == "first"
    return folder


@pytest.fixture(scope="module")
def release(finished):
    return finished / "workspace" / "releases" / "first"


def test_every_frame_of_the_archive_is_in_the_ledger(release, simulated):
    frames = pd.read_parquet(release / "frames")
    assert sorted(frames["frame_key"]) == simulated.keys()
    assert (frames["reason"].isna() == frames["score"].notna()).all()


def test_corrupt_frames_have_their_reason_and_the_night_goes_on(release, simulated):
    frames = pd.read_parquet(release / "frames").set_index("frame_key")
    corrupt = [row["frame_key"] for row in simulated.truth if row["kind"] == "corrupt"]
    assert corrupt
    assert (frames.loc[corrupt, "reason"] == "corrupt").all()
    assert frames.loc[corrupt, "detail"].str.contains("empty|JPEG").all()
    assert frames["score"].notna().sum() > len(corrupt)


def test_coverage_adds_up(release):
    coverage = pd.read_parquet(release / "coverage")
    frames = pd.read_parquet(release / "frames")
    assert len(coverage) == 4
    reasons = coverage[[reason_column(reason) for reason in REASONS]].sum(axis=1)
    assert (coverage["frames_present"] == coverage["pairs_scored"] + reasons).all()
    assert coverage["frames_present"].sum() == len(frames)
    assert coverage["live_time_s"].sum() == pytest.approx(frames.dropna(subset="score")["exposure_s"].sum())
    assert (coverage["frames_expected"] > 500).all()


def test_no_pair_spans_a_gap(release):
    frames = pd.read_parquet(release / "frames")
    starts = frames.set_index("frame_key")["start_utc"]
    scored = frames[frames["score"].notna()]
    gaps = scored["start_utc"] - scored["previous_key"].map(starts)
    assert gaps.max() <= pd.Timedelta(seconds=120)
    assert gaps.min() > pd.Timedelta(0)
    assert (frames.loc[frames["reason"] == "gap", "gap_s"] > 120).all()
    assert (frames["reason"] == "gap").any()


def test_the_night_of_the_clock_change_keeps_its_rhythm(release):
    frames = pd.read_parquet(release / "frames").dropna(subset="score")
    for (station, night), group in frames.groupby(["station", "night"], observed=True):
        drawn = draw_station(int(station[3:]) - 1, 3, small=True)
        true = SimulatedNight(drawn, night, 25, 3, RATES).starts_utc
        assert set(group["start_utc"]) <= {start.replace(microsecond=0) for start in true}


def test_pandas_pyarrow_and_duckdb_read_the_same_catalogue(release):
    by_pandas = pd.read_parquet(release / "candidates")
    by_arrow = ds.dataset(release / "candidates", partitioning="hive").to_table()
    by_duckdb = duckdb.sql(
        f"select * from read_parquet('{release}/candidates/**/*.parquet', hive_partitioning=true)"
    )
    assert len(by_pandas) == by_arrow.num_rows == len(by_duckdb.fetchall()) > 0
    expected = {*CANDIDATES.names, "station"}
    assert set(by_pandas.columns) == set(by_arrow.column_names) == set(by_duckdb.columns) == expected
    assert str(by_pandas["start_utc"].dt.tz) == "UTC"
    assert by_pandas["candidate_id"].is_unique
    assert (by_pandas["kind"].notna() == by_pandas["x_px"].notna()).all()


@pytest.mark.parametrize(
    ("product", "schema"), [("candidates", CANDIDATES), ("frames", FRAMES), ("coverage", COVERAGE)]
)
def test_every_column_says_its_unit_and_meaning(release, product, schema):
    stored = ds.dataset(release / product).schema
    assert stored.names == schema.names
    for name in stored.names:
        metadata = stored.field(name).metadata
        assert metadata[b"description"], name
        assert b"unit" in metadata, name
    for name in schema.names:
        suffixes = (("_px_s", b"px/s"), ("_px", b"px"), ("_deg", b"deg"), ("_s", b"s"))
        units = [unit for suffix, unit in suffixes if name.endswith(suffix)]
        assert stored.field(name).metadata[b"unit"] in units[:1] or not units, name


def test_candidates_are_the_frames_above_the_threshold(release):
    frames, candidates = pd.read_parquet(release / "frames"), pd.read_parquet(release / "candidates")
    above = frames[frames["score"] >= np.float32(0.1)]
    assert sorted(above["frame_key"]) == sorted(candidates["frame_key"])
    assert (candidates["peak"].dropna() > 0).all()
    fitted = candidates.dropna(subset="length_px")
    spans = np.hypot(fitted["x_end_px"] - fitted["x_begin_px"], fitted["y_end_px"] - fitted["y_begin_px"])
    assert np.allclose(fitted["length_px"], spans, rtol=1e-3)


def test_absent_values_are_null(release):
    for product in ("candidates", "frames"):
        table = ds.dataset(release / product).to_table()
        for name in table.column_names:
            if name.endswith(("_px", "_deg")) or name in ("score", "peak", "snr"):
                values = table[name].drop_null().to_numpy()
                assert np.isfinite(values).all(), name


def test_latest_and_release_json_say_what_was_made(finished, release):
    assert (finished / "workspace/releases/latest").read_text().strip() == "first"
    said = json.loads((release / "release.json").read_text())
    assert said["model"] == "untrained"
    assert len(said["model_sha256"]) == 64
    assert said["counts"]["nights"] == 4
    for file in said["files"]:
        assert (release / file["key"]).stat().st_size == file["size"]


def test_plan_status_list_and_show_speak_json(finished):
    config = finished / "nightsift.toml"
    plan = json.loads(nightsift("plan", config, "--json").stdout)
    assert plan["nights"] == 4
    assert {stage["nights"] for stage in plan["stale"].values()} == {0}
    status = json.loads(nightsift("status", config, "--json").stdout)
    assert {counts["scores"] for counts in status["stations"].values()} == {2}
    assert json.loads(nightsift("release", "list", config, "--json").stdout)["latest"] == "first"
    assert json.loads(nightsift("release", "show", config, "--json").stdout)["release"] == "first"


def test_people_get_tables_and_the_lines_that_read_the_catalogue(configure, simulated):
    config = configure()
    assert "Nothing was written" in nightsift("plan", config).stdout
    assert not (config.parent / "workspace").exists()
    said = nightsift("run", config, "--cluster", "serial")
    assert " files " in said.stdout
    assert f", {len(simulated.keys())} frames, lies in" in said.stdout
    assert 'pd.read_parquet("' in said.stdout
    lines = [line.strip() for line in said.stdout.splitlines() if line.startswith("  ")]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, cwd="/")
    assert "Nothing to do" in nightsift("run", config, "--cluster", "serial").stdout
    assert "SIM001" in nightsift("status", config).stdout
    picture = config.parent / "best.png"
    nightsift("release", "show", config, "--picture", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_dask_cluster_and_the_serial_twin_make_the_same_bytes(configure, finished):
    config = configure()
    run(config, "--release", "first", cluster="local")
    assert products(config.parent / "workspace") == products(finished / "workspace")


def test_a_second_run_does_nothing_and_says_so(finished):
    before = products(finished / "workspace")
    said = run(finished / "nightsift.toml")
    assert said["changed"] is False
    assert said["release"] == "first"
    assert products(finished / "workspace") == before


def stages_run(said: dict) -> set[str]:
    return {stage for stage, done in said["stages"].items() if done["nights"]}


def test_a_changed_parameter_reruns_what_depends_on_it(configure, tmp_path, simulated):
    config = configure()
    assert stages_run(run(config)) == {"frames", "differences", "scores"}

    configure(extra="threshold = 0.99\n")
    said = run(config)
    assert said["changed"] is True
    assert stages_run(said) == set()
    assert pd.read_parquet(tmp_path / "workspace/releases" / said["release"] / "candidates").empty

    configure(extra="[difference]\nmax_gap_s = 45\n")
    assert stages_run(run(config)) == {"differences", "scores"}

    moved = tmp_path / "stations.toml"
    moved.write_text(
        (simulated.folder / "stations.toml").read_text().replace("latitude_deg = 4", "latitude_deg = 3")
    )
    configure(extra="[difference]\nmax_gap_s = 45\n", stations=moved)
    assert stages_run(run(config)) == {"differences", "scores"}


def test_another_model_rebuilds_the_catalogue_without_the_archive(configure, tmp_path, package, simulated):
    from nightsift.models.package import ModelPackage, save_package

    config = configure()
    run(config)
    old = ModelPackage.load(str(package))
    new = save_package(
        tmp_path / "other",
        old.network(),
        name="other",
        architecture=old.architecture,
        classes=old.classes,
        threshold=0.2,
        recipe=old.recipe,
        card="",
    )
    assert new.sha256 != old.sha256
    configure(model=tmp_path / "other")
    shutil.rmtree(tmp_path / "workspace" / "frames")
    said = run(config)
    assert stages_run(said) == {"scores"}
    catalogue = pd.read_parquet(tmp_path / "workspace/releases" / said["release"] / "candidates")
    assert set(catalogue["model_sha256"]) == {new.sha256}


def test_one_station_and_one_night_can_be_run_alone(configure, tmp_path):
    config = configure()
    said = run(config, "--station", "SIM002", "--from", "2021-10-31", "--to", "2021-10-31")
    assert said["nights"] == 1
    coverage = pd.read_parquet(tmp_path / "workspace/releases" / said["release"] / "coverage")
    processed = coverage.set_index(["station", "night"])["unprocessed"] == 0
    assert processed.sum() == 1
    assert len(coverage) == 4


def test_stopping_after_a_stage_makes_no_release(configure, tmp_path):
    config = configure()
    said = run(config, "--stage", "differences")
    assert stages_run(said) == {"frames", "differences"}
    assert said["release"] is None
    assert not (tmp_path / "workspace/releases").exists()
    assert stages_run(run(config)) == {"scores"}


def test_a_night_that_fails_costs_neither_the_others_nor_its_frames(configure, tmp_path):
    config = configure()
    run(config, "--stage", "frames")
    broken = tmp_path / "workspace/frames/SIM001/2021-10-30.zarr/time/c/0"
    good = broken.read_bytes()
    broken.write_bytes(b"not what was written")
    said = run(config, code=1)
    assert [(f["unit"], f["stage"]) for f in said["failures"]] == [("SIM001/2021-10-30", "differences")]
    coverage = pd.read_parquet(tmp_path / "workspace/releases" / said["release"] / "coverage")
    failed = coverage[coverage["failed"] > 0]
    assert list(failed["station"]) == ["SIM001"]
    assert (failed["pairs_scored"] == 0).all()
    frames = pd.read_parquet(tmp_path / "workspace/releases" / said["release"] / "frames")
    assert len(frames) == coverage["frames_present"].sum()
    assert frames.loc[frames["reason"] == "failed", "detail"].str.startswith("differences: ").all()
    status = json.loads(nightsift("status", config, "--json").stdout)
    assert status["failures"][0]["unit"] == "SIM001/2021-10-30"
    assert run(config, code=1)["release"] == said["release"]

    broken.write_bytes(good)
    mended = run(config)
    assert mended["failures"] == []
    coverage = pd.read_parquet(tmp_path / "workspace/releases" / mended["release"] / "coverage")
    assert coverage["failed"].sum() == 0


def start(config: Path, cluster: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "nightsift", "run", str(config), "--cluster", cluster, "--release", "first"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for_receipts(workspace: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(list(workspace.glob("receipts/*/*/*/*.json"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("cluster", "receipts"), [("serial", 1), ("serial", 5), ("serial", 12), ("local", 4)]
)
def test_killed_and_run_again_equals_an_undisturbed_run(configure, tmp_path, finished, cluster, receipts):
    config = configure()
    process = start(config, cluster)
    wait_for_receipts(tmp_path / "workspace", receipts)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    run(config, "--release", "first")
    assert products(tmp_path / "workspace") == products(finished / "workspace")


@pytest.mark.parametrize("lost", [["latest"], ["latest", "first/release.json"]])
def test_killed_while_the_release_was_written(configure, tmp_path, finished, lost):
    """Its last writes, in reverse order, undone."""
    config = configure()
    run(config, "--release", "first")
    for name in lost:
        (tmp_path / "workspace/releases" / name).unlink()
    run(config, "--release", "first")
    assert products(tmp_path / "workspace") == products(finished / "workspace")


def test_a_product_that_was_removed_is_made_anew(configure, tmp_path):
    config = configure()
    run(config)
    shutil.rmtree(tmp_path / "workspace/frames/SIM001/2021-10-30.zarr")
    configure(extra="[difference]\nmax_gap_s = 45\n")
    said = run(config, code=1)
    assert "is not in the workspace" in said["failures"][0]["reason"]
    assert run(config)["failures"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_stop_says_how_to_go_on(configure, tmp_path, number):
    config = configure()
    process = start(config, "serial")
    wait_for_receipts(tmp_path / "workspace", 1)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert b"run again to go on" in said
    assert b"Traceback" not in said


@pytest.mark.parametrize("product", ["frames", "differences"])
def test_products_open_in_xarray(finished, product):
    opened = xr.open_zarr(finished / "workspace" / product / "SIM001" / "2021-10-30.zarr")
    assert opened[product.rstrip("s")].dims == ("time", "y", "x")
