"""Image formats: the bytes of one archive object to frames.

The format is told by the first bytes of the object, never by the ending of its key. The decoders of rarer
formats are imported when the first file asks for them: astropy and FFmpeg take a second to load.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from io import SEEK_CUR
from typing import BinaryIO, Literal

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats import bmp, jpeg, png
from nightsift.archive.formats.picture import MAX_BYTES, Gray, Levels, Picture

__all__ = ["FitsTime", "Gray", "Levels", "Picture", "header_exposure", "pictures"]

FitsTime = Literal["start", "middle", "end"]

_FITS = b"SIMPLE  ="
_HEAD_BYTES = 12
_VIDEO_HEADS = {b"FLV\x01": "flv", b"\x1aE\xdf\xa3": "matroska"}
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_NOT_READ = {
    b"II*\x00": "TIFF or a camera's raw file",
    b"MM\x00*": "TIFF or a camera's raw file",
    b"GIF8": "GIF",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
    b"RIFF": "WebP or another RIFF file",
    b"\x00\x00\x00\x0cjP": "JPEG 2000",
}


def pictures(
    key: str,
    source: bytes | BinaryIO,
    *,
    colour: bool = False,
    fits_time: FitsTime = "start",
    fits_zone: tzinfo = UTC,
) -> Iterator[Picture]:
    """The frames in an object: one of a still or an FF file, one per block of 256 of a video.

    Parameters
    ----------
    key
        The object's name, for messages only.
    source
        Its bytes, or a binary file at its start. A video is streamed, from a file that can be sought.
    colour
        Also decode colour, where there is any.
    fits_time, fits_zone
        What DATE-OBS of a FITS file means at this station, and the zone of dates that name none.

    Raises
    ------
    BadFrame
        ``corrupt``, ``unsupported`` or ``too-large``; of a video possibly after some blocks were given.
        What ``source`` itself raises passes through.
    """
    head = source[:_HEAD_BYTES] if isinstance(source, bytes) else source.read(_HEAD_BYTES)
    container = _container(head)
    if container is not None:
        from nightsift.archive.formats.video import decode_video

        if not isinstance(source, bytes):
            source.seek(-len(head), SEEK_CUR)
        yield from decode_video(source, container, colour=colour)
        return
    data = source if isinstance(source, bytes) else head + source.read(MAX_BYTES)
    yield _still(key, data, colour, fits_time, fits_zone)


def header_exposure(
    head: bytes, fits_time: FitsTime = "start", fits_zone: tzinfo = UTC
) -> tuple[datetime | None, float | None]:
    """Start (UTC) and length (s) of the exposure, as the first bytes of a file tell them.

    Parameters
    ----------
    head
        The first 28,800 bytes or so of a FITS file; of another file nothing is told.
    fits_time, fits_zone
        As in `pictures`.

    Returns
    -------
    start_utc, exposure_s
        Each None where the file does not tell it.
    """
    if not head.startswith(_FITS):
        return None, None
    from nightsift.archive.formats import fits

    return fits.header_exposure(head, fits_time, fits_zone)


def _still(key: str, data: bytes, colour: bool, fits_time: FitsTime, zone: tzinfo) -> Picture:
    if len(data) > MAX_BYTES:
        raise BadFrame("too-large", f"expected a file of at most {MAX_BYTES} bytes, found more")
    if data.startswith(jpeg.MAGIC):
        return jpeg.decode_jpeg(data, colour=colour)
    if data.startswith(png.MAGIC):
        return png.decode_png(data, colour=colour)
    if data.startswith(bmp.MAGIC):
        return bmp.decode_bmp(data, colour=colour)
    if data.startswith(_FITS):
        from nightsift.archive.formats.fits import decode_fits

        return decode_fits(data, colour=colour, fits_time=fits_time, zone=zone)
    for magic, name in _NOT_READ.items():
        if data.startswith(magic):
            raise BadFrame("unsupported", f"{key} is {name}")
    begins = data[:8].hex(" ") or "nothing: the file is empty"
    raise BadFrame("corrupt", f"{key}: expected a picture or a video, found a file that begins with {begins}")


def _container(head: bytes) -> str | None:
    """FFmpeg's name of the container of a video; None for anything else."""
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        return "avi"
    if head[4:8] in _MP4_BOXES:
        return "mov"
    return _VIDEO_HEADS.get(head[:4])
