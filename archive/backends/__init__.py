"""The kinds of stores: a folder, an S3 bucket, and whatever else fsspec opens.

They make single requests and raise what their libraries raise; `nightsift.archive.stores` repeats and
translates. Folders and buckets are written through obstore, where an object is there whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from nightsift.archive.backends.base import READ_TIMEOUT_S, UNREADABLE, Backend, StoredObject
from nightsift.archive.backends.bucket import Bucket, BucketOptions, aws_environment
from nightsift.archive.backends.folder import Folder
from nightsift.archive.backends.remote import Remote, S3Files, Sftp

__all__ = ["UNREADABLE", "Backend", "StoredObject", "open_backend"]

# Any of these tells where a bucket is.
PLACES = {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"}


def open_backend(url: str, options: tuple[tuple[str, Any], ...]) -> Backend:
    """The store at a URL; one and the same for all who ask in one process, so that connections are shared.

    Raises
    ------
    ConfigurationError
        No such kind of store, or an option that it does not know; by some kinds when they are first used.
    """
    return _opened(url, json.dumps(dict(options), sort_keys=True, default=str), aws_environment())


@lru_cache(maxsize=16)
def _opened(url: str, options_json: str, environment: tuple[tuple[str, str], ...]) -> Backend:
    options = json.loads(options_json)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme in ("file", "local"):
        return Folder(Path(rest if separator else url))
    if scheme in ("sftp", "ssh"):
        return Sftp(url, options)
    if scheme != "s3":
        return Remote(url, options)
    timeout_s = float(options.pop("read_timeout_s", READ_TIMEOUT_S))
    region = {"region_name": options.pop("region")} if "region" in options else {}
    options["client_kwargs"] = {**options.get("client_kwargs", {}), **region}
    files = S3Files(url, options, timeout_s)
    known = _bucket_options(options, dict(environment), timeout_s)
    return Bucket(url, known, files) if known else files


def _bucket_options(
    options: Mapping[str, Any], variables: Mapping[str, str], timeout_s: float
) -> BucketOptions | None:
    """What s3fs is told, for obstore; None where obstore would miss the server or the credentials."""
    client = options["client_kwargs"]
    endpoint = options.get("endpoint_url") or client.get("endpoint_url") or ""
    region = client.get("region_name", "")
    anonymous = bool(options.get("anon"))
    known = options.keys() <= {"endpoint_url", "anon", "client_kwargs"}
    known = known and client.keys() <= {"endpoint_url", "region_name"}
    signed = anonymous or {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= variables.keys()
    placed = endpoint or region or not PLACES.isdisjoint(variables)
    if known and signed and placed:
        return BucketOptions(endpoint, region, anonymous, timeout_s)
    return None
