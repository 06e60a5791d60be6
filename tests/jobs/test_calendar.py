from datetime import date, timedelta

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from nightsift.jobs.calendar import calendars, night_of_row

FULL = {"frames_expected": 1200, "frames_present": 1200, "live_time_s": 36000.0}
NOTHING = {"failed": 0, "unprocessed": 0, "cloud": None}


def row(night: date, station: str = "UK0006", **said: object) -> dict[str, object]:
    return {"station": station, "night": night, **FULL, **NOTHING, **said}


@pytest.mark.parametrize(
    ("said", "state", "share"),
    [
        ({}, "seen", 1),
        ({"live_time_s": 9000.0}, "seen", 0.25),
        ({"live_time_s": 40000.0}, "seen", 1),  # twilight frames count too
        ({"live_time_s": 0.0}, "seen", 0),
        ({"frames_present": 0, "live_time_s": 0.0}, "blind", 0),
        ({"frames_present": 0, "live_time_s": 0.0, "frames_expected": 0}, "bright", 0),
        ({"failed": 1200, "live_time_s": 0.0}, "failed", 0),
        ({"unprocessed": 1200, "live_time_s": 0.0}, "unprocessed", 0),
        ({"frames_expected": 0, "frames_present": 10, "live_time_s": 300.0}, "seen", 1),
    ],
)
def test_a_row_of_the_ledger_is_one_of_these(said, state, share):
    night = night_of_row(row(date(2022, 1, 1), **said), 30.0)
    assert (night.state, night.share) == (state, pytest.approx(share))


def test_only_known_clouds_are_marked():
    clouds = {None: False, 0.2: False, 0.7: True}
    for cloud, marked in clouds.items():
        assert night_of_row(row(date(2022, 1, 1), cloud=cloud), 30.0).is_cloudy is marked


def drawn(rows: list[dict[str, object]], path) -> np.ndarray:
    figure = calendars(rows, {"UK0006": 30.0, "UK0007": 30.0})
    figure.savefig(path, facecolor="#10131a")
    return cv2.imread(str(path))[:, :, ::-1]


def pixels(picture: np.ndarray, colour: str) -> int:
    return int(
        (np.abs(picture.astype(int) - np.round(255 * np.array(to_rgb(colour)))).max(axis=2) < 12).sum()
    )


def test_what_a_year_shows_can_be_told_apart(tmp_path):
    nights = [date(2022, 1, 1) + timedelta(days=n) for n in range(365)]
    clear = drawn([row(night) for night in nights], tmp_path / "clear.png")
    blind = drawn([row(n, frames_present=0, live_time_s=0.0) for n in nights], tmp_path / "blind.png")
    cloudy = drawn([row(night, cloud=0.9) for night in nights], tmp_path / "cloudy.png")
    assert pixels(clear, "#fee838") > 365 * 100
    assert pixels(blind, "#fee838") < pixels(clear, "#fee838") / 20  # the colour bar alone
    assert pixels(blind, "#ff7f2a") > 365 * 10
    assert pixels(clear, "#fee838") - pixels(cloudy, "#fee838") > 365 * 5


def test_each_station_and_year_has_its_panel(tmp_path):
    nights = [date(2021, 12, 31), date(2022, 1, 1)]
    figure = calendars(
        [row(night, station) for night in nights for station in ("UK0006", "UK0007")],
        {"UK0006": 30.0, "UK0007": 30.0},
    )
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    shown = [title.split(":")[0] for title in titles if title]
    assert shown == ["UK0006, 2021", "UK0006, 2022", "UK0007, 2021", "UK0007, 2022"]
    assert "1 night seen, 10 h live, 100% of the dark time" in titles[0]


def test_every_day_of_a_leap_year_that_begins_on_a_sunday_has_a_cell(tmp_path):
    nights = [date(2012, 1, 1) + timedelta(days=n) for n in range(366)]
    assert pixels(drawn([row(night) for night in nights], tmp_path / "leap.png"), "#fee838") > 366 * 100
