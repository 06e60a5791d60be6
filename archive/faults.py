"""Faults of stores, told in the same words whichever library met them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError, NotFoundError

from nightsift.archive.errors import StorageError


@dataclass(frozen=True)
class Fault:
    """A kind of fault: the words that give it away, what it is, and the mend."""

    signs: tuple[str, ...]
    what: str
    mend: str


# Libraries, servers and operating systems share no error codes, only words.
# The first fault that fits is told.
FAULTS = (
    Fault(
        ("no space left", "storagefull", "quotaexceeded", "disk quota"),
        "the store is full",
        "free space there, or set its url to another store, and run again",
    ),
    Fault(
        ("read-only file", "readonlyfilesystem"),
        "the store is read-only",
        "make it writable, or set its url to another store",
    ),
    Fault(
        ("nosuchbucket", "no such bucket", "bucket does not exist"),
        "there is no such bucket",
        "correct the url in the configuration, or make the bucket",
    ),
    Fault(
        (
            "invalidaccesskey",
            "signaturedoesnotmatch",
            "expiredtoken",
            "accessdenied",
            "access denied",
            "access key",
            "credentials",
            "unauthenticated",
            "forbidden",
            "permission",
            "169.254.",  # where a library looks for credentials when the environment has none
        ),
        "the store refuses these credentials",
        "for S3 set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to an account that may use it; "
        "for a folder give this user the permission",
    ),
    Fault(
        ("connect", "endpoint", "timed out", "timeout", "dns", "error sending request", "resolve"),
        "the store cannot be reached",
        "check that the server is up and that endpoint_url names it",
    ),
    Fault(
        ("no such file", "not found", "filenotfound", "(404)"),
        "there is nothing at this url",
        "correct the url in the configuration",
    ),
)
UNKNOWN = Fault((), "the store failed", "mend what the store's own words name, and run again")


@contextmanager
def storage_errors(url: str, *, missing_is_fault: bool = True) -> Iterator[None]:
    """Turn whatever a store raises into a `StorageError` that names the store and the mend.

    With ``missing_is_fault=False`` an absent object raises FileNotFoundError instead.
    """
    try:
        with warnings.catch_warnings():
            # Both are read back by zarr-python wherever we write them; the warnings speak of other languages.
            warnings.filterwarnings("ignore", "Numcodecs codecs are not in the Zarr version 3")
            warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
            yield
    except (FileNotFoundError, NotFoundError) as error:
        if missing_is_fault:
            raise _storage_error(url, error) from error
        raise FileNotFoundError(str(error).splitlines()[0]) from error
    except (OSError, BaseError, BotoCoreError, ClientError) as error:
        raise _storage_error(url, error) from error


def _storage_error(url: str, error: Exception) -> StorageError:
    text = f"{type(error).__name__}: {error}"
    fault = next((f for f in FAULTS if any(sign in text.lower() for sign in f.signs)), UNKNOWN)
    return StorageError(f"{url}: {fault.what}", found=text.splitlines()[0][:300], mend=fault.mend)
