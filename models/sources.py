"""Where a model package comes from: a packaged name, a folder, or a URL whose package is cached.

A cached package is there whole or not at all: it is verified in a folder of its own and then renamed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self
from urllib.parse import urlsplit

from platformdirs import user_cache_path

from nightsift.archive.errors import ConfigurationError, StorageError
from nightsift.archive.stores import Workspace, refuse_secrets
from nightsift.models.description import CARD, DESCRIPTION, missing_file, parse_description, verified

CACHE_VARIABLE: Final = "NIGHTSIFT_CACHE"
HERE: Final = ("localhost", "127.0.0.1", "::1")
PLACES: Final = "https://… or s3://bucket/prefix, without a query; http://… on this machine only"
PIN: Final = re.compile(r"sha256=([0-9a-f]{64})")


@dataclass(frozen=True)
class Source:
    """A place that holds a model package; another machine can be sent it.

    Parameters
    ----------
    place
        A packaged name, an absolute folder, or a URL.
    options
        ``endpoint_url`` and so on of the store of a URL, as pairs. Secrets come from the environment.
    sha256
        The digest that the package must have; None takes what is there.
    """

    place: str
    options: tuple[tuple[str, Any], ...] = ()
    sha256: str | None = None

    @classmethod
    def named(cls, package: str, base: Path, options: tuple[tuple[str, Any], ...] = ()) -> Self:
        """The source that a configuration or a command line names.

        Parameters
        ----------
        package
            A packaged name, a folder relative to ``base``, or a URL; each may end in ``#sha256=DIGEST``.

        Raises
        ------
        ConfigurationError
            If the URL holds a secret, is not encrypted, or the digest is none.
        """
        place, separator, fragment = package.partition("#")
        pinned = PIN.fullmatch(fragment)
        if "://" in place:
            place = place.rstrip("/")
            _refuse_url(place, options)
        if separator and not pinned:
            raise ConfigurationError(
                f"the model package {place} is pinned to no digest",
                expected="#sha256= and 64 hexadecimal digits after its name",
                found=f"{len(fragment)} other characters",
                mend="copy the digest that `nightsift model show` tells",
            )
        if "://" not in place and place not in packaged_names():
            place = str((base / place).absolute())
        return cls(place, options, pinned[1] if pinned else None)

    def __str__(self) -> str:
        return self.place

    @property
    def is_remote(self) -> bool:
        """Whether it is a URL."""
        return "://" in self.place

    def folder(self) -> Path:
        """The folder that holds the package; a remote one is fetched, unless it is cached.

        Raises
        ------
        ConfigurationError
            If there is no such package, or a file of it is not what its digest says.
        StorageError
            If a server cannot be reached, or the cache not be written.
        """
        if self.is_remote:
            return self._cached()
        folder = _packages() / self.place if self.place in packaged_names() else Path(self.place)
        if not folder.is_dir():
            raise ConfigurationError(
                f"there is no model package {folder.name!r}",
                expected=f"one of {', '.join(packaged_names()) or 'none'}, a folder or a URL",
                found=f"no folder {folder}",
                mend="correct the name or the path",
            )
        return folder

    def _cached(self) -> Path:
        if self.sha256 and (known := _cache() / self.sha256).is_dir():
            return known
        data = self._fetch(DESCRIPTION)
        described = parse_description(data, f"{self.place}/{DESCRIPTION}")
        self.refuse_other(described.sha256)
        folder = _cache() / described.sha256
        if not folder.is_dir():
            with _staged(folder) as staging:
                (staging / DESCRIPTION).write_bytes(data)
                (staging / CARD).write_bytes(self._fetch(CARD))
                for name, digest in described.files.items():
                    source = f"{self.place}/{name}"
                    (staging / name).write_bytes(verified(self._fetch(name), digest, source))
        return folder

    def refuse_other(self, found: str) -> None:
        """Refuse a package that does not have the digest to which this source is pinned."""
        if self.sha256 not in (None, found):
            raise ConfigurationError(
                f"{self.place} holds another model package than the one that is named",
                expected=f"sha256 {self.sha256}",
                found=f"sha256 {found}",
                mend="restore the package there, or name the new digest",
            )

    def _fetch(self, name: str) -> bytes:
        try:
            return Workspace(self.place, self.options).read(name)
        except FileNotFoundError as error:
            raise missing_file(self.place, name, str(error)) from error


def packaged_names() -> list[str]:
    """Names of the models that come with Nightsift."""
    return sorted(path.name for path in _packages().iterdir() if (path / DESCRIPTION).is_file())


def _packages() -> Path:
    return Path(str(files("nightsift.models"))) / "packages"


def _cache() -> Path:
    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named).expanduser() if named else user_cache_path("nightsift")) / "packages"


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` that takes its place when all went well."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="unfinished-", dir=folder.parent) as beside:
            staging = Path(beside) / "package"
            staging.mkdir()
            yield staging
            if not folder.is_dir():
                _rename(staging, folder)
    except OSError as error:
        raise StorageError(
            f"the cache of model packages {folder.parent} cannot be written",
            found=str(error),
            mend=f"free or permit it, or set {CACHE_VARIABLE} to another folder",
        ) from error


def _rename(staging: Path, folder: Path) -> None:
    try:
        staging.rename(folder)
    except OSError:
        if not folder.is_dir():  # another process was quicker: its package has the same digest
            raise


def _refuse_url(url: str, options: tuple[tuple[str, Any], ...]) -> None:
    refuse_secrets(url, dict(options), "the URL of the model package")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(
            f"{url} is no URL", expected=PLACES, found=str(error), mend="correct the name of the package"
        ) from error
    plain = parts.scheme == "http" and parts.hostname not in HERE
    if plain or parts.scheme not in ("http", "https", "s3") or parts.query:
        raise ConfigurationError(
            f"no model package is read from {parts.scheme}://{parts.netloc}{parts.path}"
            + (" with a query" if parts.query else ""),
            expected=PLACES,
            mend="name the folder of the package on a server that encrypts",
        )
