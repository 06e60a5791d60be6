"""The coverage ledger, as an analyst reads it and as an operator sees it."""

import json
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.jobs.test_run import nightsift, run


@pytest.fixture
def gappy(tmp_path, simulated, configure):
    """One station of the archive, with two nights on which nothing was recorded between the others."""
    archive = tmp_path / "archive"
    first, second = sorted((simulated.archive / "SIM001").iterdir())
    shutil.copytree(first, archive / "SIM001" / first.name)
    for path in second.iterdir():
        moved = datetime.strptime(path.stem, "image-%Y%m%d%H%M%S") + timedelta(days=2)
        folder = archive / "SIM001" / "20211102"
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / f"image-{moved:%Y%m%d%H%M%S}.jpg")
    return configure(archive=archive)


def latest(config: Path, product: str) -> pd.DataFrame:
    releases = config.parent / "workspace" / "releases"
    return pd.read_parquet(releases / (releases / "latest").read_text().strip() / product)


def coverage(config: Path) -> pd.DataFrame:
    return latest(config, "coverage").set_index("night")


def test_no_meteors_can_be_told_from_a_blind_camera(gappy):
    run(gappy)
    ledger = coverage(gappy)
    assert list(ledger.index) == [date(2021, 10, 30) + timedelta(days=n) for n in range(4)]
    blind = ledger.loc[[date(2021, 10, 31), date(2021, 11, 1)]]
    assert (blind[["frames_present", "frames_usable", "frames_paired", "live_time_s"]] == 0).all(axis=None)
    assert (blind["frames_expected"] > 1000).all()
    assert blind["cloud"].isna().all()
    seen = ledger.drop(blind.index)
    assert (seen["frames_paired"] == seen["pairs_scored"]).all()
    assert (seen["frames_paired"] > 0).all()
    assert (seen["stars"] > 0).any()
    assert (seen["frames_expected"] - blind["frames_expected"].mean()).abs().max() < 20

    frames = latest(gappy, "frames").dropna(subset="stars")  # counted in some frames
    assert 0 < len(frames) < 50
    assert (frames["stars"] >= frames["star_cells"]).all()
    assert frames["previous_key"].notna().all()
    assert run(gappy)["changed"] is False


def test_a_selected_run_tells_of_every_night(gappy):
    run(gappy, "--from", "2021-11-01")
    ledger = coverage(gappy)
    assert ledger["frames_present"].gt(0).tolist() == [True, False, False, True]
    assert ledger["unprocessed"].gt(0).tolist() == [True, False, False, False]
    assert ledger["frames_usable"].isna().tolist() == [True, False, False, False]
    assert ledger["frames_expected"].notna().all()


def test_a_station_s_year_is_drawn(gappy, tmp_path):
    early = nightsift("status", gappy, "--picture", tmp_path / "year.png", code=2)
    assert "there is no release yet" in early.stderr
    assert "SIM001" in early.stdout
    assert "Latest release: none yet" in early.stdout
    assert "Calendar" not in early.stdout
    run(gappy, "--from", "2021-11-01")
    said = json.loads(nightsift("status", gappy, "--picture", tmp_path / "year.png", "--json").stdout)
    assert said["picture"] == str(tmp_path / "year.png")
    picture = cv2.imread(said["picture"])
    assert picture.shape[1] > 1000
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
