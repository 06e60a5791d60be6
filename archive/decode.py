"""Image bytes to gray levels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from nightsift.archive.errors import BadFrame

Gray = NDArray[np.uint8]


def decode_gray(data: bytes) -> Gray:
    """The luma of a JPEG, as guAIta reads it (Regordosa 2021, published code: ``cv2.imread(path, 0)``).

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
        With reason ``corrupt``: empty, not a JPEG, or cut off before its end.
    """
    if not data:
        raise BadFrame("corrupt", "the file is empty")
    if not data.startswith(b"\xff\xd8"):
        raise BadFrame("corrupt", f"expected a JPEG, found a file that begins with {data[:4].hex(' ')}")
    # The decoder fills a cut-off picture with gray and only warns. In the coded data FF is never followed by
    # D9 or DA, so that the last end marker of a whole file lies behind the start of its last scan.
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise BadFrame("corrupt", f"the JPEG is cut off after {len(data)} bytes: it has no end marker")
    try:
        image = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error as error:
        raise BadFrame("corrupt", f"the JPEG cannot be decoded: {error.err}") from error
    if image is None:
        raise BadFrame("corrupt", "the JPEG cannot be decoded")
    gray: Gray = image
    return gray
