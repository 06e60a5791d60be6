"""Archives of a night, `.tar`, `.tar.gz`, `.tar.bz2` and `.zip`: read as streams, never unpacked to disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import IO, Any, BinaryIO, Protocol, Self

from nightsift.archive.errors import BadFrame

MEMBER_BYTES = 256 * 2**20  # a larger member is no frame; keeps a bomb from filling the memory
BATCH_BYTES = 128 * 2**20  # members held at once where they do not lie in the order they are wanted
MEMBERS = 100_000
NAME_BYTES = 2**20  # of one long name or set of extended attributes, which the library reads whole
NAME_TYPES = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)

Opener = Callable[[], BinaryIO]


@dataclass(frozen=True)
class Member:
    """A member of an archive: its path, as it stands there, and its size in bytes when unpacked."""

    path: str
    size: int
    regular: bool = True


@dataclass(frozen=True)
class Listing:
    """The members of an archive, the first of each path, and those that come again under a path.

    ``fault`` is what ended the reading before its time, if anything did.
    """

    members: tuple[Member, ...]
    repeated: tuple[Member, ...] = ()
    fault: str | None = None


def list_members(open_archive: Opener, key: str) -> Listing:
    """The members of an archive, by reading it once.

    Parameters
    ----------
    open_archive
        Opens the archive's bytes for reading.
    key
        Its name tells the format.

    Returns
    -------
    Listing
        Those that can be read; a damaged archive gives what stands before the damage, and ``fault``.
    """
    found: dict[str, Member] = {}
    repeated: list[Member] = []
    fault = None
    try:
        with _faults(), _opened(open_archive, key) as reader:
            for number, (member, _) in enumerate(reader):
                if number == MEMBERS:
                    raise BadFrame("too-large", f"expected at most {MEMBERS:,} members")
                if found.setdefault(member.path, member) is not member:
                    repeated.append(member)
    except BadFrame as bad:
        fault = bad.detail
    return Listing(tuple(found.values()), tuple(repeated), fault)


def read_members(
    open_archive: Opener, key: str, wanted: Sequence[Member], batch_bytes: int
) -> Iterator[tuple[Member, bytes | BadFrame]]:
    """The bytes of members, in the order wanted, whatever the order in which they lie.

    Yields
    ------
    tuple
        The member, and its bytes or why it cannot be read.

    Notes
    -----
    A compressed archive can only be read from its beginning: it is read once for every ``batch_bytes`` of
    wanted members, which bounds the memory.
    """
    for batch in _batches(wanted, batch_bytes):
        paths = {member.path for member in batch}
        held: dict[str, bytes | BadFrame] = {}
        fault = BadFrame("corrupt", f"{key} does not hold it any more")
        try:
            with _faults(), _opened(open_archive, key) as reader:
                for member, content in reader:
                    if member.path in paths - held.keys():
                        held[member.path] = _bytes_of(member, content)
                    if len(held) == len(paths):
                        break
        except BadFrame as bad:
            fault = bad
        for member in batch:
            yield member, held.pop(member.path, fault)


def _batches(wanted: Sequence[Member], batch_bytes: int) -> Iterator[list[Member]]:
    batch: list[Member] = []
    size = 0
    for member in wanted:
        if batch and size + member.size > batch_bytes:
            yield batch
            batch, size = [], 0
        batch.append(member)
        size += min(member.size, MEMBER_BYTES)
    if batch:
        yield batch


def _bytes_of(member: Member, content: Callable[[], IO[bytes] | None]) -> bytes | BadFrame:
    if not member.regular:
        return BadFrame("unsupported", "expected a file, found a link or a device")
    if member.size > MEMBER_BYTES:
        return BadFrame("too-large", f"expected at most {MEMBER_BYTES:,} bytes, found {member.size:,}")
    try:
        with _faults():
            stream = content()
            data = stream.read(MEMBER_BYTES + 1) if stream else b""
    except BadFrame as bad:
        return bad
    if len(data) != member.size:
        return BadFrame("corrupt", f"expected {member.size:,} bytes, found {len(data):,}")
    return data


class _Reader(Protocol):
    def __iter__(self) -> Iterator[tuple[Member, Callable[[], IO[bytes] | None]]]: ...


@contextmanager
def _opened(open_archive: Opener, key: str) -> Iterator[_Reader]:
    with open_archive() as raw:
        if key.lower().endswith(".zip"):
            with zipfile.ZipFile(raw) as archive:
                yield _zip_members(archive)
        else:
            with tarfile.open(fileobj=_unpacked(raw), mode="r|", tarinfo=_Header) as archive:
                yield _tar_members(archive)


def _unpacked(raw: BinaryIO) -> Any:
    """The bytes of a tar archive, unpacked as they are asked for.

    The library's own streams unpack each 10 KiB at once, of which bzip2 can make gigabytes.
    """
    magic = raw.read(3)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return SimpleNamespace(read=gzip.GzipFile(fileobj=raw).read1)
    if magic == b"BZh":
        return SimpleNamespace(read=bz2.BZ2File(raw).read1)
    return raw


def _zip_members(archive: zipfile.ZipFile) -> Iterator[tuple[Member, Callable[[], IO[bytes] | None]]]:
    for info in archive.infolist():
        if not info.is_dir():
            yield Member(_path(info.filename), info.file_size), lambda info=info: archive.open(info)  # type: ignore[misc]


def _tar_members(archive: tarfile.TarFile) -> Iterator[tuple[Member, Callable[[], IO[bytes] | None]]]:
    for info in archive:
        # The library keeps what it has listed, and would keep it for every member of a long archive.
        archive.members = []  # type: ignore[attr-defined]
        if not info.isdir():
            member = Member(_path(info.name), info.size, info.isreg())
            yield member, lambda info=info: archive.extractfile(info)  # type: ignore[misc]
    if not getattr(archive, "ended", False):
        raise tarfile.ReadError("it is cut off")


class _Header(tarfile.TarInfo):
    """Notes the mark at the end of an archive, without which the library takes a cut for the end.

    Refuses names that would fill the memory.
    """

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> Self:  # type: ignore[override]
        header = super().frombuf(buf, encoding, errors)
        if header.type in NAME_TYPES and header.size > NAME_BYTES:
            raise tarfile.ReadError(f"a name of {header.size:,} bytes")
        return header

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            archive.ended = True  # type: ignore[attr-defined]
            raise


def _path(name: str) -> str:
    return name.removeprefix("./")


@contextmanager
def _faults() -> Iterator[None]:
    """What damage does to the readers, in one kind of error; faults of the store itself pass."""
    try:
        yield
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        UnicodeError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        raise BadFrame("corrupt", f"{type(error).__name__}: {error}") from error
    except OSError as error:
        # bz2 and gzip tell damage by OSError without a number.
        if error.errno is not None:
            raise
        raise BadFrame("corrupt", f"{type(error).__name__}: {error}") from error
