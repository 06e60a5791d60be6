"""What a decoder hands out, and the bounds that every decoder keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.errors import BadFrame

Gray = NDArray[np.uint8]
Levels = NDArray[np.uint8] | NDArray[np.uint16]

MAX_PIXELS = 200_000_000
MAX_FILE_BYTES = 2**29  # of a still: it is held whole while it is decoded


@dataclass(frozen=True, eq=False)
class Picture:
    """One frame as its file gives it.

    Attributes
    ----------
    gray
        (y, x) luma or monochrome levels, uint8 or uint16 as in the file.
    colour
        (y, x, 3) RGB of the same dtype; None unless it was asked for and the file has colour.
    timemap
        (y, x) number of the short exposure at which ``gray`` was reached, from 0; None for a still.
    short_exposures
        How many short exposures are behind ``gray``.
    rate_hz
        Of the short exposures; None for a still.
    first
        Number of the first short exposure within its file.
    start_utc, exposure_s
        Start and length of the exposure where the file itself tells them.
    camera_jpeg
        The file is a JPEG whose luma is ``gray``.
    """

    gray: Levels
    colour: Levels | None = None
    timemap: Levels | None = None
    short_exposures: int = 1
    rate_hz: float | None = None
    first: int = 0
    start_utc: datetime | None = None
    exposure_s: float | None = None
    camera_jpeg: bool = False


def check_size(height: int, width: int) -> None:
    """Refuse a picture by the size its header announces.

    Raises
    ------
    BadFrame
        ``corrupt`` without any pixel, ``too-large`` with more than `MAX_PIXELS`.
    """
    if height < 1 or width < 1:
        raise BadFrame("corrupt", f"expected a picture, found a size of {width} x {height} px")
    if height * width > MAX_PIXELS:
        raise BadFrame(
            "too-large", f"expected at most {MAX_PIXELS} pixels, found {width} x {height} = {width * height}"
        )


def read_whole(source: bytes | BinaryIO) -> bytes:
    """The bytes of a still.

    Raises
    ------
    BadFrame
        ``too-large``: more than `MAX_FILE_BYTES`.
    """
    data = source if isinstance(source, bytes) else source.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise BadFrame("too-large", f"expected a file of at most {MAX_FILE_BYTES} bytes, found more")
    return data
