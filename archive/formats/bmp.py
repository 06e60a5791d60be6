"""BMP: masks and flat fields of RMS."""

from __future__ import annotations

import cv2
import numpy as np

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats.picture import Picture, check_size, library_errors
from nightsift.archive.formats.png import as_picture

MAGIC = b"BM"


def decode_bmp(data: bytes, *, colour: bool = False) -> Picture:
    """A BMP file.

    Raises
    ------
    BadFrame
        ``corrupt``, ``too-large``.
    """
    if len(data) < 26:
        raise BadFrame("corrupt", f"a BMP file cut off at {len(data)} bytes")
    old = int.from_bytes(data[14:18], "little") == 12
    places = (slice(18, 20), slice(20, 22)) if old else (slice(18, 22), slice(22, 26))
    width, height = (int.from_bytes(data[place], "little", signed=not old) for place in places)
    check_size(abs(height), width, 4)  # a negative height: rows from the top
    with library_errors("BMP"):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return as_picture(image, colour=colour)
