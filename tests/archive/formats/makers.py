"""Files of every format, made as cameras make them."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
from astropy.io import fits

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (60, 80, 3), dtype=np.uint8)
SMOOTH = cv2.GaussianBlur(RGB, (0, 0), 3)
DEEP = RANDOM.integers(0, 65536, (60, 80), dtype=np.uint16)


def jpeg(rgb=RGB, *options):
    return cv2.imencode(".jpg", rgb[..., ::-1] if rgb.ndim == 3 else rgb, list(options))[1].tobytes()


def with_frame_header(data, *, marker=None, precision=None, size=None):
    """A JPEG whose frame header tells something else; ``size`` is (height, width)."""
    changed = bytearray(data)
    at = next(data.index(bytes((0xFF, m))) for m in (0xC0, 0xC2) if bytes((0xFF, m)) in data)
    if marker is not None:
        changed[at + 1] = marker
    if precision is not None:
        changed[at + 4] = precision
    if size is not None:
        changed[at + 5 : at + 9] = struct.pack(">HH", *size)
    return bytes(changed)


def with_orientation(data, orientation=6):
    """A JPEG whose EXIF asks viewers to turn it."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_chunks(width, height, depth, colour_type, raw, extra=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(raw))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")


def png(image):
    return cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()


def bmp(image):
    return cv2.imencode(".bmp", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()


def fits_file(array, **header):
    written = io.BytesIO()
    fits.PrimaryHDU(array, fits.Header(header)).writeto(written)
    return written.getvalue()


def raw_fits(*cards, data=b""):
    """A FITS file of these header lines, right or wrong."""
    lines = "".join(f"{card:80}" for card in ("SIMPLE  =                    T", *cards, "END"))
    return _blocks(lines.encode(), b" ") + _blocks(data, b"\0")


def _blocks(data, fill):
    return data.ljust(-(-len(data) // 2880) * 2880, fill)


def ff_file(maximum, timemap, *, without=(), **header):
    planes = {"MAXPIXEL": maximum, "MAXFRAME": timemap, "AVEPIXEL": maximum // 2, "STDPIXEL": maximum // 9}
    cards = {"NROWS": maximum.shape[0], "NCOLS": maximum.shape[1], "NFRAMES": 256, "FPS": 25.0} | header
    units = [fits.ImageHDU(plane, name=name) for name, plane in planes.items() if name not in without]
    written = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(cards)), *units]).writeto(written)
    return written.getvalue()


def video(frames, container="matroska", codec="ffv1", pixels="gray", rate=25, times_ms=None, **options):
    """A video of (y, x) uint8 frames; ffv1 keeps every level."""
    written = io.BytesIO()
    with av.open(written, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = pixels
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, gray in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(gray, format="gray").reformat(format=pixels)
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[number], stream.codec_context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return written.getvalue()


def sound(container="mp4", codec="aac"):
    written = io.BytesIO()
    with av.open(written, "w", format=container) as out:
        stream = out.add_stream(codec, rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), format="s16", layout="mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return written.getvalue()
