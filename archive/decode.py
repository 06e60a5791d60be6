"""Image bytes to gray levels."""

from __future__ import annotations

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from nightsift.archive.errors import BadFrame

Gray = NDArray[np.uint8]


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
        With reason ``corrupt``: empty, not a JPEG, cut off, or damaged inside.

    Notes
    -----
    OpenCV fills what it cannot read with gray and says nothing; this decoder takes libjpeg's warnings for
    errors.
    """
    if not data:
        raise BadFrame("corrupt", "the file is empty")
    if not data.startswith(b"\xff\xd8"):
        raise BadFrame("corrupt", f"expected a JPEG, found a file that begins with {data[:4].hex(' ')}")
    try:
        image: Gray = simplejpeg.decode_jpeg(data, colorspace="GRAY")[:, :, 0]
    except ValueError as error:
        raise BadFrame("corrupt", f"{error}, in a file of {len(data)} bytes") from error
    return image
