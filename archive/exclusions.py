"""Which pixels show the sky: a mask image, boxes of watermarks and the image circle of a station."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nightsift.archive.errors import ConfigurationError, NightsiftError
from nightsift.archive.stations import Box, Circle, Station

Sky = NDArray[np.bool_]

_MID_GRAY = 128


@dataclass(frozen=True)
class Exclusion:
    """The pixels of a station that do not count, small enough to travel to workers.

    Attributes
    ----------
    boxes
        (x0, y0, x1, y1) in pixels of the frame; x0 and y0 are excluded, x1 and y1 the first that are not.
        A box may reach beyond the frame, but not lie outside it.
    circle
        (x, y, r) in pixels; what lies farther than r from (x, y) is excluded.
    mask
        Path of an image of the frames' size; what is darker than mid-gray is excluded. That is RMS's
        ``mask.bmp`` and AllSky's mask.
    mask_sha256
        Digest of that file when it was configured.
    """

    boxes: tuple[Box, ...] = ()
    circle: Circle | None = None
    mask: str | None = None
    mask_sha256: str | None = None

    def __bool__(self) -> bool:
        return self != Exclusion()

    @property
    def content(self) -> dict[str, Any]:
        """What it excludes, without where the mask lies: all that a difference depends on."""
        return {"exclude_px": self.boxes, "circle_px": self.circle, "mask_sha256": self.mask_sha256}

    def sky(self, shape: tuple[int, int]) -> Sky | None:
        """Where frames of ``shape`` (y, x) show the sky; (y, x) bool, read-only, None if everywhere.

        Raises
        ------
        NightsiftError
            The mask is of another size or was changed since, a box lies outside the frame, or no sky is left.

        >>> Exclusion(boxes=((0, 0, 2, 1),)).sky((2, 3))
        array([[False, False,  True],
               [ True,  True,  True]])
        """
        return _sky(self, shape) if self else None


NO_EXCLUSION = Exclusion()


def read_exclusion(station: Station, folder: Path) -> Exclusion:
    """What a station excludes; a relative ``mask`` starts at ``folder``.

    Raises
    ------
    ConfigurationError
        The mask cannot be read, is no image, or excludes everything.
    """
    if station.mask is None:
        return Exclusion(station.exclude_px, station.circle_px)
    path = (folder / station.mask).resolve()
    wanted = "a PNG or BMP image of the size of the frames, black where the sky is hidden"
    mend = f"correct mask of station {station.id!r} in stations.toml"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the mask {path} cannot be read", expected=wanted, found=str(error), mend=mend
        ) from error
    seen = _decoded(data)
    if seen is None or not seen.any():
        found = "a black image" if seen is not None else "no image"
        raise ConfigurationError(f"the mask {path} hides the sky", expected=wanted, found=found, mend=mend)
    return Exclusion(station.exclude_px, station.circle_px, str(path), hashlib.sha256(data).hexdigest())


@lru_cache(maxsize=4)
def _sky(exclusion: Exclusion, shape: tuple[int, int]) -> Sky:
    seen = np.ones(shape, bool) if exclusion.mask is None else _mask(exclusion, shape)
    for box in exclusion.boxes:
        _exclude_box(seen, box)
    if exclusion.circle is not None:
        x, y, radius = exclusion.circle
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        seen &= (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    if not seen.any():
        raise NightsiftError(
            f"nothing is left of the sky in frames of {_size(shape)}",
            found=f"mask {exclusion.mask}, exclude_px {exclusion.boxes}, circle_px {exclusion.circle}",
            mend="correct mask, exclude_px and circle_px of the station in stations.toml",
        )
    seen.setflags(write=False)
    return seen


def _exclude_box(seen: Sky, box: Box) -> None:
    x0, y0, x1, y1 = box
    if x1 <= 0 or y1 <= 0 or x0 >= seen.shape[1] or y0 >= seen.shape[0]:
        raise NightsiftError(
            f"the box {list(box)} lies outside the frames",
            expected=f"x0, y0, x1, y1 within {_size(seen.shape)}",
            mend="correct exclude_px of the station in stations.toml",
        )
    seen[max(y0, 0) : y1, max(x0, 0) : x1] = False


def _mask(exclusion: Exclusion, shape: tuple[int, int]) -> Sky:
    path = Path(str(exclusion.mask))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NightsiftError(
            f"the mask {path} cannot be read",
            found=str(error),
            mend="bring it back, where every worker can read it, and run again",
        ) from error
    if hashlib.sha256(data).hexdigest() != exclusion.mask_sha256:
        raise NightsiftError(
            f"the mask {path} is not the one that this run began with",
            mend="run again: nights that the new mask changes are made anew",
        )
    seen = _decoded(data)
    if seen is None or seen.shape != shape:
        raise NightsiftError(
            f"the mask {path} does not fit the frames",
            expected=_size(shape),
            found=_size(seen.shape) if seen is not None else "no image",
            mend="draw the mask on one of the station's frames",
        )
    return seen


def _decoded(data: bytes) -> Sky | None:
    if not data.startswith((b"\x89PNG\r\n\x1a\n", b"BM")):
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:  # a size beyond OpenCV's limit
        return None
    return None if image is None else np.asarray(image >= _MID_GRAY)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} px"
