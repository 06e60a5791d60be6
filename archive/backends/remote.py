"""Whatever fsspec opens, S3 through s3fs among it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from threading import RLock
from typing import Any

import fsspec

from nightsift.archive.backends.base import READ_TIMEOUT_S, StoredObject
from nightsift.archive.errors import ConfigurationError
from nightsift.archive.faults import NOTHING_THERE, fault_of

PAGE_OBJECTS = 1000  # as S3 lists them
# Their objects appear whole; every other filesystem shows a file while it is written.
WHOLE_WRITES = {"memory", "s3", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss"}
UNFINISHED = ".part"


class Remote:
    """Whatever fsspec opens.

    A filesystem that is not made for threads, such as one connection to an SFTP server, is used by one at a
    time. After a failure it is opened anew: its connection may be gone.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._url, self._options = url, dict(options)
        self._lock = RLock()
        self._opened: tuple[Any, str] | None = None

    def _open(self) -> tuple[Any, str]:
        filesystem, root = fsspec.core.url_to_fs(self._url, skip_instance_cache=True, **self._options)
        return filesystem, root.rstrip("/")

    @contextmanager
    def _using(self) -> Iterator[tuple[Any, str]]:
        try:
            with self._lock:
                opened = self._opened = self._opened or self._refusing(self._open)
            with nullcontext() if opened[0].async_impl else self._lock:
                yield opened
        except Exception as error:
            told = self._told(error)
            if not isinstance(told, FileNotFoundError):
                self._opened = None
            if told is error:
                raise
            raise told from error

    def _refusing(self, open_store: Callable[[], tuple[Any, str]]) -> tuple[Any, str]:
        try:
            return open_store()
        except (ValueError, ImportError, TypeError) as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f"the store {self._url} cannot be opened",
            expected="a folder, or a URL and storage_options that fsspec knows",
            found=str(error),
            mend="correct its url and storage_options, or install the package that is named above",
        )

    def _told(self, error: Exception) -> Exception:
        """An error as one of the few kinds that callers know: filesystems share no base class of errors."""
        cause = error.__cause__
        if isinstance(error, FileNotFoundError) and cause is not None and fault_of(cause).passing:
            return OSError(f"{type(cause).__name__}: {cause}")  # a web server that is down
        if isinstance(error, TypeError) and "keyword argument" in str(error):
            return self._refusal(error)
        if isinstance(error, OSError | ConfigurationError):
            return error
        if fault_of(error) is NOTHING_THERE:
            return FileNotFoundError(str(error))
        return OSError(f"{type(error).__name__}: {error}")

    def page(self, prefix: str, after: str) -> tuple[list[StoredObject], str | None]:
        """See `Backend.page`."""
        with self._using() as (filesystem, root):
            folder = f"{root}/{prefix}" if prefix else root
            filesystem.invalidate_cache()
            filesystem.info(folder)  # find() alone takes a store that is down for an empty one
            found = filesystem.find(folder, detail=True)
        return [StoredObject.told(path[len(root) :].lstrip("/"), info) for path, info in found.items()], None

    def size(self, key: str) -> int:
        """See `Backend.size`."""
        with self._using() as (filesystem, root):
            return int(filesystem.info(f"{root}/{key}")["size"])

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> bytes:
        """See `Backend.read`."""
        if start is not None and start < 0:
            start += self.size(key)  # not every filesystem counts from the end
        try:
            with self._using() as (filesystem, root):
                return bytes(filesystem.cat_file(f"{root}/{key}", start=start, end=stop))
        except OSError:
            if start is not None and start >= self.size(key):
                return b""  # as slices are; servers refuse it
            raise

    def write(self, key: str, data: bytes | memoryview) -> None:
        """See `Backend.write`."""
        with self._using() as (filesystem, root):
            path = f"{root}/{key}"
            if not WHOLE_WRITES.isdisjoint(_protocols(filesystem)):
                filesystem.pipe_file(path, bytes(data))
                return
            filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._send(filesystem, path + UNFINISHED, bytes(data))
            filesystem.mv(path + UNFINISHED, path)

    def _send(self, filesystem: Any, path: str, data: bytes) -> None:
        filesystem.pipe_file(path, data)

    def delete(self, keys: Sequence[str]) -> None:
        """See `Backend.delete`."""
        for key in keys:
            with self._using() as (filesystem, root), suppress(FileNotFoundError):
                filesystem.rm_file(f"{root}/{key}")

    def delete_tree(self, prefix: str) -> bool:
        """See `Backend.delete_tree`."""
        return False


def _protocols(filesystem: Any) -> set[str]:
    named = filesystem.protocol
    return {named} if isinstance(named, str) else set(named)


class Sftp(Remote):
    """An SFTP server, through paramiko."""

    def _open(self) -> tuple[Any, str]:
        filesystem, root = super()._open()
        filesystem.ftp.get_channel().settimeout(READ_TIMEOUT_S)  # it would wait for ever
        return filesystem, root

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> bytes:
        """See `Backend.read`; all is asked for before the first answer, not 32 KiB at a time."""
        with self._using() as (filesystem, root), filesystem.open(f"{root}/{key}", "rb") as file:
            begin, end, _ = slice(start, stop).indices(file.stat().st_size)
            return b"".join(file.readv([(begin, end - begin)])) if end > begin else b""

    def _send(self, filesystem: Any, path: str, data: bytes) -> None:
        with filesystem.open(path, "wb") as file:
            file.set_pipelined(True)
            file.write(data)


class S3Files(Remote):
    """A bucket through s3fs, which knows credentials and names that obstore does not."""

    def __init__(self, url: str, options: Mapping[str, Any], read_timeout_s: float = READ_TIMEOUT_S) -> None:
        limits = {"connect_timeout": 5, "read_timeout": read_timeout_s, "retries": {"total_max_attempts": 1}}
        super().__init__(url, {**options, "config_kwargs": {**limits, **options.get("config_kwargs", {})}})

    def _open(self) -> tuple[Any, str]:
        filesystem, root = super()._open()
        filesystem.retries = 1  # nightsift.archive.retries repeats and counts
        return filesystem, root

    def page(self, prefix: str, after: str) -> tuple[list[StoredObject], str | None]:
        """See `Backend.page`."""
        with self._using() as (filesystem, root):
            bucket, _, above = root.partition("/")
            above = f"{above}/" if above else ""
            found = filesystem.call_s3(
                "list_objects_v2",
                Bucket=bucket,
                Prefix=above + (f"{prefix}/" if prefix else ""),
                StartAfter=above + after if after else "",
                MaxKeys=PAGE_OBJECTS,
            )
        page = [StoredObject.told(item["Key"][len(above) :], item) for item in found.get("Contents", [])]
        return page, page[-1].key if found["IsTruncated"] else None
