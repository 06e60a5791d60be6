"""Captions and image circles, from `nightsift plan` to the differences that leave them out."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import xarray as xr

from nightsift.archive.simulator import encode_frame
from nightsift.jobs.config import Configuration
from nightsift.jobs.plan import make_plan
from nightsift.jobs.proposals import propose
from tests.jobs.test_run import nightsift, run

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs", "ignore:Consolidated metadata")


@pytest.fixture
def captioned(tmp_path, simulated, configure):
    """The first station's archive, its caption as large as a larger camera's; and its stations.toml."""
    archive = tmp_path / "archive"
    shutil.copytree(simulated.archive / "SIM001", archive / "SIM001")
    for number, path in enumerate(sorted(archive.rglob("*.jpg"))):
        frame = cv2.imread(str(path))
        if frame is not None:
            stamp = f"2021-10-30 2{number % 4}:{7 * number % 60:02d}:{13 * number % 60:02d}"
            cv2.putText(frame, stamp, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1)
            path.write_bytes(encode_frame(frame))
    stations = tmp_path / "stations.toml"
    stations.write_bytes((simulated.folder / "stations.toml").read_bytes())
    return configure(archive=archive, stations=stations)


def planned(config: Path, *words: str) -> dict:
    return json.loads(nightsift("plan", config, "--json", *words).stdout)


def test_what_plan_proposes_takes_the_caption_out_of_the_differences(captioned, tmp_path):
    (proposal,) = planned(captioned)["proposals"]
    assert proposal["station"] == "SIM001"
    (box,) = proposal["exclude_px"]
    x0, y0, x1, y1 = box
    assert x0 <= 4
    (width, _), _ = cv2.getTextSize("2021-10-30 20:00:00", cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
    assert x1 == pytest.approx(4 + width, abs=8)
    assert y1 < 24
    assert "exclude_px" in nightsift("plan", captioned).stdout

    run(captioned, "--stage", "differences")
    before = set_pixels(tmp_path)
    assert before[:, y0:y1, x0:x1].any()

    accept(tmp_path / "stations.toml", proposal["lines"])
    assert planned(captioned)["proposals"] == []
    run(captioned, "--stage", "differences")
    after = set_pixels(tmp_path)
    assert not after[:, y0:y1, x0:x1].any()
    x, y, radius = proposal["circle_px"]
    rows, columns = np.mgrid[: after.shape[1], : after.shape[2]]
    inside = np.hypot(columns - x, rows - y) <= radius
    inside[y0:y1, x0:x1] = False
    assert (after == before & inside).all()


def accept(stations: Path, lines: list[str]) -> None:
    entry, *others = stations.read_text().split("[[station]]")[1:]
    added = "\n".join(lines)
    stations.write_text("".join(f"[[station]]{text}" for text in (f"{entry.rstrip()}\n{added}\n\n", *others)))


def set_pixels(folder: Path) -> np.ndarray:
    nights = sorted((folder / "workspace" / "differences" / "SIM001").iterdir())
    return np.concatenate([xr.open_zarr(night)["difference"].values for night in nights])


def test_proposals_can_be_left_out(captioned):
    assert "proposals" not in planned(captioned, "--no-proposals")


def test_a_station_that_is_not_reached_in_time_is_named(captioned):
    config = Configuration.read(captioned)
    (proposal,) = propose(config, make_plan(config), within_s=0.0)
    assert "--station" in proposal.fault
    assert proposal.lines() == []


def test_frames_that_cannot_be_read_never_fail_a_plan(captioned, tmp_path):
    for path in (tmp_path / "archive").rglob("*.jpg"):
        path.write_bytes(b"\xff\xd8 nothing")
    (proposal,) = planned(captioned)["proposals"]
    assert proposal["fault"] == "none of its frames could be looked at"
    assert proposal["lines"] == []


def test_frames_in_archives_of_a_night_are_told_as_such(captioned, tmp_path):
    (station,) = (tmp_path / "archive").iterdir()
    for night in sorted(path for path in station.rglob("*") if path.is_dir() and any(path.glob("*.jpg"))):
        shutil.make_archive(str(night), "zip", night)
        shutil.rmtree(night)
    (proposal,) = planned(captioned)["proposals"]
    assert proposal["fault"] == "its frames lie in archives; proposals need loose files"


def test_frames_that_vanish_on_the_way_never_fail_a_plan(captioned, tmp_path):
    config = Configuration.read(captioned)
    plan = make_plan(config)
    shutil.rmtree(tmp_path / "archive" / "SIM001")
    (proposal,) = propose(config, plan)
    assert proposal.fault
