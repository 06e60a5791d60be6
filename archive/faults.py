"""Faults of stores, told in the same words whichever library met them, and how often each is worth a try."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError, NotFoundError

from nightsift.archive.errors import StorageError

ONCE, BRIEFLY, PATIENTLY = 1, 6, 10  # tries: for good; while a server restarts; while it is in trouble


@dataclass(frozen=True)
class Fault:
    """A kind of fault: the words that give it away, what it is, the mend, how often a request is tried."""

    signs: tuple[str, ...]
    what: str
    mend: str
    tries: int = ONCE

    @property
    def passing(self) -> bool:
        """Whether the next try may succeed."""
        return self.tries > ONCE


UNREACHABLE = (
    "the store cannot be reached",
    "check that the server is up and that url or endpoint_url names it",
)

NO_BUCKET = Fault(
    ("nosuchbucket", "no such bucket", "bucket does not exist"),
    "there is no such bucket",
    "correct the url in the configuration, or make the bucket",
)
NOTHING_THERE = Fault(
    ("no such file", "not found", "filenotfound", "not a directory", "(404)"),
    "there is nothing at this url",
    "correct the url in the configuration",
)

REFUSED = "the store refuses these credentials"
# A folder has neither credentials nor a server.
OF_A_FOLDER = {
    REFUSED: ("this user may not read or write there", "give this user the permission"),
    UNREACHABLE[0]: ("the folder does not answer", "check that its disk is there and mounted"),
}

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
    NO_BUCKET,
    Fault(
        (
            *(f"status code: {code}" for code in (429, 500, 502, 503, 504)),
            *(f"({code})" for code in (429, 500, 502, 503, 504)),
            "slowdown",
            "slow down",
            "reduce your request rate",
            "too many requests",
            "internalerror",
            "internal server error",
            "serviceunavailable",
            "service unavailable",
            "bad gateway",
            "requesttimeout",
            "gateway time",
        ),
        "the store is overloaded or in trouble",
        "run again later, or with fewer workers",
        PATIENTLY,
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
            "authentication",
            "login incorrect",
            "forbidden",
            "permission",
            "169.254.",  # where a library looks for credentials when the environment has none
        ),
        REFUSED,
        "for S3 set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to an account that may use it, "
        "for another store FSSPEC_<SCHEME>_<OPTION>, such as FSSPEC_SFTP_PASSWORD",
    ),
    Fault(
        (
            "reset by peer",
            "connectionreset",
            "timed out",
            "timedout",
            "timeouterror",
            "kind: timeout",
            "kind: interrupted",
            "incomplete",
            "not completed",
            "broken pipe",
            "brokenpipe",
            "was closed",
            "connection lost",
            "connectionlost",
            "disconnected",
            "aborted",
            "eoferror",
            "unexpected eof",
            "connection dropped",
            "socket is closed",
            "session not",
            "error_temp",
            "stale file handle",
        ),
        *UNREACHABLE,
        PATIENTLY,
    ),
    Fault(
        ("refused", "dns", "resolve", "not known", "unreachable", "connect", "endpoint", "sending request"),
        *UNREACHABLE,
        BRIEFLY,
    ),
    NOTHING_THERE,
)
UNKNOWN = Fault((), "the store failed", "mend what the store's own words name, and run again")


def fault_of(error: BaseException) -> Fault:
    """The kind of a fault, by the words of an error and of its causes.

    >>> fault_of(ConnectionResetError(104, "Connection reset by peer")).passing
    True
    >>> fault_of(PermissionError(13, "Permission denied")).what
    'the store refuses these credentials'
    """
    words = _words(error)
    # The name of an object that is missing may hold any word.
    missing = isinstance(error, FileNotFoundError | NotFoundError)
    known = (NO_BUCKET, NOTHING_THERE) if missing else FAULTS
    return next((fault for fault in known if any(sign in words for sign in fault.signs)), UNKNOWN)


def _words(error: BaseException) -> str:
    told: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(told) < 5:
        told.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    # A path may hold any word: of an address only the host tells something.
    return re.sub(r"(://[^/\s]*)/\S*", r"\1", "\n".join(told)).lower()


@contextmanager
def storage_errors(url: str, *, missing_is_fault: bool = True) -> Iterator[None]:
    """`request_errors` around work with Zarr, without warnings that do not concern us.

    Warnings are a matter of the whole process: not for threads.
    """
    with warnings.catch_warnings(), request_errors(url, missing_is_fault=missing_is_fault):
        # Both are read back by zarr-python wherever we write them; the warnings speak of other languages.
        warnings.filterwarnings("ignore", "Numcodecs codecs are not in the Zarr version 3")
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        yield


@contextmanager
def request_errors(url: str, *, missing_is_fault: bool = True) -> Iterator[None]:
    """Turn whatever a store raises into a `StorageError` that names the store and the mend.

    With ``missing_is_fault=False`` an absent object raises FileNotFoundError instead; an absent bucket never.
    """
    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        if missing_is_fault or fault_of(error) is NO_BUCKET:
            raise storage_error(url, error) from error
        raise FileNotFoundError(str(error).splitlines()[0]) from error
    except (OSError, BaseError, BotoCoreError, ClientError) as error:
        raise storage_error(url, error) from error


def storage_error(url: str, error: Exception) -> StorageError:
    """What to tell of an error of the store at ``url``."""
    fault = fault_of(error)
    what, mend = fault.what, fault.mend
    if url.partition("://")[0] in ("file", "local", url):
        what, mend = OF_A_FOLDER.get(what, (what, mend))
    told = [f"{type(error).__name__}: {error}".splitlines()[0][:300], *getattr(error, "__notes__", [])]
    return StorageError(f"{url}: {what}", found=", ".join(told), mend=mend)
