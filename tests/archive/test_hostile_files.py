"""Files that are damaged, mislabelled or malicious, each with what becomes of it.

Run as a program with a folder, it decodes what lies there and prints its peak memory in MiB.
"""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats import header_exposure, pictures
from tests.archive.formats.makers import (
    DEEP,
    RGB,
    SMOOTH,
    bmp,
    chunk,
    ff_file,
    fits_file,
    jpeg,
    png,
    png_of_chunks,
    raw_fits,
    sound,
    video,
    with_frame_header,
    with_orientation,
)

GRAY = SMOOTH[..., 0]
TIMEMAP = (np.arange(GRAY.size) % 256).astype(np.uint8).reshape(GRAY.shape)
MOVING = [np.roll(GRAY, 3 * number, axis=1) for number in range(300)]
ROWS = b"".join(b"\0" + bytes(range(10)) for _ in range(10))
CARDS = ("BITPIX  = 8", "NAXIS   = 2")
TEN = (*CARDS, "NAXIS1  = 10", "NAXIS2  = 10")
EMPTY_UNIT = b"".join(card.ljust(80) for card in (b"XTENSION= 'IMAGE   '", b"BITPIX  = 8", b"NAXIS   = 0"))
EMPTY_UNIT = (EMPTY_UNIT + b"END").ljust(2880)
REASONS = ("corrupt", "unsupported", "too-large")
MEMORY_MIB = 1024
ROOT = Path(__file__).parents[2]


def cut(data: bytes, share: float) -> bytes:
    return data[: int(share * len(data))]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


def overwritten(data: bytes, behind: bytes, skip: int, new: bytes) -> bytes:
    """``new`` in place of what begins ``skip`` bytes behind a marker."""
    at = data.index(behind) + len(behind) + skip
    return data[:at] + new + data[at + len(new) :]


@cache
def zeros(mebibytes: int) -> bytes:
    """A few kilobytes that unpack to this many zeros."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(mebibytes)) + packer.flush()


def cmyk() -> bytes:
    import simplejpeg

    return simplejpeg.encode_jpeg(np.dstack([RGB, RGB[..., 0]]), colorspace="CMYK", colorsubsampling="444")


def progressive() -> bytes:
    return jpeg(SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def many_scans() -> bytes:
    """A progressive file whose last scan comes again and again."""
    data = progressive()
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + 5_000 * scan + data[-2:]


def png_bomb(kind: bytes, head: bytes) -> bytes:
    return png_of_chunks(10, 10, 8, 0, ROWS, chunk(kind, head + zeros(512)))


def png_without_pixels() -> bytes:
    whole = png_of_chunks(10, 10, 8, 0, ROWS)
    return whole[: whole.index(b"IDAT") - 4] + chunk(b"IEND", b"")


def avi(frames: int = 40) -> bytes:
    return video(MOVING[:frames], "avi", "mpeg4", "yuv420p")


def mp4(frames: int = 40) -> bytes:
    return video(MOVING[:frames], "mp4", "mpeg4", "yuv420p")


def wide_avi() -> bytes:
    data = video(MOVING[:3], "avi", "huffyuv", "yuv422p")
    return overwritten(data, b"strf", 8, struct.pack("<II", 30_000, 30_000))


def deep_video() -> bytes:
    large = [np.zeros((2560, 2560), np.uint8)]
    return video(large, codec="libx264", pixels="yuv444p10le", preset="ultrafast")


def sample_table_bomb() -> bytes:
    """An MP4 file of some kilobytes that announces two thousand million frames."""
    many = struct.pack(">I", 2**31 - 1)
    data = overwritten(mp4(3), b"stsz", 4, struct.pack(">I", 10) + many)
    data = overwritten(data, b"stts", 8, many)
    return overwritten(data, b"stsc", 12, many)


Cases = dict[str, tuple[Callable[[], bytes], str]]

JPEG: Cases = {
    f"JPEG cut off after {tenths}0%": (lambda tenths=tenths: cut(jpeg(SMOOTH), tenths / 10), "corrupt")
    for tenths in range(1, 10)
} | {
    "JPEG without its last byte": (lambda: jpeg()[:-1], "corrupt"),
    "JPEG with a wrong first byte": (lambda: b"\0" + jpeg()[1:], "corrupt"),
    "JPEG, two bytes": (lambda: b"\xff\xd8", "corrupt"),
    "JPEG of fill bytes": (lambda: b"\xff\xd8" + b"\xff" * 100_000, "corrupt"),
    "JPEG segment that ends behind the file": (lambda: b"\xff\xd8\xff\xe1\xff\xff" + bytes(99), "corrupt"),
    "JPEG frame header of two bytes": (lambda: b"\xff\xd8\xff\xc0\0\4\x08\0" + bytes(99), "corrupt"),
    "JPEG with noise behind its end": (lambda: jpeg() + RGB.tobytes(), "picture"),
    "JPEG that EXIF would turn": (lambda: with_orientation(jpeg()), "picture"),
    "JPEG, progressive": (progressive, "picture"),
    "JPEG, progressive, cut off": (lambda: cut(progressive(), 0.7), "corrupt"),
    "JPEG, progressive, 5,000 scans": (many_scans, "too-large"),
    "JPEG, progressive, 64 Mpx": (lambda: with_frame_header(progressive(), size=(8000, 8000)), "too-large"),
    "JPEG of CMYK": (cmyk, "unsupported"),
    "JPEG of 12 bits": (lambda: with_frame_header(jpeg(), marker=0xC1, precision=12), "unsupported"),
    "JPEG, lossless": (lambda: with_frame_header(jpeg(), marker=0xC3), "unsupported"),
    "JPEG, hierarchical": (lambda: with_frame_header(jpeg(), marker=0xC5), "unsupported"),
    "JPEG, Huffman-coded, marked arithmetic": (lambda: with_frame_header(jpeg(), marker=0xC9), "corrupt"),
    "JPEG of 65500 x 65500": (lambda: with_frame_header(jpeg(), size=(65500, 65500)), "too-large"),
    "JPEG of 14000 x 14000, cut off": (lambda: with_frame_header(jpeg(), size=(14000, 14000)), "corrupt"),
    "JPEG without height": (lambda: with_frame_header(jpeg(), size=(0, 80)), "corrupt"),
}
PNG: Cases = {
    "PNG cut off after 30%": (lambda: cut(png(SMOOTH), 0.3), "corrupt"),
    "PNG cut off after 90%": (lambda: cut(png(SMOOTH), 0.9), "corrupt"),
    "PNG without its last byte": (lambda: png(SMOOTH)[:-1], "corrupt"),
    "PNG, the signature alone": (lambda: png(SMOOTH)[:8], "corrupt"),
    "PNG with a wrong checksum": (lambda: flipped(png(SMOOTH), 500), "corrupt"),
    "PNG of 60000 x 60000": (lambda: png_of_chunks(60_000, 60_000, 8, 0, b""), "too-large"),
    "PNG of 2^31 x 1": (lambda: png_of_chunks(2**31, 1, 8, 0, b""), "too-large"),
    "PNG of 100 Mpx in 64 bits each": (lambda: png_of_chunks(10_000, 10_000, 16, 6, b""), "too-large"),
    "PNG of 16000 x 12000 without data": (lambda: png_of_chunks(16_000, 12_000, 8, 0, b""), "corrupt"),
    "PNG without width": (lambda: png_of_chunks(0, 10, 8, 0, ROWS), "corrupt"),
    "PNG with a text of 512 MiB": (lambda: png_bomb(b"zTXt", b"Comment\0\0"), "picture"),
    "PNG with a profile of 512 MiB": (lambda: png_bomb(b"iCCP", b"icc\0\0"), "picture"),
    "PNG with 128 MiB behind its pixels": (lambda: png_of_chunks(10, 10, 8, 0, bytes(2**27)), "picture"),
    "PNG with too few pixels": (lambda: png_of_chunks(10, 10, 8, 0, ROWS[:50]), "corrupt"),
    "PNG without pixels": (png_without_pixels, "corrupt"),
    "PNG of a palette it lacks": (lambda: png_of_chunks(10, 10, 8, 3, ROWS), "corrupt"),
    "PNG of an unknown kind of colour": (lambda: png_of_chunks(10, 10, 8, 5, ROWS), "corrupt"),
    "PNG of 7 bits": (lambda: png_of_chunks(10, 10, 7, 0, ROWS), "corrupt"),
    "PNG chunk that ends behind the file": (lambda: png(SMOOTH)[:33] + b"\x7f\xff\xff\xffIDAT", "corrupt"),
}
BMP: Cases = {
    "BMP cut off after 60%": (lambda: cut(bmp(SMOOTH), 0.6), "corrupt"),
    "BMP, two bytes": (lambda: b"BM", "corrupt"),
    "BMP of 2^31 rows": (lambda: overwritten(bmp(SMOOTH), b"BM", 20, b"\0\0\0\x80"), "too-large"),
    "BMP of negative width": (lambda: overwritten(bmp(SMOOTH), b"BM", 16, b"\xff" * 4), "corrupt"),
}
FITS: Cases = {
    "FF without MAXFRAME": (lambda: ff_file(GRAY, TIMEMAP, without=["MAXFRAME"]), "corrupt"),
    "FF without any plane": (lambda: ff_file(GRAY, TIMEMAP)[:2880], "corrupt"),
    "FF cut off in its last plane": (lambda: cut(ff_file(GRAY, TIMEMAP), 0.9), "corrupt"),
    "FF with a time map of another size": (lambda: ff_file(GRAY, TIMEMAP[:-1]), "corrupt"),
    "FF of no short exposures": (lambda: ff_file(GRAY, TIMEMAP, NFRAMES=0), "corrupt"),
    "FF with a rate of nought": (lambda: ff_file(GRAY, TIMEMAP, FPS=0.0), "picture"),
    "FITS cut off after 50%": (lambda: cut(fits_file(DEEP), 0.5), "corrupt"),
    "FITS of nine bytes": (lambda: b"SIMPLE  =", "corrupt"),
    "FITS header without END": (lambda: replaced(fits_file(DEEP), b"END     ", b"ENDE    "), "corrupt"),
    "FITS header of 100 MB": (lambda: raw_fits()[:80].ljust(10**8), "corrupt"),
    "FITS without axes": (lambda: raw_fits("BITPIX  = 8", "NAXIS   = 0"), "corrupt"),
    "FITS of one axis": (lambda: raw_fits("BITPIX  = 8", "NAXIS   = 1", "NAXIS1  = 10"), "corrupt"),
    "FITS of 1000 axes": (lambda: raw_fits("BITPIX  = 8", "NAXIS   = 1000"), "corrupt"),
    "FITS of minus two axes": (lambda: raw_fits("BITPIX  = 8", "NAXIS   = -2"), "corrupt"),
    "FITS of 'two' axes": (lambda: raw_fits("BITPIX  = 8", "NAXIS   = 'two'"), "corrupt"),
    "FITS that lacks NAXIS2": (lambda: raw_fits(*CARDS, "NAXIS1  = 10", data=bytes(100)), "corrupt"),
    "FITS of no columns": (lambda: raw_fits(*CARDS, "NAXIS1  = 0", "NAXIS2  = 10"), "corrupt"),
    "FITS of 10^5 x 10^5": (lambda: raw_fits(*CARDS, "NAXIS1  = 100000", "NAXIS2  = 100000"), "too-large"),
    "FITS of 10^18 columns": (lambda: raw_fits(*CARDS, "NAXIS1  = 1" + 18 * "0", "NAXIS2  = 1"), "corrupt"),
    "FITS of 64-bit floats": (lambda: fits_file(DEEP.astype(float)), "unsupported"),
    "FITS of 32-bit integers": (lambda: fits_file(DEEP.astype(np.int32)), "unsupported"),
    "FITS of 7 bits": (lambda: replaced(fits_file(DEEP), b"  16 /", b"   7 /"), "unsupported"),
    "FITS of negative levels": (lambda: fits_file(np.full((5, 5), -7, np.int16)), "unsupported"),
    "FITS scaled by NaN": (lambda: raw_fits(*TEN, "BSCALE  = 'NaN'", data=bytes(100)), "unsupported"),
    "FITS of four planes": (lambda: fits_file(np.zeros((4, 5, 6), np.uint8)), "unsupported"),
    "FITS of 10,000 units": (lambda: fits_file(DEEP) + 10_000 * EMPTY_UNIT, "picture"),
    "FITS inside gzip": (lambda: gzip.compress(fits_file(DEEP)), "unsupported"),
}
VIDEO: Cases = {
    "AVI without frames": (lambda: cut(avi(), 0.05), "corrupt"),
    "AVI, twelve bytes": (lambda: avi()[:12], "corrupt"),
    "AVI cut off after 70%": (lambda: cut(avi(300), 0.7), "picture, corrupt"),
    "AVI of no rate": (lambda: overwritten(avi(), b"strh", 24, bytes(8)), "picture"),
    "AVI of noise behind its header": (lambda: avi()[:5800] + RGB.tobytes(), "corrupt"),
    "AVI of a codec nobody knows": (lambda: replaced(avi(), b"FMP4", b"QQQQ"), "unsupported"),
    "AVI of 30000 x 30000": (wide_avi, "corrupt"),
    "Matroska of 2560 x 2560 in 30-bit colour": (deep_video, "too-large"),
    "FLV, header alone": (lambda: b"FLV\x01\x01\0\0\0\x09\0\0\0\0", "corrupt"),
    "Matroska, header alone": (lambda: video(MOVING[:3])[:40], "corrupt"),
    "Matroska cut off after 60%": (lambda: cut(video(MOVING), 0.6), "picture, corrupt"),
    "MP4 without its table of frames": (lambda: cut(mp4(), 0.5), "corrupt"),
    "MP4, header alone": (lambda: mp4()[:32], "corrupt"),
    "MP4 of sound": (sound, "corrupt"),
    "MP4 with a table of 2^31 frames": (sample_table_bomb, "corrupt"),
}
OTHER: Cases = {
    "empty": (lambda: b"", "corrupt"),
    "one byte": (lambda: b"\xff", "corrupt"),
    "a mebibyte of noughts": (lambda: bytes(2**20), "corrupt"),
    "HTML saved as .jpg": (lambda: b"<!DOCTYPE html><title>503 Service Unavailable</title>", "corrupt"),
    "an error of S3 saved as .jpg": (lambda: b"<Error><Code>SlowDown</Code></Error>", "corrupt"),
    "a playlist that names another file": (lambda: b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n", "corrupt"),
    "TIFF": (lambda: cv2.imencode(".tif", SMOOTH)[1].tobytes(), "unsupported"),
    "GIF": (lambda: b"GIF89a" + bytes(30), "unsupported"),
    "zip": (lambda: b"PK\x03\x04" + bytes(30), "unsupported"),
}
CASES = JPEG | PNG | BMP | FITS | VIDEO | OTHER


def outcome(data: bytes, **options: bool) -> str:
    """``picture``, a reason, or both where a part is given before the fault is told."""
    told = []
    try:
        told.extend("picture" for _ in pictures("object", data, **options))
    except BadFrame as bad:
        told.append(bad.reason if bad.reason in REASONS and bad.detail else repr(bad))
    return ", ".join(dict.fromkeys(told))


@pytest.mark.parametrize("name", CASES)
def test_outcome(name):
    make, expected = CASES[name]
    data = make()
    assert outcome(data) == expected
    assert outcome(data, colour=True) == expected
    header_exposure(data[:28_800])


def test_the_corpus_is_large():
    assert len(CASES) >= 45


def test_memory_of_the_whole_corpus_is_bounded(tmp_path):
    for number, (make, _) in enumerate(CASES.values()):
        (tmp_path / str(number)).write_bytes(make())
    command = [sys.executable, "-m", "tests.archive.test_hostile_files", tmp_path]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(found.stdout) < MEMORY_MIB


@cache
def whole_files() -> dict[str, bytes]:
    return {
        "JPEG": jpeg(SMOOTH),
        "progressive JPEG": progressive(),
        "PNG": png(SMOOTH),
        "BMP": bmp(GRAY),
        "FITS": fits_file(DEEP, **{"DATE-OBS": "2022-09-14T22:10:05", "EXPTIME": 20.0}),
        "FF": ff_file(GRAY, TIMEMAP),
        "AVI": avi(12),
        "MP4": mp4(12),
        "Matroska": video(MOVING[:12]),
    }


@st.composite
def damaged(draw: st.DrawFn, kind: str) -> bytes:
    """A real file with some bytes changed, put in or taken out; headers are hit as often as pixels."""
    data = whole_files()[kind]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.one_of(st.integers(0, len(data)), st.integers(0, min(len(data), 400))))
        noise = draw(st.binary(max_size=12) | st.sampled_from((bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff")))
        dropped = draw(st.sampled_from((0, len(noise), 100, len(data))))
        data = data[:at] + noise + data[at + dropped :]
    return data


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
@pytest.mark.parametrize("kind", whole_files())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_damaged_file_is_pictures_or_a_bad_frame_never_another_error(kind, data):
    outcome(data.draw(damaged(kind)), colour=data.draw(st.booleans()))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for path in Path(sys.argv[1]).iterdir():
        outcome(path.read_bytes(), colour=True)
    # Not getrusage, which begins with the memory of the process that started this one.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak[1]) // 1024)
