"""Motion from time maps: a synthetic meteor, and a real one against its station's own measurement."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nightsift.archive.formats import pictures
from nightsift.models.motion import Motion
from tests.archive.test_timemaps import BEGIN, SPEED_PX, ftpdetectinfo, place, stacked

START = datetime(2022, 9, 14, 19, 49, 11, 205000, UTC)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_synthetic_meteor_has_its_speed_and_order_whatever_the_order_of_the_ends(backwards):
    maximum, timemap = stacked(np.random.default_rng(2))
    ends = (place(124), BEGIN) if backwards else (BEGIN, place(124))
    motion = Motion.of_trail(maximum, timemap, 25.0, START, *ends)
    true = 25 * float(np.hypot(*SPEED_PX))
    assert motion.speed_px_s == pytest.approx(true, rel=0.01)
    assert abs(motion.speed_px_s - true) < 5 * motion.speed_error_px_s + 1
    offsets = [point.offset_s for point in motion.points]
    assert offsets == sorted(offsets)
    assert motion.begin_px == pytest.approx(BEGIN, abs=15)
    assert motion.end_px == pytest.approx(place(124), abs=15)
    assert motion.times_utc[0] == START + timedelta(seconds=offsets[0])


def test_nothing_that_moves_has_no_motion():
    maximum, timemap = stacked(np.random.default_rng(4), shown=())
    assert Motion.of_trail(maximum, timemap, 25.0, START, BEGIN, place(124)) is None


def test_a_real_meteor_against_its_ftpdetectinfo(shared):
    """Positions within 2 px, the same order, and the speed within 3 %.

    RMS adds to each frame's number the row's share of the read-out (rolling shutter), which stretches its
    20 frames by 2 %; with its whole frame numbers the speeds agree within 1 %.
    """
    folder = shared / "rms_UK0006_20220914"
    (picture,) = pictures("FF", (folder / "FF_UK0006_20220914_194911_205_0079616.fits").read_bytes())
    measured = ftpdetectinfo(folder / "FTPdetectinfo_UK0006_20220914_185543_087124_EXCERPT.txt")
    ends = measured[-1][1:], measured[0][1:]
    motion = Motion.of_trail(picture.gray, picture.timemap, picture.rate_hz, START, *ends)
    by_index = {round(point.offset_s * picture.rate_hz): point for point in motion.points}
    apart = [np.hypot(by_index[int(f)].x_px - x, by_index[int(f)].y_px - y) for f, x, y in measured]
    assert len(apart) == 21
    assert max(apart) < 2
    assert motion.begin_px[1] < motion.end_px[1]  # down the frame, as RMS has it

    frames, x, y = np.array(measured).T
    for numbers, tolerance in ((frames, 0.03), (np.floor(frames), 0.01)):
        slopes = [np.polyfit(numbers, axis, 1)[0] for axis in (x, y)]
        assert motion.speed_px_s == pytest.approx(25 * np.hypot(*slopes), rel=tolerance)
    assert 0 < motion.speed_error_px_s < 0.02 * motion.speed_px_s
