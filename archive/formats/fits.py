"""FITS stills and the FF files of RMS.

Headers are parsed by astropy. The data are read by the rule of the standard (FITS 4.0, section 4.4.1),
so that no announced size is believed before it was checked against the file.

Rows are kept in the order of the file: the first row stored is y = 0, and the centre of FITS pixel
(i, j) is x_px = i - 1, y_px = j - 1. All-sky cameras store the top row first; that it is so on the real
frame of pyASC was checked with Moon, planets and stars. ROWORDER is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from math import isfinite
from typing import Any, Literal

import cv2
import numpy as np
from astropy.io.fits import Header

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats.picture import MAX_BYTES, Levels, Picture, check_size, library_errors

FitsTime = Literal["start", "middle", "end"]

MAGIC = b"SIMPLE  ="
FF_PLANES = ("MAXPIXEL", "MAXFRAME", "AVEPIXEL", "STDPIXEL")
_BLOCK = 2880
_MAX_HEADER = 400 * _BLOCK
_MAX_UNITS = 16
_EXPOSURES = ("EXPTIME", "EXPOSURE", "XPOSURE", "TELAPSE")
_ELAPSED: dict[str, float] = {"start": 0.0, "middle": 0.5, "end": 1.0}
_MJD_ZERO = datetime(1858, 11, 17, tzinfo=UTC)


@dataclass(frozen=True)
class _Unit:
    """A header and where its data begin."""

    header: Header
    data_at: int

    @property
    def name(self) -> str:
        return str(self.header.get("EXTNAME", "")).strip().upper()

    @property
    def shape(self) -> tuple[int, ...]:
        """Numpy's order; empty without data."""
        axes = _whole(self.header, "NAXIS", 0, 999)
        return tuple(_whole(self.header, f"NAXIS{axis}", 0, MAX_BYTES) for axis in range(axes, 0, -1))

    @property
    def data_bytes(self) -> int:
        shape = self.shape
        values = 1 if shape else 0
        for length in shape:  # Python's integers: nothing overflows
            values *= length
        groups = _whole(self.header, "GCOUNT", 0, MAX_BYTES, 1)
        extra = _whole(self.header, "PCOUNT", 0, MAX_BYTES, 0)
        return abs(_whole(self.header, "BITPIX", -64, 64)) // 8 * groups * (extra + values)


def decode_fits(
    data: bytes, *, colour: bool = False, fits_time: FitsTime = "start", zone: tzinfo = UTC
) -> Picture:
    """An FF file of RMS, or the first image of a FITS file.

    Parameters
    ----------
    data
        The bytes of one file.
    colour
        Keep the colour of a cube of three planes.
    fits_time, zone
        See `exposure`.

    Raises
    ------
    BadFrame
        ``corrupt``; ``too-large``; ``unsupported``: a compressed image, values that are not 8- or 16-bit
        levels, axes that are neither (y, x) nor (3, y, x).
    """
    with library_errors("FITS"):
        units = list(_units(data))
        if _is_ff_file(units[0].header) or {unit.name for unit in units}.intersection(FF_PLANES):
            return _ff_file(data, units)
        return _still(data, _image(units), units[0].header, colour, fits_time, zone)


def header_exposure(
    head: bytes, fits_time: FitsTime = "start", zone: tzinfo = UTC
) -> tuple[datetime | None, float | None]:
    """As `exposure`, from the first bytes of a file; (None, None) where they tell nothing."""
    try:
        with library_errors("FITS"):
            header = Header.fromstring(head[: _header_end(head, 0)])
            return exposure(header, fits_time, zone)
    except BadFrame:
        return None, None  # decoding the file will tell its reason


def exposure(
    header: Header, fits_time: FitsTime = "start", zone: tzinfo = UTC
) -> tuple[datetime | None, float | None]:
    """Start (UTC) and length (s) of the exposure that a header tells.

    Parameters
    ----------
    header
        Of the image, or of an FF file.
    fits_time
        The moment of the exposure that DATE-OBS means at this station.
    zone
        Of dates that name none; the standard says UTC, some cameras write civil time.

    Returns
    -------
    start_utc, exposure_s
        Each None where it is not known: a date without a time of day, a time scale other than UTC.

    Notes
    -----
    FITS 4.0, section 9: DATE-BEG, DATE-OBS (with TIME-OBS of old), DATE-AVG, DATE-END in this order, each
    before its MJD twin. EXPTIME, EXPOSURE, XPOSURE or TELAPSE; of an FF file NFRAMES / FPS.
    """
    if _is_ff_file(header):
        fits_time = "start"  # RMS: of the first of the short exposures
    length = _exposure_s(header)
    for suffix, elapsed in (("BEG", 0.0), ("OBS", _ELAPSED[fits_time]), ("AVG", 0.5), ("END", 1.0)):
        moment = _moment(header, suffix, zone)
        if moment is not None and (elapsed == 0 or length is not None):
            return moment - timedelta(seconds=elapsed * (length or 0)), length
    return None, length


def _is_ff_file(primary: Header) -> bool:
    return primary.get("NAXIS") == 0 and "NFRAMES" in primary


def _exposure_s(header: Header) -> float | None:
    if _is_ff_file(header):
        frames, rate = _number(header, "NFRAMES"), _number(header, "FPS")
        return frames / rate if frames and rate else None
    return next((value for name in _EXPOSURES if (value := _number(header, name))), None)


def _number(header: Header, name: str) -> float | None:
    try:
        value = float(header.get(name, "absent"))
    except (TypeError, ValueError):
        return None
    return value if isfinite(value) and 0 < value < 1e7 else None


def _moment(header: Header, suffix: str, zone: tzinfo) -> datetime | None:
    """A moment by DATE-<suffix> or MJD-<suffix>."""
    scale = str(header.get("TIMESYS", "")).strip().upper()
    if scale not in ("", "UTC"):
        return None
    mjd = _number(header, f"MJD-{suffix}")
    try:
        text = _iso_date(header, suffix)
        if text is not None:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC if scale else zone)).astimezone(
                UTC
            )
        return _MJD_ZERO + timedelta(days=mjd) if mjd else None
    except (ValueError, OverflowError):
        return None


def _iso_date(header: Header, suffix: str) -> str | None:
    """Date and time of day; dates before 1999 are DD/MM/YY (FITS 4.0, section 4.4.2.1)."""
    date = str(header.get(f"DATE-{suffix}", "")).strip()
    clock = str(header.get("TIME-OBS", "")).strip() if suffix == "OBS" else ""
    if len(date) == 8 and date[2::3] == "//":
        date = f"19{date[6:]}-{date[3:5]}-{date[:2]}"
    if "T" not in date and clock:
        date = f"{date}T{clock}"
    return date if "T" in date else None


def _still(
    data: bytes, unit: _Unit, primary: Header, colour: bool, fits_time: FitsTime, zone: tzinfo
) -> Picture:
    start_utc, exposure_s = exposure(unit.header, fits_time, zone)
    if unit.header is not primary and start_utc is None:
        start_utc, length = exposure(primary, fits_time, zone)
        exposure_s = exposure_s or length
    levels = _levels(_stored(data, unit), unit.header)
    if levels.ndim == 2:
        return Picture(levels, start_utc=start_utc, exposure_s=exposure_s)
    rgb = cv2.merge(list(levels))
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)  # ITU-R BT.601
    return Picture(gray, rgb if colour else None, start_utc=start_utc, exposure_s=exposure_s)


def _image(units: list[_Unit]) -> _Unit:
    for unit in units:
        if unit.header.get("ZIMAGE") is True:
            raise BadFrame("unsupported", "a compressed FITS image: unpack it with funpack")
        if len(unit.shape) >= 2 and unit.header.get("XTENSION", "IMAGE").strip() == "IMAGE":
            return unit
    raise BadFrame("corrupt", f"no image in the {len(units)} units of this FITS file")


def _ff_file(data: bytes, units: list[_Unit]) -> Picture:
    planes = {unit.name: unit for unit in units}
    missing = [name for name in FF_PLANES if name not in planes]
    if missing:
        raise BadFrame("corrupt", f"an FF file without {', '.join(missing)}")
    header = units[0].header
    stored = [_stored(data, planes[name]) for name in FF_PLANES]
    if stored[0].ndim != 2 or any(plane.shape != stored[0].shape for plane in stored):
        raise BadFrame("corrupt", "the planes of an FF file differ in size")
    maximum, timemap = (_levels(stored[k], planes[FF_PLANES[k]].header) for k in (0, 1))
    start_utc, exposure_s = exposure(header)
    return Picture(
        maximum,
        timemap=timemap,
        short_exposures=_whole(header, "NFRAMES", 1, 2**16),
        rate_hz=_number(header, "FPS"),
        start_utc=start_utc,
        exposure_s=exposure_s,
    )


def _stored(data: bytes, unit: _Unit) -> np.ndarray[Any, Any]:
    """The values of an image as they lie in the file: (y, x) or (3, y, x), of 8 or 16 bits."""
    bits = _whole(unit.header, "BITPIX", -64, 64)
    if bits not in (8, 16):
        raise BadFrame("unsupported", f"expected levels of 8 or 16 bits, found BITPIX {bits}")
    shape = unit.shape
    shape = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 3):
        raise BadFrame("unsupported", f"expected axes (y, x) or (3, y, x), found {shape}")
    check_size(shape[-2], shape[-1], bits // 8 * (3 if len(shape) == 3 else 1))
    if len(data) < unit.data_at + unit.data_bytes:
        raise BadFrame(
            "corrupt", f"cut off: expected {unit.data_at + unit.data_bytes} bytes, found {len(data)}"
        )
    stored = np.frombuffer(data, f">i{bits // 8}" if bits == 16 else "u1", np.prod(shape), unit.data_at)
    return stored.reshape(shape)


def _levels(stored: np.ndarray[Any, Any], header: Header) -> Levels:
    """Stored values with BZERO added (FITS 4.0, section 4.4.2.5), as levels of their own depth.

    The level -1 is taken for 0: pyASC's BZERO of 32767 makes it of the darkest value.
    """
    scale, zero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
    if scale != 1 or zero != int(zero):
        raise BadFrame("unsupported", f"expected BSCALE 1 and a whole BZERO, found {scale} and {zero}")
    if stored.dtype == np.uint8 and zero == 0:
        return stored.copy()
    highest = 255 if stored.dtype == np.uint8 else 65535
    low, high = int(stored.min()) + int(zero), int(stored.max()) + int(zero)
    if low < -1 or high > highest:
        raise BadFrame("unsupported", f"expected levels of 0 to {highest}, found {low} to {high}")
    dtype: Any = np.uint8 if highest == 255 else np.uint16
    levels: Any = stored.astype(dtype)  # int16 wraps here, and back in the addition
    levels += dtype(int(zero) % (highest + 1))
    if low == -1:
        levels[levels == highest] = 0
    result: Levels = levels
    return result


def _units(data: bytes) -> Iterator[_Unit]:
    place = 0
    for _ in range(_MAX_UNITS):
        end = _header_end(data, place)
        unit = _Unit(Header.fromstring(data[place:end]), end)
        yield unit
        place = end + -(-unit.data_bytes // _BLOCK) * _BLOCK
        if not data.startswith(b"XTENSION=", place):
            return


def _header_end(data: bytes, place: int) -> int:
    for end in range(place + _BLOCK, min(place + _MAX_HEADER, len(data)) + 1, _BLOCK):
        if any(data[card : card + 80].rstrip() == b"END" for card in range(end - _BLOCK, end, 80)):
            return end
    raise BadFrame("corrupt", f"a FITS header without END, in a file of {len(data)} bytes")


def _whole(header: Header, name: str, low: int, high: int, default: int | None = None) -> int:
    value = header.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise BadFrame("corrupt", f"{name}: expected a whole number of {low} to {high}, found {value!r}")
    return value
