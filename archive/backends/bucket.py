"""A bucket of an S3 server, through obstore."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
from fsspec.asyn import get_loop, sync
from obstore.exceptions import BaseError, InvalidPathError
from obstore.store import S3Store

from nightsift.archive.backends.base import READ_TIMEOUT_S, StoredObject
from nightsift.archive.backends.remote import PAGE_OBJECTS, S3Files
from nightsift.archive.errors import ConfigurationError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

SLOWEST_BYTES_PER_S = 1e6  # an upload has no bytes to wait for: its time is its size
SERVER = r"^https?://[^\s/@]+(/\S*)?$"
IN_ONE_CHUNK = 2**40
BEHIND_THE_END = "status code: 416"


@dataclass(frozen=True)
class BucketOptions:
    """Where a bucket's server is, and how patient to be with it; secrets come from the environment.

    Attributes
    ----------
    endpoint_url, region
        Empty where the environment names them.
    anonymous
        Whether to ask without credentials.
    read_timeout_s
        Seconds without a byte after which a request is given up.
    """

    endpoint_url: str = ""
    region: str = ""
    anonymous: bool = False
    read_timeout_s: float = READ_TIMEOUT_S


class Bucket:
    """A bucket of an S3 server, or what lies below a prefix in it.

    Parameters
    ----------
    url
        ``s3://bucket/prefix``.
    odd
        The same place, for names that obstore does not take, such as those with empty parts.
    """

    def __init__(self, url: str, options: BucketOptions, odd: S3Files) -> None:
        parts = urlsplit(url)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self._options, self._odd = options, odd

    @cached_property
    def _reads(self) -> S3Store:
        return _client(self._bucket, self._options, aws_environment(), writes=False)

    @cached_property
    def _writes(self) -> S3Store:
        return _client(self._bucket, self._options, aws_environment(), writes=True)

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def page(self, prefix: str, after: str) -> tuple[list[StoredObject], str | None]:
        """See `Backend.page`."""
        if after and not _is_plain(after):
            return self._odd.page(prefix, after)
        offset = self._path(after) if after else None
        pages = obstore.list(self._reads, self._path(prefix) or None, offset=offset, chunk_size=PAGE_OBJECTS)
        try:
            page = next(iter(pages), [])
        except InvalidPathError:
            return self._odd.page(prefix, after)
        skipped = len(self._path("x")) - 1
        found = [StoredObject.told(item["path"][skipped:], item) for item in page]
        return found, found[-1].key if len(page) == PAGE_OBJECTS else None

    def size(self, key: str) -> int:
        """See `Backend.size`."""
        return obstore.head(self._reads, self._path(key))["size"] if _is_plain(key) else self._odd.size(key)

    def read(self, key: str, start: int | None = None, stop: int | None = None) -> bytes:
        """See `Backend.read`."""
        if not _is_plain(key):
            return self._odd.read(key, start, stop)
        try:
            found = obstore.get(self._reads, self._path(key), options=_range(start, stop))
            return b"".join(found.stream(min_chunk_size=IN_ONE_CHUNK))  # cheaper than bytes(found.bytes())
        except BaseError as error:
            if BEHIND_THE_END in str(error):
                return b""
            raise

    def write(self, key: str, data: bytes | memoryview) -> None:
        """See `Backend.write`."""
        sync(get_loop(), self._put, key, data)

    async def _put(self, key: str, data: bytes | memoryview) -> None:
        # In one part: with many, the chance that none of them fails would shrink with the object's size.
        put = obstore.put_async(self._writes, self._path(key), data, use_multipart=False)
        await asyncio.wait_for(put, self._options.read_timeout_s + len(data) / SLOWEST_BYTES_PER_S)

    def delete(self, keys: Sequence[str]) -> None:
        """See `Backend.delete`."""
        obstore.delete(self._reads, [self._path(key) for key in keys])

    def delete_tree(self, prefix: str) -> bool:
        """See `Backend.delete_tree`."""
        return False


def aws_environment() -> tuple[tuple[str, str], ...]:
    """What the environment says of S3; holds secrets."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@lru_cache(maxsize=16)
def _client(
    bucket: str, options: BucketOptions, environment: tuple[tuple[str, str], ...], *, writes: bool
) -> S3Store:
    """A client of obstore; making one takes 30 ms, so that those of one environment are shared."""
    # A process that uses one core gains nothing from more threads of Rust. Read at the first request.
    os.environ.setdefault("TOKIO_WORKER_THREADS", "1")
    variables = dict(environment)
    named = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL") or ""
    endpoint = options.endpoint_url or named
    if endpoint and not re.match(SERVER, endpoint):
        raise ConfigurationError(
            f"{endpoint} is not the address of an S3 server",
            expected="such as https://s3.example.org",
            mend="correct endpoint_url, or AWS_ENDPOINT_URL in the environment",
        )
    chosen: S3Config = {"virtual_hosted_style_request": False, "skip_signature": options.anonymous}
    # Signing what is sent would cost as much as all else that an upload costs; TLS does it better.
    chosen |= {"unsigned_payload": True}
    chosen |= {"endpoint": endpoint} if endpoint else {}
    chosen |= {"region": options.region} if options.region else {}
    # A request that sends is silent until it has sent all: writes have a limit of their own.
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=5),
        "timeout": timedelta(hours=1),
        "allow_http": endpoint.startswith("http://"),
    }
    if bundle := variables.get("AWS_CA_BUNDLE"):
        client["root_certificate"] = Path(bundle).read_bytes()
    if not writes:
        client["read_timeout"] = timedelta(seconds=options.read_timeout_s)
    with _without_variable("AWS_ENDPOINT_URL_S3" if endpoint else None):
        # nightsift.archive.retries repeats and counts.
        return S3Store(bucket, config=chosen, client_options=client, retry_config={"max_retries": 0})


@contextmanager
def _without_variable(name: str | None) -> Iterator[None]:
    # obstore lets AWS_ENDPOINT_URL_S3 override an endpoint that it is given.
    value = os.environ.pop(name, None) if name else None
    try:
        yield
    finally:
        if name and value is not None:
            os.environ[name] = value


def _is_plain(key: str) -> bool:
    return key.isprintable() and not {"", ".", ".."}.intersection(key.split("/"))


def _range(start: int | None, stop: int | None) -> Any:
    if not start and stop is None:
        return None
    if stop is not None:
        return {"range": (start or 0, stop)}
    return {"range": {"offset": start} if (start or 0) > 0 else {"suffix": -(start or 0)}}
