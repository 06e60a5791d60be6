"""PNG, of 8 and of 16 bits."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import cv2
import numpy as np

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats.picture import Levels, Picture, check_size, library_errors

MAGIC = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 4, 6: 4}  # that OpenCV makes of a colour type; 4 has gray in all three
_COLOURED = (2, 3, 6)
_FROM_BGR = (cv2.COLOR_BGR2GRAY, cv2.COLOR_BGR2RGB)  # ITU-R BT.601
_FROM_BGRA = (cv2.COLOR_BGRA2GRAY, cv2.COLOR_BGRA2RGB)


def decode_png(data: bytes, *, colour: bool = False) -> Picture:
    """A PNG file; the first picture of an animation, transparency ignored.

    Raises
    ------
    BadFrame
        ``corrupt``: cut off, a wrong checksum, damaged inside. ``too-large``.

    Notes
    -----
    Only the chunks that make the picture reach the decoder: text and profiles, which may unpack to
    gigabytes, and gamma, which would change levels, do not (PNG, 3rd edition, section 5.6).
    """
    kept = list(_needed_chunks(data))
    header = bytes(kept[0])
    if header[4:8] != b"IHDR" or len(header) != 25:
        raise BadFrame("corrupt", "a PNG file whose first chunk is no header")
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (8, 12))
    depth, colour_type = header[16], header[17]
    channels = _CHANNELS.get(colour_type, 4)
    check_size(height, width, channels * max(1, depth // 8))
    with library_errors("PNG"):
        image = cv2.imdecode(np.frombuffer(b"".join((MAGIC, *kept)), np.uint8), cv2.IMREAD_UNCHANGED)
    return as_picture(image, colour=colour and colour_type in _COLOURED)


def as_picture(image: Levels | None, *, colour: bool) -> Picture:
    """A picture of what OpenCV decoded: (y, x), BGR or BGRA; None where it could not."""
    if image is None:
        raise BadFrame("corrupt", "the picture is damaged inside")
    if image.ndim == 2:
        return Picture(image)
    to_gray, to_rgb = _FROM_BGRA if image.shape[2] == 4 else _FROM_BGR
    return Picture(cv2.cvtColor(image, to_gray), cv2.cvtColor(image, to_rgb) if colour else None)


def _needed_chunks(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    place, kind = len(MAGIC), b""
    while kind != b"IEND":
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        if end > len(data) or len(kind) < 4:
            raise BadFrame("corrupt", f"a PNG file cut off at {len(data)} bytes")
        if kind in _NEEDED:
            if zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                raise BadFrame("corrupt", f"wrong checksum of the {kind.decode()} chunk at byte {place}")
            yield view[place:end]
        place = end
