"""A night's Zarr store while it is made."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import zarr
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from nightsift.archive.stores import Workspace

SENT_AT_ONCE_BYTES = 16 * 1024
REQUESTS = 8  # under way at once
_METADATA = "zarr.json"


class Draft(MemoryStore):
    """Sends what is large to the workspace at once, and keeps the rest until all is there.

    A night has some twenty small arrays, for each of which Zarr asks and writes five times. Here
    each of their objects is written once; before that nothing can be opened.

    Parameters
    ----------
    workspace
        Where the store is made.
    path
        Its place there.
    """

    def __init__(self, workspace: Workspace, path: str) -> None:
        self._small: dict[str, Buffer] = {}
        super().__init__(self._small)
        self._workspace, self._path = workspace, path

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        """Write an object; a large one, other than metadata, cannot be read back."""
        if len(value) < SENT_AT_ONCE_BYTES or key.endswith(_METADATA) or byte_range is not None:
            await super().set(key, value, byte_range)
        else:
            await asyncio.to_thread(self._write, key, value)

    def publish(self) -> None:
        """Gather the metadata in one object, so that opening costs one request, and write what was kept.

        The group's own metadata come last.
        """
        zarr.consolidate_metadata(self)
        group = self._small.pop(_METADATA)
        with ThreadPoolExecutor(REQUESTS) as pool:
            list(pool.map(self._write, self._small, self._small.values()))
        self._write(_METADATA, group)

    def _write(self, key: str, value: Buffer) -> None:
        data = cast(Any, value.as_buffer_like())  # a copy would be as large as a shard
        self._workspace.write(f"{self._path}/{key}", data)
