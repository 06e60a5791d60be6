from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.nights import night_of
from nightsift.archive.simulator import (
    FIRST_NIGHT,
    Rates,
    SimulatedNight,
    draw_station,
    encode_frame,
    write_archive,
)
from nightsift.archive.simulator.cameras import Lens, direction
from nightsift.archive.simulator.sky import Ephemeris, equatorial_to_local
from nightsift.archive.stations import Stations

QUIET = Rates(meteors=0, satellites=0, aircraft=0, dropped=0, corrupt=0)
BUSY = Rates(meteors=1, satellites=1, aircraft=0.5, dropped=0, corrupt=0)
METEORS = Rates(meteors=0.8, satellites=0, aircraft=0, dropped=0, corrupt=0)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    asked = {"stations": 2, "nights": 1, "frames": 4, "seed": 5, "small": True}
    first = write_archive(tmp_path / "a", **asked, workers=1)
    again = write_archive(tmp_path / "b", **asked, workers=2)
    assert first == again
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    write_archive(tmp_path / "c", **(asked | {"seed": 6}), workers=1)
    assert files_of(tmp_path / "c") != files_of(tmp_path / "a")


def test_a_frame_does_not_depend_on_those_rendered_before():
    simulated = draw_station(3, 8, small=True)
    forwards, alone = (SimulatedNight(simulated, FIRST_NIGHT, 6, 8, BUSY) for _ in range(2))
    frames = [forwards.render(index) for index in range(6)]
    image, seen = alone.render(4)
    assert np.array_equal(image, frames[4][0])
    assert seen == frames[4][1]


def test_stations_are_described_for_the_pipeline(tmp_path):
    write_archive(tmp_path, stations=3, nights=1, frames=3, seed=1, small=True, workers=1)
    stations = Stations.parse((tmp_path / "stations.toml").read_text(), "stations.toml")
    assert list(stations) == ["SIM001", "SIM002", "SIM003"]
    assert stations["SIM001"] == draw_station(0, 1, small=True).station
    assert stations["SIM001"].timezone == "Europe/Madrid"


def test_stations_differ_and_stay_in_their_ranges():
    network = [draw_station(index, 2) for index in range(60)]
    all_sky = [s for s in network if s.camera.lens.altitude_deg > 75]
    assert 0.4 < len(all_sky) / len(network) < 0.8
    assert {s.camera.colour for s in network} == {s.camera.stacked for s in network} == {True, False}
    assert all(draw_station(i, 2, small=True).camera.width <= 320 for i in range(60))
    # A cadence that divides an hour would overwrite frames when the clocks go back.
    assert all(3600 % s.station.cadence_s for s in network)


@pytest.mark.parametrize("index", range(5))
def test_names_of_the_repeated_hour_do_not_meet(index):
    simulated = draw_station(index, 3, small=True)
    night = SimulatedNight(simulated, date(2021, 10, 30), 4000, 3)
    zone = simulated.station.zone
    names = [start.astimezone(zone).strftime("%Y%m%d%H%M%S") for start in night.starts_utc]
    assert len(set(names)) == 4000


def test_short_nights_show_dusk_the_change_of_the_clocks_and_dawn():
    simulated = draw_station(0, 3, small=True)
    night = SimulatedNight(simulated, date(2021, 10, 30), 12, 3)
    change = datetime(2021, 10, 31, 1, tzinfo=UTC)
    zone = simulated.station.zone
    starts = night.starts_utc
    assert starts == sorted(starts)
    assert starts[5] < change <= starts[6]
    assert [start.astimezone(zone).hour for start in starts[4:8]] == [2, 2, 2, 2]
    assert {night_of(start, zone) for start in starts} == {date(2021, 10, 30)}
    assert [(b - a).total_seconds() for a, b in pairwise(starts[:4])] == [31, 31, 31]
    first, last = (night.render(i)[0].mean() for i in (0, 6))
    assert first > last


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"not empty(.|\n)*notes.txt(.|\n)*another folder"):
        write_archive(tmp_path, stations=1, nights=1, frames=1, seed=1, small=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "notes.txt"]


def test_dropped_and_corrupt_frames_are_told(tmp_path):
    rates = Rates(dropped=0.2, corrupt=0.2)
    told: list[tuple[int, int]] = []
    rows = write_archive(
        tmp_path,
        stations=1,
        nights=2,
        frames=40,
        seed=4,
        rates=rates,
        small=True,
        workers=1,
        progress=lambda done, total: told.append((done, total)),
    )
    dropped = [row for row in rows if row["kind"] == "dropped"]
    corrupt = [row for row in rows if row["kind"] == "corrupt"]
    files = {str(path.relative_to(tmp_path / "archive")): path for path in tmp_path.rglob("*.jpg")}
    assert told[-1] == (80, 80)
    assert 6 <= len(dropped) <= 30
    assert 6 <= len(corrupt) <= 30
    assert len(files) == 80 - len(dropped)
    assert not {row["frame_key"] for row in dropped} & set(files)
    assert all(row["peak"] is None and row["x_begin_px"] is None for row in dropped + corrupt)
    whole = cv2.imread(str(next(iter(files.values()))), cv2.IMREAD_GRAYSCALE)
    damaged = {row["frame_key"] for row in corrupt}
    assert any(files[key].stat().st_size == 0 for key in damaged)
    for key, path in files.items():
        assert path.read_bytes().endswith(b"\xff\xd9") == (key not in damaged)
    assert whole is not None


def test_objects_lie_where_the_truth_says():
    found = 0
    for index in range(8):
        simulated = draw_station(index, 12)
        quiet, busy = (SimulatedNight(simulated, FIRST_NIGHT, 30, 12, rates) for rates in (QUIET, METEORS))
        for number in range(11, 19):
            # Without meteors the same noise, clouds and stars: only the meteors are left.
            image, seen = busy.render(number)
            empty, nothing = quiet.render(number)
            assert nothing == []
            rise = luma(image).astype(int) - luma(empty)
            if len(seen) == 1 and seen[0].snr > 6 and seen[0].peak < 120:
                true = seen[0]
                x, y, peak = brightest_near(rise, true)
                assert distance_to_segment(x, y, true) < 2.5 + 0.05 * true.length_px
                assert peak == pytest.approx(true.peak, rel=0.25, abs=6 * true.peak / true.snr)
                found += 1
    assert found >= 8


def luma(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def brightest_near(rise, true) -> tuple[int, int, int]:
    mask = np.zeros(rise.shape, np.uint8)
    ends = [(round(true.x_begin_px), round(true.y_begin_px)), (round(true.x_end_px), round(true.y_end_px))]
    cv2.line(mask, *ends, 1, 2 * int(6 + 0.1 * true.length_px))
    near = np.where(mask > 0, rise, -1)
    y, x = np.unravel_index(near.argmax(), near.shape)
    return int(x), int(y), int(near[y, x])


def distance_to_segment(x, y, true) -> float:
    begin = np.array([true.x_begin_px, true.y_begin_px])
    step = np.array([true.x_end_px, true.y_end_px]) - begin
    along = np.clip((np.array([x, y]) - begin) @ step / (step @ step), 0, 1)
    return float(np.hypot(*(begin + along * step - (x, y))))


def test_truth_stays_inside_the_frame_and_names_what_crosses_frames():
    simulated = draw_station(0, 7, small=True)
    night = SimulatedNight(simulated, FIRST_NIGHT, 30, 7, Rates(meteors=1, satellites=3, aircraft=2))
    height, width = simulated.camera.shape
    frames = [night.render(index)[1] for index in range(10, 20)]
    for true in (true for seen in frames for true in seen):
        assert (
            -0.5 <= min(true.x_begin_px, true.x_end_px) <= max(true.x_begin_px, true.x_end_px) <= width - 0.5
        )
        assert (
            -0.5 <= min(true.y_begin_px, true.y_end_px) <= max(true.y_begin_px, true.y_end_px) <= height - 0.5
        )
        assert true.peak >= 1
        assert true.snr > 0
    satellites = [true.object_id for seen in frames for true in seen if true.kind == "satellite"]
    assert len(set(satellites)) < len(satellites)


@pytest.mark.parametrize("kind", ["equidistant", "rectilinear"])
def test_a_lens_is_its_own_inverse(kind):
    lens = Lens(kind, 300.0, 1.02, 320.0, 240.0, 40.0, 70.0, 12.0, True, 95.0)
    x, y = np.array([320.0, 50.0, 600.0]), np.array([240.0, 100.0, 470.0])
    x_again, y_again, imaged = lens.project(lens.unproject(x, y)[0])
    assert imaged.all()
    np.testing.assert_allclose(x_again, x, atol=0.01)
    np.testing.assert_allclose(y_again, y, atol=0.01)


def test_the_sky_turns_about_the_pole_and_the_sun_is_in_its_place():
    station = draw_station(0, 1).station
    evening, morning = datetime(2021, 10, 30, 19, tzinfo=UTC), datetime(2021, 10, 31, 5, tzinfo=UTC)
    pole = direction(0.0, np.radians(station.latitude_deg))
    for moment in (evening, morning):
        np.testing.assert_allclose(
            equatorial_to_local(station, moment) @ np.array([0.0, 0.0, 1.0]), pole, atol=1e-6
        )
    ephemeris = Ephemeris.over(
        station, datetime(2021, 10, 30, 12, tzinfo=UTC), datetime(2021, 10, 31, 12, tzinfo=UTC)
    )
    noon = ephemeris.sun_at(datetime(2021, 10, 30, 12, tzinfo=UTC))
    assert np.degrees(np.arcsin(noon[2])) == pytest.approx(90 - station.latitude_deg - 13.9, abs=1.0)
    assert 0.25 < ephemeris.illumination < 0.35


def test_a_frame_becomes_a_jpeg_of_its_own_size():
    image, _ = SimulatedNight(draw_station(0, 1, small=True), FIRST_NIGHT, 3, 1, QUIET).render(1)
    decoded = cv2.imdecode(np.frombuffer(encode_frame(image), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert decoded.shape == image.shape[:2] == (240, 320)
    assert np.abs(decoded.astype(int) - luma(image)).mean() < 3
