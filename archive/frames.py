"""The first stage: a night of image files, streamed into one Zarr store of gray frames."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import zarr

from nightsift.archive.decode import Gray, decode_gray
from nightsift.archive.errors import BadFrame
from nightsift.archive.faults import storage_errors
from nightsift.archive.layouts import FrameRef
from nightsift.archive.night_store import (
    TIME_ATTRIBUTES,
    NightStore,
    add_frames_array,
    add_series,
    shard_frames,
)
from nightsift.archive.nights import StationNight
from nightsift.archive.stations import Station
from nightsift.archive.stores import Archive, Workspace

STAGE_VERSION = 1
FETCH_FRAMES = 16  # objects under way at once: hides the store's latency, bounds memory
SIZE_SAMPLE = 9  # frames that vote on the size of the night's frames


@dataclass(frozen=True)
class Rejected:
    """A frame that cannot be used, and why."""

    key: str
    start_utc: str | None
    reason: str
    detail: str


@dataclass(frozen=True)
class Ingested:
    """What became of a night's frames: ``frames`` in the store, the others in ``rejected``."""

    frames: int
    height_px: int
    width_px: int
    bytes_read: int
    rejected: tuple[Rejected, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """Number of rejected frames by reason."""
        return dict(Counter(item.reason for item in self.rejected))


def frames_path(unit: StationNight) -> str:
    """Where a night's frames lie in the workspace."""
    return f"frames/{unit}.zarr"


def ingest_night(
    archive: Archive, station: Station, unit: StationNight, refs: Sequence[FrameRef], workspace: Workspace
) -> Ingested:
    """Stream a night's files into ``frames/<station>/<night>.zarr``.

    Parameters
    ----------
    archive, workspace
        Read from and written to.
    refs
        The night's frames in time order, as `nightsift.archive.layouts.inventory` gives them.

    Returns
    -------
    Ingested
        Every one of ``refs`` is either in the store or in ``rejected`` with its reason.

    Raises
    ------
    StorageError
        Either store failed.
    NightsiftError
        A file cannot be read at all. A file that is read but cannot be used never raises.

    Notes
    -----
    Frames of another size than most of the night's are rejected as ``wrong-size``. Memory is bounded by a
    shard and two blocks of files, whatever the length of the night.
    """
    named = [ref for ref in refs if ref.reason is None]
    rejected = [_rejected(ref, ref.reason, "told by its name") for ref in refs if ref.reason is not None]
    kept: list[FrameRef] = []
    digests: list[str] = []
    bytes_read = 0
    shape = _common_shape(archive, named)
    store = NightStore(workspace, frames_path(unit))
    with storage_errors(workspace.url):
        group = store.create({"title": f"Frames of {station.id}, night {unit.night}", "station": station.id})
        writer = add_frames_array(
            group,
            "frame",
            dtype=np.uint8,
            length=len(named),
            frame_shape=shape,
            shard=shard_frames(shape[0] * shape[1]),
            attributes={"long_name": "gray level (luma)", "units": "1"},
        )
        for ref, data in _fetched(archive, named):
            bytes_read += len(data)
            try:
                writer.append(_usable(data, shape))
            except BadFrame as bad:
                rejected.append(_rejected(ref, bad.reason, bad.detail))
                continue
            kept.append(ref)
            digests.append(hashlib.sha256(data).hexdigest())
        writer.close()
        _add_series(group, kept, digests, station)
        store.finish()
    return Ingested(len(kept), *shape, bytes_read, tuple(rejected))


def _rejected(ref: FrameRef, reason: str, detail: str) -> Rejected:
    return Rejected(ref.key, ref.start_utc.isoformat() if ref.start_utc else None, reason, detail)


def _fetched(archive: Archive, refs: Sequence[FrameRef]) -> Iterator[tuple[FrameRef, bytes]]:
    """Files in order; the next block is fetched while the last is decoded."""
    blocks = [refs[i : i + FETCH_FRAMES] for i in range(0, len(refs), FETCH_FRAMES)]
    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(archive.fetch, [ref.key for ref in block]) for block in blocks[:1]]
        for number, block in enumerate(blocks):
            found = pending.pop().result()
            pending.extend(
                pool.submit(archive.fetch, [r.key for r in block])
                for block in blocks[number + 1 : number + 2]
            )
            yield from zip(block, found, strict=True)


def _usable(data: bytes, shape: tuple[int, int]) -> Gray:
    image = decode_gray(data)
    if image.shape != shape:
        raise BadFrame(
            "wrong-size", f"expected {_size(shape)} as most of the night, found {_size(image.shape)}"
        )
    return image


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} px"


def _common_shape(archive: Archive, refs: Sequence[FrameRef]) -> tuple[int, int]:
    """The size (y, x) that most of a sample of the night has; (1, 1) where nothing can be decoded."""
    step = max(1, len(refs) // SIZE_SAMPLE)
    for sample in (refs[::step], refs):
        shapes = Counter(shape for _, data in _fetched(archive, sample) if (shape := _shape(data)))
        if shapes:
            height, width = shapes.most_common(1)[0][0]
            return height, width
    return 1, 1


def _shape(data: bytes) -> tuple[int, ...] | None:
    try:
        return decode_gray(data).shape
    except BadFrame:
        return None  # counted with its reason when its turn comes


def _add_series(
    group: zarr.Group, kept: Sequence[FrameRef], digests: Sequence[str], station: Station
) -> None:
    times = [int(ref.start_utc.timestamp() * 1000) for ref in kept if ref.start_utc]
    add_series(group, "time", times, TIME_ATTRIBUTES, "int64")
    add_series(
        group,
        "exposure_s",
        [station.exposure_s] * len(kept),
        {"long_name": "length of the exposure", "units": "s"},
        "float32",
    )
    add_series(group, "key", [ref.key for ref in kept], {"long_name": "object key in the archive"}, str)
    add_series(group, "etag", [ref.etag for ref in kept], {"long_name": "entity tag when it was read"}, str)
    add_series(group, "sha256", digests, {"long_name": "SHA-256 of the file"}, str)
