"""The two stores: a network's archive, only read, and the workspace of our products.

The archive is read through fsspec, which opens any URL a network may use. The workspace is held through
obstore, whose writes are atomic on folders and on S3 alike: an object is there whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from urllib.parse import urlsplit

import fsspec
import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, S3Store
from zarr.storage import ObjectStore

from nightsift.archive.errors import ConfigurationError, NightsiftError
from nightsift.archive.faults import storage_errors

SECRET_ENDINGS = ("key", "key_id", "secret", "token", "password", "connection_string")


@dataclass(frozen=True)
class StoredObject:
    """An object of an archive as a listing shows it; ``etag`` changes when its bytes are replaced."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Archive:
    """A network's archive: any fsspec URL.

    Parameters
    ----------
    url
        A folder or a URL such as ``s3://bucket/prefix``.
    options
        Passed to fsspec as they are, as pairs, so that the value stays hashable.
    """

    url: str
    options: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        options = dict(self.options)
        if urlsplit(self.url).scheme == "s3":
            retries = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 2}}
            options.setdefault("config_kwargs", retries)
        try:
            with storage_errors(self.url):
                filesystem, root = fsspec.core.url_to_fs(self.url, **options)
        except (ValueError, ImportError, TypeError) as error:
            raise ConfigurationError(
                f"the archive {self.url} cannot be opened",
                expected="a folder, or a URL and storage_options that fsspec knows",
                found=str(error),
                mend="correct [archive] url, or install the package that is named above",
            ) from error
        return filesystem, root.rstrip("/")

    def objects(self) -> Iterator[StoredObject]:
        """Everything in the archive, sorted by key.

        Raises
        ------
        StorageError
            The store is down, refuses the credentials, or has no such bucket.
        """
        filesystem, root = self._opened
        with storage_errors(self.url):
            filesystem.invalidate_cache()
            filesystem.info(root)  # find() alone takes a store that is down for an empty one
            found = filesystem.find(root, detail=True)
        for path, info in sorted(found.items()):
            yield StoredObject(path[len(root) :].lstrip("/"), int(info["size"]), _etag(info))

    def fetch(self, keys: Sequence[str]) -> list[bytes]:
        """The bytes of objects, fetched concurrently.

        Raises
        ------
        StorageError
            The archive itself does not answer any more.
        NightsiftError
            The archive answers, but an object of ``keys`` cannot be read; names it.
        """
        filesystem, root = self._opened
        # Not cat(), which takes brackets in a name for a pattern.
        found = filesystem.cat_ranges([f"{root}/{key}" for key in keys], None, None, on_error="return")
        for key, data in zip(keys, found, strict=True):
            if isinstance(data, Exception):
                self._refuse(key, data)
        return list(found)

    def fetch_ranges(self, keys: Sequence[str], starts: Sequence[int], stops: Sequence[int]) -> list[bytes]:
        """Parts of objects, fetched concurrently; shorter where an object ends before."""
        filesystem, root = self._opened
        with storage_errors(self.url):
            return list(filesystem.cat_ranges([f"{root}/{key}" for key in keys], starts, stops))

    def open(self, key: str) -> BinaryIO:
        """An object as a file that can be read and sought."""
        filesystem, root = self._opened
        with storage_errors(self.url):
            opened: BinaryIO = filesystem.open(f"{root}/{key}")
            return opened

    def _refuse(self, key: str, error: Exception) -> NoReturn:
        filesystem, root = self._opened
        with storage_errors(self.url):
            filesystem.invalidate_cache()
            filesystem.info(root)
        raise NightsiftError(
            f"{key} was listed but cannot be read",
            found=f"{type(error).__name__}: {error}",
            mend="run again if the archive changed meanwhile; else give this user the right to read it",
        ) from error


def _etag(info: Mapping[str, Any]) -> str:
    etag = info.get("ETag") or info.get("etag")
    if etag:
        return str(etag).strip('"')
    return f"{float(info.get('mtime') or 0):.6f}-{info['size']}"


@dataclass(frozen=True)
class Workspace:
    """The store that products are written to: a folder or ``s3://bucket/prefix``.

    Parameters
    ----------
    url
        A folder (made when absent) or an S3 URL.
    options
        ``endpoint_url`` and ``region`` of an S3 server, as pairs. Secrets come from the environment.
    """

    url: str
    options: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def _folder(self) -> Path | None:
        """The folder; None where the workspace is a bucket."""
        scheme, separator, rest = self.url.partition("://")
        if not separator:
            return Path(self.url)
        return Path(rest) if scheme == "file" else None

    @cached_property
    def _store(self) -> LocalStore | S3Store:
        with storage_errors(self.url):
            if self._folder is None:
                return _s3_store(self.url, **dict(self.options))
            return LocalStore(self._folder)

    def names(self, prefix: str) -> list[str]:
        """Keys below ``prefix``, sorted; from a listing alone."""
        with storage_errors(self.url):
            if self._folder is not None and not (self._folder / prefix).is_dir():
                return []
            pages = obstore.list(self._store, prefix=prefix)
            return sorted(item["path"] for page in pages for item in page)

    def read(self, key: str) -> bytes:
        """The bytes of one object.

        Raises
        ------
        FileNotFoundError
            There is no such object.
        """
        if self._folder is not None and not (self._folder / key).is_file():
            raise FileNotFoundError(key)
        with storage_errors(self.url, missing_is_fault=False):
            return bytes(obstore.get(self._store, key).bytes())

    def write(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        with storage_errors(self.url):
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            obstore.put(self._store, key, data)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those already gone are no fault."""
        with storage_errors(self.url):
            for key in keys:
                try:
                    obstore.delete(self._store, key)
                except (FileNotFoundError, NotFoundError):
                    continue

    def delete_tree(self, prefix: str) -> None:
        """Remove everything below ``prefix``, half-written objects of a killed run included."""
        if self._folder is not None:
            with storage_errors(self.url):
                if (self._folder / prefix).exists():
                    shutil.rmtree(self._folder / prefix)
        else:
            self.delete(self.names(prefix + "/"))

    def zarr(self, path: str, *, read_only: bool = False) -> ObjectStore[Any]:
        """The Zarr store whose root is ``path``: nothing above it is touched.

        Raises
        ------
        FileNotFoundError
            Nothing is there, and it is wanted for reading.
        """
        if read_only and self._folder is not None and not (self._folder / path).is_dir():
            raise FileNotFoundError(path)
        with storage_errors(self.url):
            if self._folder is not None:
                return ObjectStore(LocalStore(self._folder / path, mkdir=not read_only), read_only=read_only)
            below = _s3_store(f"{self.url.rstrip('/')}/{path}", **dict(self.options))
            return ObjectStore(below, read_only=read_only)


def _s3_store(url: str, endpoint_url: str = "", **options: Any) -> S3Store:
    if urlsplit(url).scheme != "s3":
        raise ConfigurationError(
            f"the workspace {url} cannot be opened",
            expected="a folder, or s3://bucket/prefix",
            mend="correct [workspace] url",
        )
    endpoint = endpoint_url or os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint:
        options["endpoint"] = endpoint
    with _without_variable("AWS_ENDPOINT_URL_S3" if endpoint_url else None):
        return S3Store.from_url(
            url,
            **options,
            virtual_hosted_style_request=False,
            client_options={
                "connect_timeout": timedelta(seconds=5),
                "allow_http": endpoint.startswith("http://"),
            },
            retry_config={
                "max_retries": 4,
                "retry_timeout": timedelta(seconds=60),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=5),
                    "base": 2,
                },
            },
        )


@contextmanager
def _without_variable(name: str | None) -> Iterator[None]:
    # obstore lets AWS_ENDPOINT_URL_S3 override an endpoint that the configuration names.
    value = os.environ.pop(name, None) if name else None
    try:
        yield
    finally:
        if name and value is not None:
            os.environ[name] = value


def refuse_secrets(url: str, options: Mapping[str, Any], where: str) -> None:
    """Secrets belong in the environment, where no product, log or repository keeps them.

    Raises
    ------
    ConfigurationError
        An option is named like a secret, or the URL holds one; neither is repeated.
    """
    found = [name for name in _names(options) if name.lower().endswith(SECRET_ENDINGS)]
    if "@" in urlsplit(url).netloc:
        found.append("url")
    if found:
        raise ConfigurationError(
            f"{where} holds a secret: {', '.join(found)}",
            expected="secrets in the environment only",
            mend="remove it there and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )


def _names(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        yield name
        if isinstance(value, Mapping):
            yield from _names(value)
