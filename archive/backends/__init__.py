"""The kinds of stores: a folder, an S3 bucket, and whatever else fsspec opens.

They make single requests and raise what their libraries raise; `nightsift.archive.stores` repeats and
translates. Folders and buckets are written through obstore, where an object is there whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from nightsift.archive.backends.base import READ_TIMEOUT_S, UNREADABLE, Backend, StoredObject
from nightsift.archive.backends.bucket import SERVER, Bucket, BucketOptions, aws_environment
from nightsift.archive.backends.folder import Folder
from nightsift.archive.backends.remote import Remote, S3Files, Sftp
from nightsift.archive.settings import validate

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


class _S3Settings(BaseModel):
    """What we understand of the options of an S3 store; s3fs understands more."""

    model_config = ConfigDict(extra="allow")

    bucket: Annotated[str, Field(pattern=r"^[\w.:-]+$")]
    endpoint_url: Annotated[str, Field(pattern=SERVER)] | None = None
    region: str | None = None
    anon: bool = False
    client_kwargs: Mapping[str, Any] = {}
    read_timeout_s: Annotated[float, Field(gt=0)] = READ_TIMEOUT_S

    def s3fs_options(self) -> dict[str, Any]:
        options = {**(self.model_extra or {}), "anon": self.anon, "client_kwargs": dict(self.client_kwargs)}
        if self.endpoint_url:
            options["endpoint_url"] = self.endpoint_url
        if self.region:
            options["client_kwargs"]["region_name"] = self.region
        return options

    def bucket_options(self, variables: Mapping[str, str]) -> BucketOptions | None:
        """For obstore; None where it would miss the server or the credentials, or is not told all."""
        client = self.client_kwargs
        endpoint = self.endpoint_url or client.get("endpoint_url", "")
        region = self.region or client.get("region_name", "")
        known = not self.model_extra and client.keys() <= {"endpoint_url", "region_name"}
        signed = self.anon or {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= variables.keys()
        placed = endpoint or region or not PLACES.isdisjoint(variables)
        if known and signed and placed:
            return BucketOptions(endpoint, region, self.anon, self.read_timeout_s)
        return None


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
    named = {**options, "bucket": rest.partition("/")[0]}
    settings = validate(_S3Settings, named, f"url and storage_options of {url}")
    files = S3Files(url, settings.s3fs_options(), settings.read_timeout_s)
    known = settings.bucket_options(dict(environment))
    return Bucket(url, known, files) if known else files
