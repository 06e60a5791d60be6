"""One night's Zarr store: arrays along time, written in whole shards by one task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import zarr
from numpy.typing import ArrayLike, DTypeLike

from nightsift import __version__
from nightsift.archive.drafts import Draft
from nightsift.archive.errors import NightsiftError
from nightsift.archive.faults import storage_errors
from nightsift.archive.nights import StationNight
from nightsift.archive.shards import ZSTD, ChunkWriter, Encoding, FrameWriter
from nightsift.archive.stations import Station
from nightsift.archive.stores import Workspace

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


def frames_path(unit: StationNight) -> str:
    """Where a night's frames lie in the workspace."""
    return f"frames/{unit}.zarr"


def differences_path(unit: StationNight) -> str:
    """Where a night's differences lie in the workspace."""
    return f"differences/{unit}.zarr"


@dataclass(frozen=True)
class Form:
    """What all frames of a night share: their (y, x) shape and their depth, uint8 or uint16."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame in memory."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.shape[1]} x {self.shape[0]} px, {8 * self.dtype.itemsize} bits"


def milliseconds(time: datetime) -> int:
    """The stores' time axis: milliseconds since 1970, UTC."""
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


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


def described(product: str, station: Station, unit: StationNight) -> dict[str, Any]:
    """Attributes of a night's store that both products share (CF-1.11, §2.6)."""
    return {
        "title": f"{product} of {station.id}, night {unit.night}",
        "source": f"camera {station.id}, layout {station.layout}",
        "station": station.id,
    }


@dataclass
class NightStore:
    """A Zarr group of one night, such as ``frames/UK0006/2022-09-14.zarr``."""

    workspace: Workspace
    path: str
    _draft: Draft | None = None

    def create(self, attributes: Mapping[str, Any]) -> zarr.Group:
        """Begin anew: whatever an earlier or killed run left at this path is removed first.

        The group cannot be opened before it is finished.
        """
        conventions = {"Conventions": "CF-1.11", "history": f"made by Nightsift {__version__}"}
        with storage_errors(self.workspace.url):
            self.workspace.delete_tree(self.path)
            self._draft = Draft(self.workspace, self.path)
            return zarr.create_group(self._draft, attributes={**conventions, **attributes})

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
        """Complete what was created."""
        assert self._draft is not None
        with storage_errors(self.workspace.url):
            self._draft.publish()


def add_frames_array(
    group: zarr.Group,
    name: str,
    *,
    dtype: DTypeLike,
    length: int,
    frame_shape: tuple[int, ...],
    dims: tuple[str, ...] = ("y", "x"),
    shard: int,
    encoding: Encoding = ZSTD,
    attributes: Mapping[str, Any],
) -> FrameWriter:
    """Make a (time, y, x) array with one frame a chunk and ``shard`` frames a shard."""
    array = group.create_array(
        name,
        shape=(max(length, 1), *frame_shape),
        chunks=(1, *frame_shape),
        shards=(shard, *frame_shape),
        dtype=dtype,
        filters=encoding.filters or "auto",
        compressors=[encoding.compressor],
        dimension_names=("time", *dims),
        attributes=dict(attributes),
    )
    return FrameWriter(ChunkWriter(array, shard), encoding.encode)


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
