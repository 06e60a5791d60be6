"""A folder of this machine."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import LocalStore

from nightsift.archive.backends.base import UNREADABLE, StoredObject


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, made when it is first written to."""

    path: Path

    def page(self, prefix: str, after: str) -> tuple[list[StoredObject], str | None]:
        """See `Backend.page`; links are followed, but not round in circles.

        A folder in it that may not be read is told as one object named `UNREADABLE`.
        """
        return list(_walk(self.path / prefix, prefix, frozenset())), None

    def size(self, key: str) -> int:
        """See `Backend.size`."""
        return (self.path / key).stat().st_size

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> bytes:
        """See `Backend.read`."""
        try:
            with (self.path / key).open("rb") as file:
                if start:
                    file.seek(start, os.SEEK_SET if start > 0 else os.SEEK_END)
                return file.read(-1 if stop is None else stop - (start or 0))
        except (IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(key) from error

    def write(self, key: str, data: bytes | memoryview) -> None:
        """See `Backend.write`."""
        self.path.mkdir(parents=True, exist_ok=True)
        obstore.put(LocalStore(self.path), key, data)

    def delete(self, keys: Sequence[str]) -> None:
        """See `Backend.delete`."""
        for key in keys:
            (self.path / key).unlink(missing_ok=True)

    def delete_tree(self, prefix: str) -> bool:
        """See `Backend.delete_tree`; half-written objects of a killed run go too."""
        if (self.path / prefix).exists():
            shutil.rmtree(self.path / prefix)
        return True


def _walk(folder: Path, name: str, above: frozenset[tuple[int, int]]) -> Iterator[StoredObject]:
    own = folder.stat()
    if (own.st_dev, own.st_ino) in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            key = f"{name}/{entry.name}" if name else entry.name
            try:
                found = entry.stat()
            except OSError:
                yield StoredObject(key, 0, "")  # a link to nowhere is an object that cannot be read
                continue
            if stat.S_ISDIR(found.st_mode):
                try:
                    yield from _walk(folder / entry.name, key, above | {(own.st_dev, own.st_ino)})
                except PermissionError:
                    yield StoredObject(f"{key}/{UNREADABLE}", 0, "")
            elif stat.S_ISREG(found.st_mode):
                yield StoredObject(key, found.st_size, f"{found.st_mtime:.6f}-{found.st_size}")
