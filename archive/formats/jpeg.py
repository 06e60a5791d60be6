"""JPEG: the luma as it was coded."""

from __future__ import annotations

from dataclasses import dataclass

import simplejpeg

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats.picture import Gray, Picture, check_size

MAGIC = b"\xff\xd8"
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))


@dataclass(frozen=True)
class _FrameHeader:
    marker: int
    precision: int
    height: int
    width: int
    components: int


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
    wanted = colour and _frame_header(data).components == 3
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
        ``corrupt``: empty, not a JPEG, cut off, or damaged inside. ``unsupported``: CMYK, 12-bit or
        lossless. ``too-large``: see `nightsift.archive.formats.picture.MAX_PIXELS`.

    Notes
    -----
    OpenCV fills what it cannot read with gray and says nothing; this decoder takes libjpeg's warnings for
    errors.
    """
    if not data:
        raise BadFrame("corrupt", "the file is empty")
    if not data.startswith(MAGIC):
        raise BadFrame("corrupt", f"expected a JPEG, found a file that begins with {data[:4].hex(' ')}")
    header = _frame_header(data)
    if header.precision != 8:
        raise BadFrame("unsupported", f"expected a JPEG of 8 bits, found {header.precision} bits")
    if header.components not in (1, 3):
        raise BadFrame("unsupported", f"expected gray or three colours, found {header.components} (CMYK)")
    check_size(header.height, header.width)
    gray: Gray = _decoded(data, "GRAY")[:, :, 0]
    return gray


def _decoded(data: bytes, colorspace: str) -> Gray:
    try:
        image: Gray = simplejpeg.decode_jpeg(data, colorspace=colorspace)
    except ValueError as error:
        reason = "unsupported" if str(error).startswith("Unsupported") else "corrupt"
        raise BadFrame(reason, f"{error}, in a file of {len(data)} bytes") from error
    return image


def _frame_header(data: bytes) -> _FrameHeader:
    """The frame header (ITU-T T.81, B.2.2), found by walking the marker segments before it."""
    place = 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 10 <= len(data):
        marker = data[place + 1]
        if marker in _FRAME_MARKERS:
            height, width = (int.from_bytes(data[place + k : place + k + 2], "big") for k in (5, 7))
            return _FrameHeader(marker, data[place + 4], height, width, data[place + 9])
        if marker == 0xFF:
            place += 1
        elif marker in _WITHOUT_LENGTH or marker == 0:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    raise BadFrame("corrupt", f"no frame header, in a file of {len(data)} bytes")
