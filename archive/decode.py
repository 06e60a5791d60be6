"""Image bytes to gray levels."""

from nightsift.archive.formats.jpeg import decode_gray
from nightsift.archive.formats.picture import Gray

__all__ = ["Gray", "decode_gray"]
