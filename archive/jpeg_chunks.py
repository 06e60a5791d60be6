"""JPEG files as the chunks of a Zarr array: what a camera wrote is kept as it is, and read as gray levels.

The codec is named and configured as that of imagecodecs 2026.8 and later, which reads such an array without
Nightsift where ``imagecodecs-zarr`` is installed (Python 3.12 and later).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import numpy as np
import simplejpeg
import zarr
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer

from nightsift.archive.shards import ChunkWriter

CODEC = "imagecodecs_jpeg"

Colours = Literal["GRAYSCALE", "RGB"]
_PIXELS: Mapping[Colours, str] = {"GRAYSCALE": "GRAY", "RGB": "RGB"}


@dataclass(frozen=True)
class JpegCodec(ArrayBytesCodec):
    """One JPEG file a chunk; it only decodes, since encoding again would change the pixels.

    Attributes
    ----------
    colorspace_data
        ``GRAYSCALE``: the luma of a colour or gray JPEG, chunks (1, y, x). ``RGB``: chunks (1, y, x, 3).
    """

    is_fixed_size = False

    colorspace_data: Colours = "GRAYSCALE"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the codec's metadata.

        Raises
        ------
        ValueError
            It asks for more than this codec can do.
        """
        wanted: dict[str, Any] = {**data.get("configuration", {})}
        colours = wanted.pop("colorspace_data", None)
        if colours not in _PIXELS or wanted:
            raise ValueError(
                f"codec {CODEC}: expected colorspace_data of {' or '.join(_PIXELS)} and nothing else, "
                f"found {data.get('configuration')}; install imagecodecs-zarr to read it"
            )
        return cls(colours)

    def to_dict(self) -> dict[str, Any]:
        """The codec's metadata."""
        return {"name": CODEC, "configuration": {"colorspace_data": self.colorspace_data}}

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        pixels = simplejpeg.decode_jpeg(
            chunk_bytes.as_buffer_like(), colorspace=_PIXELS[self.colorspace_data]
        )
        return chunk_spec.prototype.nd_buffer.from_numpy_array(pixels.reshape(chunk_spec.shape))

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        raise NotImplementedError(
            "arrays of JPEG files are written from files, not from pixels: "
            "drop the encoding (xarray: drop_encoding()) to write the pixels in another form"
        )

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return self._encode_sync(chunk_array, chunk_spec)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before a file is there."""
        raise NotImplementedError


class JpegShardWriter(ChunkWriter):
    """Appends JPEG files of the array's frame size and, for colour, of three components."""


def add_jpeg_array(
    group: zarr.Group,
    name: str,
    *,
    length: int,
    frame_shape: tuple[int, ...],
    dims: tuple[str, ...] = ("y", "x"),
    shard: int,
    attributes: Mapping[str, Any],
) -> JpegShardWriter:
    """Make a (time, y, x) array of gray levels, or (time, y, x, 3) of colours, that holds JPEG files.

    Parameters
    ----------
    length
        About how many frames will come; the array is cut or grown to what is written.
    shard
        Frames a shard.
    """
    colours: Colours = "GRAYSCALE" if len(frame_shape) == 2 else "RGB"
    array = group.create_array(
        name,
        shape=(max(length, 1), *frame_shape),
        chunks=(1, *frame_shape),
        shards=(shard, *frame_shape),
        dtype=np.uint8,
        filters=None,
        serializer=cast(Any, JpegCodec(colours)),
        compressors=None,
        dimension_names=("time", *dims),
        attributes=dict(attributes),
    )
    return JpegShardWriter(array, shard)
