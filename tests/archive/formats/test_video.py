import io
import tracemalloc
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats import pictures
from tests.archive.formats.makers import sound, video

RANDOM = np.random.default_rng(1)
LONG = [RANDOM.integers(0, 256, (24, 32), dtype=np.uint8) for _ in range(600)]
CONTAINERS = [
    ("avi", "mpeg4", "yuv420p"),
    ("flv", "flv", "yuv420p"),
    ("mp4", "libx264", "yuv420p"),
    ("mov", "mjpeg", "yuvj420p"),
    ("matroska", "ffv1", "gray"),
]


@dataclass
class Outcome:
    pictures: list
    bad: BadFrame | None


def outcome(data, **options):
    given = []
    try:
        given.extend(pictures("clip", data, **options))
    except BadFrame as bad:
        return Outcome(given, bad)
    return Outcome(given, None)


def blocks(data, **options):
    return list(pictures("clip", data, **options))


def test_blocks_hold_the_maximum_and_where_it_was_first_reached():
    found = blocks(video(LONG))
    assert [(block.first, block.short_exposures) for block in found] == [(0, 256), (256, 256), (512, 88)]
    for block in found:
        frames = np.array(LONG[block.first : block.first + block.short_exposures])
        assert np.array_equal(block.gray, frames.max(axis=0))
        assert np.array_equal(block.timemap, frames.argmax(axis=0))
        assert block.timemap.dtype == np.uint8


def test_times_of_the_blocks():
    found = blocks(video(LONG, rate=50))
    assert [block.rate_hz for block in found] == [50, 50, 50]
    assert [block.exposure_s for block in found] == pytest.approx([5.12, 5.12, 1.76])
    assert [block.offset_s for block in found] == pytest.approx([0, 5.12, 10.24])


def test_of_equal_levels_the_first_counts():
    (block,) = blocks(video([np.full((16, 16), level, np.uint8) for level in (3, 9, 9, 4, 9)]))
    assert (block.timemap == 1).all()


@pytest.mark.parametrize(("container", "codec", "pixels"), CONTAINERS)
def test_every_container_is_told_by_its_first_bytes(container, codec, pixels):
    (block,) = blocks(video(LONG[:40], container, codec, pixels))
    assert block.gray.shape == (24, 32)
    assert block.short_exposures == 40
    assert block.exposure_s == pytest.approx(1.6, abs=0.002)


def test_a_video_is_read_from_a_file_as_from_its_bytes():
    data = video(LONG[:300], "avi", "mpeg4", "yuv420p")
    for a, b in zip(blocks(data), blocks(io.BytesIO(data)), strict=True):
        assert np.array_equal(a.gray, b.gray)
        assert np.array_equal(a.timemap, b.timemap)


def test_limited_range_is_expanded_as_opencv_does(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (48, 1))
    data = video([ramp, ramp], "avi", "mpeg4", "yuv420p", qmin="1", qmax="1")
    (path := tmp_path / "clip.avi").write_bytes(data)
    seen = cv2.cvtColor(cv2.VideoCapture(str(path)).read()[1], cv2.COLOR_BGR2GRAY)
    (block,) = blocks(data)
    assert block.gray.min() < 4
    assert block.gray.max() > 251
    assert np.abs(block.gray.astype(int) - seen).max() <= 2


def test_deep_video_keeps_its_depth():
    (block,) = blocks(video(LONG[:3], pixels="gray10le"))
    assert block.gray.dtype == np.uint16
    assert 900 < block.gray.max() <= 1023


def test_colour_is_that_of_the_brightest_moment():
    red, blue = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)
    red[:, :8], blue[:, 8:] = 200, 120
    (block,) = blocks(video([red, blue], pixels="bgr0"), colour=True)
    assert block.colour.shape == (16, 16, 3)
    assert (block.colour[:, :8] == 200).all()
    assert (block.colour[:, 8:] == 120).all()
    (gray,) = blocks(video([red, blue]), colour=True)
    assert gray.colour is None


def test_a_variable_rate_follows_the_time_stamps():
    steps = [40] * 50 + [200] * 49  # a camera that slows down
    times = [0, *np.cumsum(steps).tolist()]
    (block,) = blocks(video(LONG[:100], times_ms=times))
    assert block.exposure_s == pytest.approx(times[-1] / 1000 * 100 / 99, rel=1e-3)
    assert block.rate_hz == pytest.approx(100 / block.exposure_s)


@pytest.mark.parametrize(("container", "codec", "pixels"), [c for c in CONTAINERS if c[0] in ("avi", "flv")])
@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_of_a_video_cut_off_the_blocks_before_are_given_and_the_loss_is_told(container, codec, pixels, share):
    data = video(LONG, container, codec, pixels)
    found = outcome(data[: int(share * len(data))])
    assert sum(block.short_exposures for block in found.pictures) == pytest.approx(600 * share, rel=0.15)
    assert found.bad.reason == "corrupt"


def test_a_matroska_cut_between_frames_is_told_by_its_announced_length():
    found = outcome(video(LONG)[:-60_000])
    assert found.pictures
    assert "cut off: expected 24.0 s" in found.bad.detail


def test_damage_ends_a_video_where_it_is():
    data = bytearray(video(LONG[:250], "avi", "mpeg4", "yuv420p"))
    data[len(data) // 2 : len(data) // 2 + 100] = RANDOM.bytes(100)
    found = outcome(bytes(data))
    whole = blocks(video(LONG[:250], "avi", "mpeg4", "yuv420p"))[0]
    assert found.bad.reason == "corrupt"
    (before,) = found.pictures
    assert 100 < before.short_exposures < 130
    agrees = whole.timemap < before.short_exposures
    assert np.array_equal(before.gray[agrees], whole.gray[agrees])


def test_sound_alone_is_no_video():
    found = outcome(sound())
    assert not found.pictures
    assert found.bad.reason == "corrupt"


def test_a_lost_connection_is_not_the_fault_of_the_video():
    class Lost(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 50_000:
                raise ConnectionResetError("by peer")
            return super().read(size)

    with pytest.raises(ConnectionResetError):
        list(pictures("clip", Lost(video(LONG))))


def test_memory_is_that_of_one_block_whatever_the_length():
    peaks = []
    for frames in (30, 600):
        data = io.BytesIO(video(LONG[:frames] if frames < 600 else LONG * 2))
        list(pictures("warm", io.BytesIO(video(LONG[:3]))))
        tracemalloc.start()
        for _ in pictures("clip", data):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000


@pytest.mark.parametrize(
    ("name", "frames", "rate", "blocks_expected"),
    [
        ("freeture/meteor1.avi", 181, 29.97, 1),
        ("freeture/meteor4.flv", 293, 25, 2),
        ("meteordl/CZ0003_20210307_021710_233167.mp4", 201, 25, 1),
    ],
)
def test_real_clips(shared, name, frames, rate, blocks_expected):
    capture = cv2.VideoCapture(str(shared / name))
    seen = []
    while (read := capture.read())[0]:
        seen.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY))
    with (shared / name).open("rb") as file:
        found = blocks(file)
    assert len(found) == blocks_expected
    assert sum(block.short_exposures for block in found) == len(seen) == frames
    assert sum(block.exposure_s for block in found) == pytest.approx(frames / rate, abs=0.01)
    for block in found:
        stack = np.array(seen[block.first : block.first + block.short_exposures])
        assert np.abs(block.gray.astype(int) - stack.max(axis=0)).max() <= 7  # OpenCV goes through BGR
        at_index = np.take_along_axis(stack, block.timemap[None].astype(int), axis=0)[0]
        assert np.abs(at_index.astype(int) - stack.max(axis=0)).max() <= 7
