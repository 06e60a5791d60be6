"""Whole shards of a Zarr array, built from chunks that are encoded already."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, ZstdCodec
from zarr.codecs.numcodecs import PackBits
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Chunk = bytes | memoryview

_MISSING = 2**64 - 1
# Noise repeats itself only by chance, but its bytes are not equally frequent: look for long repeats alone, in
# a small table and in strides, and code the rest by frequency.
_FOR_NOISE: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 1,
    zstd.CompressionParameter.strategy: zstd.Strategy.fast,
    zstd.CompressionParameter.min_match: 7,
    zstd.CompressionParameter.hash_log: 6,
}
_IN_STRIDES: dict[int, int] = {
    zstd.CompressionParameter.target_length: 8,
    1002: 1,  # ZSTD_c_literalCompressionMode, ZSTD_ps_enable: Python has no name for it
}


class _Compressor(threading.local):
    """One a thread: making one takes longer than to compress a small array."""

    def __init__(self) -> None:
        try:
            self.zstd = zstd.ZstdCompressor(options=_FOR_NOISE | _IN_STRIDES)
        except (ValueError, zstd.ZstdError):  # zstd may take an experimental parameter away
            self.zstd = zstd.ZstdCompressor(options=_FOR_NOISE)


_COMPRESSOR = _Compressor()


def compress(data: NDArray[Any]) -> bytes:
    """A zstd frame of night frames or of what was made of them, which are noise for the most part.

    In less than half the time of level 1; packed bits are as small, gray levels 6 % larger.
    """
    return _COMPRESSOR.zstd.compress(data.data, mode=zstd.ZstdCompressor.FLUSH_FRAME)


@dataclass(frozen=True)
class Encoding:
    """How chunks are compressed: as the array's metadata say it, and the function that does it.

    Zarr's own pipeline takes 4 ms more a frame of 1304 x 976 pixels, for its copies of whole shards.
    """

    compressor: Any
    encode: Callable[[NDArray[Any]], Chunk]
    filters: tuple[Any, ...] = ()


ZSTD = Encoding(ZstdCodec(level=1), compress)
LZ4 = Encoding(
    BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Blosc("lz4", 5, Blosc.BITSHUFFLE).encode
)


def packed_bits() -> Encoding:
    """Of boolean images that come as `nightsift.archive.kernels.Risen.bits`."""
    return Encoding(ZstdCodec(level=1), compress, (PackBits(),))


def encode_shard(chunks: Sequence[Chunk | None], slots: int) -> bytes:
    """Join encoded chunks to one shard.

    Parameters
    ----------
    chunks
        The shard's chunks in C order; None, and those after the last, are missing: they read as the fill
        value.
    slots
        Number of chunks that the shard has room for.

    Notes
    -----
    Zarr v3, codec ``sharding_indexed`` 1.0: the chunks one after the other, then an index of offset and
    length, little-endian uint64, 2^64 - 1 twice for a missing chunk, and the index' CRC32C.

    >>> len(encode_shard([b"abc", None], 4)) - (3 + 4 * 16 + 4)
    0
    """
    index = np.full((slots, 2), _MISSING, "<u8")
    place = 0
    for slot, chunk in enumerate(chunks):
        if chunk is not None:
            index[slot] = place, len(chunk)
            place += len(chunk)
    table = index.tobytes()
    checksum = google_crc32c.value(table).to_bytes(4, "little")
    return b"".join((*(chunk for chunk in chunks if chunk is not None), table, checksum))


@dataclass
class ChunkWriter:
    """Appends encoded chunks to an array along its first axis, in whole shards.

    A shard is sent while the next is gathered: at most two are in memory.

    Parameters
    ----------
    array
        Its chunks have length 1 along the first axis and are whole along the others; the index of a shard is
        at its end. It grows as needed.
    shard
        Length of a shard along the first axis.
    """

    array: zarr.Array[Any]
    shard: int
    length: int = 0
    _chunks: list[Chunk | None] = field(default_factory=list)
    _sender: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _sent: Future[None] | None = None

    def append(self, chunk: Chunk | None) -> None:
        """Add a chunk, as the array's inner codecs would have encoded it; None reads as the fill value."""
        self._chunks.append(chunk)
        if len(self._chunks) == self.shard:
            self._flush()

    def append_empty(self) -> None:
        """Add a chunk that reads as the fill value."""
        self.append(None)

    def close(self) -> None:
        """Write what is pending and cut the array to what was written."""
        if self._chunks:
            self._flush()
        if self._sent is not None:
            self._sent.result()
        self._sender.shutdown()
        self.array.resize((self.length, *self.array.shape[1:]))

    def _flush(self) -> None:
        if self._sent is not None:
            self._sent.result()
        number, chunks = self.length // self.shard, self._chunks
        self.length, self._chunks = self.length + len(chunks), []
        if self.length > self.array.shape[0]:
            self.array.resize((2 * self.length, *self.array.shape[1:]))
        if any(chunk is not None for chunk in chunks):
            self._sent = self._sender.submit(self._send, number, chunks)

    def _send(self, number: int, chunks: list[Chunk | None]) -> None:
        place = (number, *(0 for _ in self.array.shape[1:]))
        key = f"{self.array.path}/{self.array.metadata.encode_chunk_key(place)}"
        shard = default_buffer_prototype().buffer.from_bytes(encode_shard(chunks, self.shard))
        sync(self.array.store.set(key, shard))


@dataclass
class FrameWriter:
    """Appends frames to an array of one frame a chunk, each compressed as it comes."""

    chunks: ChunkWriter
    encode: Callable[[NDArray[Any]], Chunk]

    def append(self, frame: NDArray[Any]) -> None:
        """Add a C-contiguous frame of the array's shape and dtype, or what its filters make of one."""
        self.chunks.append(self.encode(frame))

    def append_empty(self) -> None:
        """Add a frame in which nothing is set."""
        self.chunks.append_empty()

    def close(self) -> None:
        """Write what is pending and cut the array to what was written."""
        self.chunks.close()
