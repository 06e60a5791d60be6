"""What a kind of store has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

READ_TIMEOUT_S = 15.0  # without a byte

# Names that libraries give to an entity tag, and to the time of the last change.
TAGS = ("ETag", "etag", "e_tag", "md5Hash")
CHANGED = ("mtime", "modified", "last_modified", "LastModified", "modify", "created")

# What a listing shows in place of what lies in a folder that this user may not read.
UNREADABLE = "(unreadable folder)"


@dataclass(frozen=True)
class StoredObject:
    """An object as a listing shows it; ``etag`` changes when its bytes are replaced."""

    key: str
    size: int
    etag: str

    @classmethod
    def told(cls, key: str, info: Mapping[str, Any]) -> StoredObject:
        """An object as one of many libraries tells it.

        >>> StoredObject.told("a", {"Size": 3, "ETag": '"0f"'})
        StoredObject(key='a', size=3, etag='0f')
        """
        size = int(info["size"] if "size" in info else info["Size"])
        for name in TAGS:
            if info.get(name):
                return cls(key, size, str(info[name]).strip('"'))
        when = next((info[name] for name in CHANGED if info.get(name)), "")
        return cls(key, size, f"{when.timestamp() if isinstance(when, datetime) else when}-{size}")


class Backend(Protocol):
    """Single requests to one store; keys are relative to its URL.

    Objects that are absent raise FileNotFoundError, except when they are deleted.
    """

    def page(self, prefix: str, after: str) -> tuple[list[StoredObject], str | None]:
        """Objects below the folder ``prefix`` that follow the key ``after``, and the key to go on from."""
        ...

    def size(self, key: str) -> int:
        """Length of an object in bytes."""
        ...

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> bytes:
        """The bytes of an object, or those of a slice of it."""
        ...

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Write an object, whole or not at all."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Remove a few objects."""
        ...

    def delete_tree(self, prefix: str) -> bool:
        """Remove all below the folder ``prefix`` at once; False where that takes a listing."""
        ...
