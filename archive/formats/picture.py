"""What a decoder hands out, and the bounds that every decoder keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.errors import BadFrame

Gray = NDArray[np.uint8]
Levels = NDArray[np.uint8] | NDArray[np.uint16]

MAX_PIXELS = 200_000_000
MAX_BYTES = 2**28  # of a still's file, and again of its samples: with their copies about 1 GiB


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
    offset_s
        From the start of the file's first short exposure to the start of this picture's; 0 for a still.
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
    offset_s: float | None = 0.0
    start_utc: datetime | None = None
    exposure_s: float | None = None
    camera_jpeg: bool = False


def check_size(height: int, width: int, bytes_per_pixel: int = 1) -> None:
    """Refuse a picture by the size that its header announces.

    Parameters
    ----------
    height, width
        In pixels.
    bytes_per_pixel
        That decoding holds for each.

    Raises
    ------
    BadFrame
        ``corrupt`` without any pixel; ``too-large`` above `MAX_PIXELS` or `MAX_BYTES`.
    """
    if height < 1 or width < 1:
        raise BadFrame("corrupt", f"expected a picture, found a size of {width} x {height} px")
    pixels = height * width
    if pixels > MAX_PIXELS or pixels * bytes_per_pixel > MAX_BYTES:
        allowed = min(MAX_PIXELS, MAX_BYTES // bytes_per_pixel)
        raise BadFrame("too-large", f"expected at most {allowed} pixels, found {width} x {height} = {pixels}")


@contextmanager
def library_errors(what: str) -> Iterator[None]:
    """Whatever a library raises over a damaged file becomes the file's `BadFrame`."""
    try:
        yield
    except BadFrame:
        raise
    except MemoryError as error:
        raise BadFrame("too-large", f"{what}: more memory is asked for than there is") from error
    except Exception as error:  # libraries document no complete list for hostile bytes
        raise BadFrame("corrupt", f"{what}: {type(error).__name__}: {error}") from error
