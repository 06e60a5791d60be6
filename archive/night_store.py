"""One night's Zarr store: arrays along time, written in whole shards by one task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import ArrayLike, DTypeLike, NDArray
from zarr.codecs import ZstdCodec

from nightsift.archive.errors import NightsiftError
from nightsift.archive.faults import storage_errors
from nightsift.archive.stores import Workspace

# Measured best for noisy night frames: zstd 1 without shuffling (docs/decisions/0001-storage.md).
COMPRESSOR = ZstdCodec(level=1)
SHARD_FRAMES = 20
SHARD_BYTES = 64 * 2**20

TIME_ATTRIBUTES = {
    "standard_name": "time",
    "long_name": "start of the exposure, UTC",
    "units": "milliseconds since 1970-01-01 00:00:00",
    "calendar": "proleptic_gregorian",
    "axis": "T",
}


def shard_frames(frame_bytes: int) -> int:
    """How many frames a shard holds: up to 20, and no more than 64 MiB before compression.

    >>> shard_frames(1304 * 976), shard_frames(7360 * 4912)
    (20, 1)
    """
    return max(1, min(SHARD_FRAMES, SHARD_BYTES // max(1, frame_bytes)))


@dataclass
class ShardWriter:
    """Appends frames to an array; holds at most one shard in memory."""

    array: zarr.Array[Any]
    shard: int
    length: int = 0
    _pending: list[NDArray[Any]] = field(default_factory=list)

    def append(self, frame: NDArray[Any]) -> None:
        """Add one frame of the array's shape and dtype."""
        self._pending.append(frame)
        if len(self._pending) == self.shard:
            self._flush()

    def close(self) -> None:
        """Write what is pending and cut the array to what was written."""
        if self._pending:
            self._flush()
        self.array.resize((self.length, *self.array.shape[1:]))

    def _flush(self) -> None:
        begin, self.length = self.length, self.length + len(self._pending)
        self.array[begin : self.length] = np.stack(self._pending)
        self._pending.clear()


class ProductMissing(NightsiftError):
    """A product is gone although its receipt is there: somebody removed it."""

    def __init__(self, path: str) -> None:
        self.stage = path.partition("/")[0]
        super().__init__(
            f"{path} is not in the workspace, although it was made",
            mend="run again: its receipt was removed, and it will be made anew",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (ProductMissing, (self.what.partition(" ")[0],))


@dataclass(frozen=True)
class NightStore:
    """A Zarr group of one night, such as ``frames/UK0006/2022-09-14.zarr``."""

    workspace: Workspace
    path: str

    def create(self, attributes: Mapping[str, Any]) -> zarr.Group:
        """Begin anew: whatever an earlier or killed run left at this path is removed first."""
        with storage_errors(self.workspace.url):
            self.workspace.delete_tree(self.path)
            return zarr.create_group(
                self.workspace.zarr(self.path), attributes={"Conventions": "CF-1.11", **attributes}
            )

    def open(self) -> zarr.Group:
        """Open for reading.

        Raises
        ------
        ProductMissing
            It is not there.
        """
        try:
            with storage_errors(self.workspace.url, missing_is_fault=False):
                return zarr.open_group(
                    self.workspace.zarr(self.path, read_only=True), mode="r", zarr_format=3
                )
        except FileNotFoundError as error:
            raise ProductMissing(self.path) from error

    def finish(self) -> None:
        """Gather the metadata in one object, so that opening costs one request."""
        with storage_errors(self.workspace.url):
            zarr.consolidate_metadata(self.workspace.zarr(self.path))


def add_frames_array(
    group: zarr.Group,
    name: str,
    *,
    dtype: DTypeLike,
    length: int,
    frame_shape: tuple[int, int],
    dims: tuple[str, str] = ("y", "x"),
    shard: int,
    filters: tuple[Any, ...] = (),
    attributes: Mapping[str, Any],
) -> ShardWriter:
    """Make a (time, y, x) array with one frame a chunk and ``shard`` frames a shard."""
    array = group.create_array(
        name,
        shape=(max(length, 1), *frame_shape),
        chunks=(1, *frame_shape),
        shards=(shard, *frame_shape),
        dtype=dtype,
        filters=filters or "auto",
        compressors=[COMPRESSOR],
        dimension_names=("time", *dims),
        attributes=dict(attributes),
    )
    return ShardWriter(array, shard)


def add_series(
    group: zarr.Group,
    name: str,
    values: ArrayLike,
    attributes: Mapping[str, Any],
    dtype: DTypeLike | None = None,
) -> None:
    """Write a whole (time,) array."""
    data = np.asarray(values, dtype=dtype)
    array = group.create_array(
        name,
        shape=data.shape,
        chunks=(max(1, len(data)),),
        dtype=str if data.dtype.kind in "UT" or dtype is str else data.dtype,
        dimension_names=("time",),
        attributes=dict(attributes),
    )
    if len(data):
        array[:] = data
