"""JPEG: the luma as it was coded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import simplejpeg

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats.picture import Gray, Picture, check_size

MAGIC = b"\xff\xd8"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)
_PROGRESSIVE = (0xC2, 0xCA)
_SCAN = 0xDA
_MAX_SCANS = 100  # of a progressive file: each costs a pass over the whole picture


@dataclass(frozen=True)
class _Header:
    """What the frame header and the first scan header tell (ITU-T T.81, B.2.2 and B.2.3)."""

    process: int
    precision: int
    height: int
    width: int
    components: int
    one_scan: bool


def decode_jpeg(data: bytes, *, colour: bool = False) -> Picture:
    """A JPEG file.

    Raises
    ------
    BadFrame
        As `decode_gray`.

    Notes
    -----
    The orientation that EXIF asks for is not applied: pixels stay where the sensor had them.
    """
    gray = decode_gray(data)
    wanted = colour and _header(data).components == 3
    if wanted:
        check_size(gray.shape[0], gray.shape[1], 4)
    return Picture(gray, colour=_decoded(data, "RGB") if wanted else None, camera_jpeg=True)


def decode_gray(data: bytes) -> Gray:
    """The luma of a JPEG, bit for bit as guAIta reads it (Regordosa 2021: ``cv2.imread(path, 0)``).

    Parameters
    ----------
    data
        The bytes of one file.

    Returns
    -------
    (y, x) uint8 array

    Raises
    ------
    BadFrame
        ``corrupt``: empty, not a JPEG, cut off, or damaged inside. ``unsupported``: CMYK, 12-bit, lossless
        or hierarchical. ``too-large``: see `nightsift.archive.formats.picture.check_size`; a progressive
        file needs room for all its coefficients.

    Notes
    -----
    OpenCV fills what it cannot read with gray and says nothing; this decoder takes libjpeg's warnings for
    errors.
    """
    if not data:
        raise BadFrame("corrupt", "the file is empty")
    if not data.startswith(MAGIC):
        raise BadFrame("corrupt", f"expected a JPEG, found a file that begins with {data[:4].hex(' ')}")
    header = _header(data)
    if header.process not in _SEQUENTIAL + _PROGRESSIVE:
        raise BadFrame("unsupported", f"a lossless or hierarchical JPEG (marker {header.process:x})")
    if header.precision != 8:
        raise BadFrame("unsupported", f"expected a JPEG of 8 bits, found {header.precision} bits")
    if header.components not in (1, 3):
        raise BadFrame("unsupported", f"expected gray or three colours, found {header.components} (CMYK)")
    if header.one_scan:
        check_size(header.height, header.width)
    else:
        check_size(header.height, header.width, 2 * header.components)  # all coefficients are held
        _check_scans(data)
    gray: Gray = _decoded(data, "GRAY")[:, :, 0]
    return gray


def _decoded(data: bytes, colorspace: str) -> Gray:
    try:
        image: Gray = simplejpeg.decode_jpeg(data, colorspace=colorspace)
    except ValueError as error:
        reason = "unsupported" if str(error).startswith("Unsupported") else "corrupt"
        raise BadFrame(reason, f"{error}, in a file of {len(data)} bytes") from error
    return image


def _check_scans(data: bytes) -> None:
    scans = data.count(bytes((0xFF, _SCAN)))
    if scans > _MAX_SCANS:
        raise BadFrame("too-large", f"expected at most {_MAX_SCANS} scans, found {scans}")


def _header(data: bytes) -> _Header:
    frame = None
    for marker, segment in _segments(data):
        if marker in _FRAMES and frame is None and len(segment) >= 6:
            frame = (marker, segment)
        elif marker == _SCAN and frame is not None and segment:
            marker, body = frame
            height, width = (int.from_bytes(body[at : at + 2], "big") for at in (1, 3))
            one_scan = marker in _SEQUENTIAL and segment[0] == body[5]
            return _Header(marker, body[0], height, width, body[5], one_scan)
    raise BadFrame("corrupt", f"no picture behind the headers, in a file of {len(data)} bytes")


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each segment up to the first scan (ITU-T T.81, B.1.1)."""
    place = 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 4 <= len(data):
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1  # a fill byte
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD8:
            place += 2  # without a body
        else:
            end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
            yield marker, data[place + 4 : end]
            if marker == _SCAN:
                return
            place = end
