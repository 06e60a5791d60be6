"""The two stores: a network's archive, only read, and the workspace of our products.

Every request of either is repeated where that may help, and counted (`nightsift.archive.retries`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, BinaryIO, NoReturn, TypeVar
from urllib.parse import parse_qsl

from nightsift.archive.backends import UNREADABLE, Backend, StoredObject, open_backend
from nightsift.archive.errors import ConfigurationError, NightsiftError, Unreadable
from nightsift.archive.faults import fault_of, request_errors, storage_error
from nightsift.archive.retries import Retries
from nightsift.archive.zarr_store import WorkspaceStore

__all__ = ["Archive", "StoredObject", "Workspace", "refuse_secrets"]

Answer = TypeVar("Answer")

REQUESTS_AT_ONCE = 16  # hides a store's latency
READ_AHEAD_BYTES = 4 * 2**20
DELETE_AT_ONCE = 100  # a server has to answer within the read timeout
UNFINISHED = re.compile(r"(\.part|#\d+)$")  # what a killed write may leave, here and in obstore
SECRET_ENDINGS = (
    *("key", "key_id", "secret", "token", "password", "passphrase", "passwd", "connection_string"),
    *("auth", "authorization", "signature", "sig"),
)
# A name alone is a token over HTTP, and an account or a container elsewhere. A port is no password.
PASSWORD_IN_URL = re.compile(r"(?i)https?://[^/?#\s]*@|://[^/?#\s]*:(?!\d*[/?#])\S*@")


@dataclass(frozen=True)
class Archive:
    """A network's archive: any fsspec URL.

    Parameters
    ----------
    url
        A folder or a URL such as ``s3://bucket/prefix``.
    options
        Passed to fsspec as they are, as pairs, so that the value stays hashable. For S3 also
        ``read_timeout_s``, seconds without a byte after which a request is given up and made again.
    retries
        Counts the requests that had to be repeated.
    """

    url: str
    options: tuple[tuple[str, Any], ...] = ()
    retries: Retries = field(default_factory=Retries, repr=False, compare=False)

    def __reduce__(self) -> tuple[object, ...]:
        return (Archive, (self.url, self.options))  # connections and counts stay where they are

    @cached_property
    def _backend(self) -> Backend:
        return open_backend(self.url, self.options)

    def counted(self, retries: Retries) -> Archive:
        """The archive, its repeated requests counted in ``retries``."""
        return replace(self, retries=retries)

    def objects(self) -> Iterator[StoredObject]:
        """Everything in the archive, sorted by key.

        A sub-folder that this user may not read is told by one object named ``(unreadable folder)`` in it.

        Raises
        ------
        StorageError
            The store is down, refuses the credentials, or has no such bucket.
        """
        with request_errors(self.url):
            found = list(_listed(self._backend, self.retries, ""))
        yield from sorted(found, key=lambda item: item.key)

    def fetch(self, keys: Sequence[str]) -> list[bytes]:
        """The bytes of objects, fetched concurrently.

        Raises
        ------
        StorageError
            The archive itself does not answer any more.
        Unreadable
            The archive answers, but an object of ``keys`` cannot be read; names it.
        """
        return list(_threads().map(self._read, keys))

    def fetch_ranges(self, keys: Sequence[str], starts: Sequence[int], stops: Sequence[int]) -> list[bytes]:
        """Slices ``starts[i]:stops[i]`` of objects, fetched concurrently; raises as `fetch` does.

        Parameters
        ----------
        starts, stops
            Not negative; a slice that reaches beyond the end of its object is cut there.
        """
        return list(_threads().map(self._read, keys, starts, stops))

    def open(self, key: str) -> BinaryIO:
        """An object as a file that can be sought in, read in blocks of 4 MiB; raises as `fetch` does."""
        size = self._asked(key, self._backend.size, key)
        raw = _ObjectReader(lambda start, stop: self._read(key, start, stop), size)
        return io.BufferedReader(raw, READ_AHEAD_BYTES)

    def _read(self, key: str, start: int | None = None, stop: int | None = None) -> bytes:
        return self._asked(key, self._backend.read, key, start, stop)

    def _asked(self, key: str, request: Callable[..., Answer], *arguments: Any) -> Answer:
        try:
            return self.retries.call(request, *arguments)
        except NightsiftError:
            raise
        except Exception as error:
            self._refuse(key, error)

    def _refuse(self, key: str, error: Exception) -> NoReturn:
        if fault_of(error).passing:
            raise storage_error(self.url, error) from error
        with request_errors(self.url):
            self.retries.call(self._backend.page, "", "")
        raise Unreadable(
            f"{key} was listed but cannot be read",
            found=f"{type(error).__name__}: {error}".splitlines()[0],
            mend="run again if the archive changed meanwhile; else give this user the right to read it",
        ) from error


def _listed(backend: Backend, retries: Retries, prefix: str) -> Iterator[StoredObject]:
    after: str | None = ""
    while after is not None:
        page, after = retries.call(backend.page, prefix, after)
        yield from page


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(REQUESTS_AT_ONCE, "fetch")


class _ObjectReader(io.RawIOBase):
    """An object of known size (bytes) as a raw file."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self._size, self._position = read, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def readinto(self, buffer: Any) -> int:
        stop = min(self._position + len(buffer), self._size)
        if stop <= self._position:
            return 0
        data = self._read(self._position, stop)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


@dataclass(frozen=True)
class Workspace:
    """The store that products are written to: a folder, ``s3://bucket/prefix``, or any fsspec URL.

    Parameters
    ----------
    url
        A folder (made when absent) or a URL.
    options
        ``endpoint_url``, ``region`` and ``read_timeout_s`` of an S3 server, or what fsspec needs for another
        store, as pairs. Secrets come from the environment.
    retries
        Counts the requests that had to be repeated.
    """

    url: str
    options: tuple[tuple[str, Any], ...] = ()
    retries: Retries = field(default_factory=Retries, repr=False, compare=False)

    def __reduce__(self) -> tuple[object, ...]:
        return (Workspace, (self.url, self.options))  # connections and counts stay where they are

    @cached_property
    def _backend(self) -> Backend:
        return open_backend(self.url, self.options)

    def counted(self, retries: Retries) -> Workspace:
        """The workspace, its repeated requests counted in ``retries``."""
        return replace(self, retries=retries)

    def names(self, prefix: str) -> list[str]:
        """Keys below the folder ``prefix``, sorted; from a listing alone."""
        return sorted(key for key in self._keys(prefix) if not UNFINISHED.search(key))

    def _keys(self, prefix: str) -> list[str]:
        try:
            with request_errors(self.url, missing_is_fault=False):
                keys = [item.key for item in _listed(self._backend, self.retries, prefix)]
                # Products that cannot be seen would be made again and told as missing.
                for key in keys:
                    if key.endswith(UNREADABLE):
                        raise PermissionError(f"{key}: Permission denied")
                return keys
        except FileNotFoundError:
            return []

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> bytes:
        """The bytes of one object, or of a slice of it.

        Raises
        ------
        FileNotFoundError
            There is no such object.
        """
        with request_errors(self.url, missing_is_fault=False):
            return self.retries.call(self._backend.read, key, start, stop)

    def size(self, key: str) -> int:
        """Length of an object in bytes; raises as `read` does."""
        with request_errors(self.url, missing_is_fault=False):
            return self.retries.call(self._backend.size, key)

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Write an object, whole or not at all."""
        with request_errors(self.url):
            self.retries.call(self._backend.write, key, data)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those already gone are no fault."""
        wanted = list(keys)
        with request_errors(self.url):
            for begin in range(0, len(wanted), DELETE_AT_ONCE):
                self.retries.call(self._backend.delete, wanted[begin : begin + DELETE_AT_ONCE])

    def delete_tree(self, prefix: str) -> None:
        """Remove everything below ``prefix``, half-written objects of a killed run included."""
        with request_errors(self.url):
            at_once = self.retries.call(self._backend.delete_tree, prefix)
        if not at_once:
            self.delete(self._keys(prefix))

    def zarr(self, path: str, *, read_only: bool = False) -> WorkspaceStore:
        """The Zarr store whose root is ``path``: nothing above it is touched."""
        return WorkspaceStore(self, path, read_only=read_only)


def refuse_secrets(url: str, options: Mapping[str, Any], where: str) -> None:
    """Secrets belong in the environment, where no product, log or repository keeps them.

    Raises
    ------
    ConfigurationError
        An option is named like a secret, or a URL holds one, that of an option too; neither is repeated.
    """
    named = (*_named(url, "url"), *_named(options, ""))
    found = dict.fromkeys(name for name, value in named if _is_secret(name, value))
    if found:
        raise ConfigurationError(
            f"{where} holds a secret: {', '.join(found)}",
            expected="secrets in the environment only",
            mend="remove it there and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or for another store "
            "than S3 FSSPEC_<SCHEME>_<OPTION>, such as FSSPEC_SFTP_PASSWORD",
        )


def _is_secret(name: str, value: object) -> bool:
    told = isinstance(value, str) and PASSWORD_IN_URL.search(value)
    return bool(told) or name.lower().endswith(SECRET_ENDINGS)


def _named(value: object, name: str) -> Iterator[tuple[str, object]]:
    """All that options and the queries of their URLs hold, each value with its nearest name."""
    yield name, value
    if isinstance(value, Mapping):
        for inner_name, inner in value.items():
            yield from _named(inner, str(inner_name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _named(inner, name)
    elif isinstance(value, str) and "://" in value:
        yield from parse_qsl(value.partition("?")[2])
