"""A workspace as zarr-python sees it: every read and write goes the workspace's own way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

if TYPE_CHECKING:
    from nightsift.archive.stores import Workspace

Answer = TypeVar("Answer")

REQUESTS_AT_ONCE = 16


class WorkspaceStore(Store):
    """What lies below ``path`` in a workspace, for `zarr.open_group` and its like.

    A store of our own, because those of zarr-python do not repeat requests, or repeat them uncounted, and
    because an fsspec filesystem shows a file while it is written.
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, workspace: Workspace, path: str, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self._workspace, self._path = workspace, path

    def with_read_only(self, read_only: bool = False) -> WorkspaceStore:
        """The same place, read-only or not."""
        return WorkspaceStore(self._workspace, self._path, read_only=read_only)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, WorkspaceStore)
            and str(self) == str(other)
            and self.read_only == other.read_only
        )

    def __str__(self) -> str:
        return f"{self._workspace.url}/{self._path}"

    def _key(self, key: str) -> str:
        return f"{self._path}/{key}".strip("/")

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The bytes of an object, or some of them; None where there is no such object."""
        try:
            data = await _in_thread(self._workspace.read, self._key(key), *_slice(byte_range))
        except FileNotFoundError:
            return None
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Many objects, or parts of them."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            await self.getsize(key)
        except FileNotFoundError:
            return False
        return True

    async def getsize(self, key: str) -> int:
        """Length of an object in bytes."""
        return await _in_thread(self._workspace.size, self._key(key))

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object, whole or not at all."""
        self._check_writable()
        data = memoryview(value.as_buffer_like()).cast("B")
        await _in_thread(self._workspace.write, self._key(key), data)

    async def delete(self, key: str) -> None:
        """Remove an object; one that is gone is no fault."""
        self._check_writable()
        await _in_thread(self._workspace.delete, [self._key(key)])

    async def delete_dir(self, prefix: str) -> None:
        """Remove everything below ``prefix``."""
        self._check_writable()
        await _in_thread(self._workspace.delete_tree, self._key(prefix))

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Every key that begins with ``prefix``."""
        folder = prefix.rpartition("/")[0]
        for name in await _in_thread(self._workspace.names, self._key(folder)):
            key = name[len(self._path) + 1 :] if self._path else name
            if key.startswith(prefix):
                yield key

    async def list(self) -> AsyncIterator[str]:
        """Every key."""
        async for key in self.list_prefix(""):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """The names directly below the folder ``prefix``."""
        folder = f"{prefix.rstrip('/')}/".lstrip("/")
        names = {key[len(folder) :].partition("/")[0] async for key in self.list_prefix(folder)}
        for name in sorted(names):
            yield name


async def _in_thread(request: Callable[..., Answer], *arguments: Any) -> Answer:
    return await asyncio.get_running_loop().run_in_executor(_threads(), request, *arguments)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    # Not asyncio's own, in which zarr-python compresses.
    return ThreadPoolExecutor(REQUESTS_AT_ONCE, "zarr")


def _slice(part: ByteRequest | None) -> tuple[int | None, int | None]:
    match part:
        case RangeByteRequest(start, end):
            return start, end
        case OffsetByteRequest(offset):
            return offset, None
        case SuffixByteRequest(suffix):
            return -suffix, None
        case None:
            return None, None
        case _:
            raise ValueError(f"Unexpected byte_range, got {part}")
