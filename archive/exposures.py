"""From the objects of a night to its exposures in time order, whatever the formats and archives."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import BinaryIO, TypeVar

from blake3 import blake3

from nightsift.archive.containers import BATCH_BYTES, Listing, Member, list_members, read_members
from nightsift.archive.errors import BadFrame, Unreadable
from nightsift.archive.formats import Picture, header_exposure, pictures
from nightsift.archive.layouts import FrameRef, inside, is_container, member_refs, without_duplicates
from nightsift.archive.nights import night_of
from nightsift.archive.stations import Station
from nightsift.archive.stores import Archive

FETCH_FRAMES = 16  # objects under way at once: hides the store's latency
FETCH_BYTES = (
    32 * 2**20
)  # and no more than this, which bounds the memory; a larger object is read as a stream
HEADER_BYTES = 28_800
HEADERS = 64
JPEG_ENDINGS = (".jpg", ".jpeg")
HASHED_BYTES = 2**20

Read = TypeVar("Read")
Raw = tuple[FrameRef, "bytes | BinaryIO | BadFrame"]


@dataclass(frozen=True)
class Rejected:
    """A frame that cannot be used, and why."""

    key: str
    start_utc: str | None
    reason: str
    detail: str


@dataclass(frozen=True, eq=False)
class Exposure:
    """A frame that was decoded.

    Attributes
    ----------
    key
        Object key; with the path inside an archive, and the number of the first short exposure of a later
        block of a video behind ``#``.
    digest
        BLAKE3 of the file's bytes, with the number of a later block of a video.
    data
        The file's bytes; empty where the file holds more than this picture.
    """

    key: str
    etag: str
    start_utc: datetime
    exposure_s: float
    digest: str
    picture: Picture
    data: bytes


@dataclass(frozen=True)
class NightReader:
    """Reads the objects of one station-night."""

    archive: Archive
    station: Station
    refs: tuple[FrameRef, ...]
    colour: bool = False
    _listings: dict[str, Listing] = field(default_factory=dict)

    def exposures(self) -> Iterator[Exposure | Rejected]:
        """Every frame of the night, in time order, with those that cannot be used among them.

        Raises
        ------
        StorageError
            The archive does not answer.

        Notes
        -----
        Where two exposures overlap, as clips of cameras do, the longer one is kept: of the end of a video and
        the begin of the next, the begin.
        """
        waiting: Exposure | None = None
        for ref, source in self._merged(rejected := list[Rejected]()):
            yield from _drained(rejected)
            for found in self._decoded(ref, source):
                if isinstance(found, Rejected):
                    yield found
                elif waiting is None or found.start_utc > waiting.start_utc:
                    if waiting is not None:
                        yield waiting
                    waiting = found
                else:
                    waiting, other = _longer(waiting, found)
                    yield other
        if waiting is not None:
            yield waiting
        yield from _drained(rejected)

    def sample(self, count: int | None) -> Iterator[Picture]:
        """About ``count`` pictures spread over the night, or all, but those that cannot be decoded."""
        for ref, source in self._merged([], count):
            try:
                yield next(self._pictures(ref, source))
            except (BadFrame, StopIteration):
                continue  # counted with its reason when its turn comes

    def only_jpeg(self) -> bool:
        """Whether every usable file is a JPEG by its name; such a file holds one or is rejected."""
        loose = (ref.key for ref in self.refs if ref.reason is None and not is_container(ref.key))
        members = (
            ref.key
            for container in self.refs
            if container.key in self._listings
            for ref in self._member_refs(container)
            if ref.reason is None
        )
        return all(map(_is_jpeg, chain(loose, members)))

    def _member_refs(self, container: FrameRef) -> tuple[FrameRef, ...]:
        listed = self._listings[container.key].members
        return member_refs(self.station, container, [(member.path, member.size) for member in listed])

    def find(self, key: str) -> Exposure | None:
        """The exposure of one key; None if it is not in the night any more, or cannot be used."""
        for ref, source in self._merged([]):
            if key.startswith(ref.key):
                for found in self._decoded(ref, source):
                    if isinstance(found, Exposure) and found.key == key:
                        return found
        return None

    @property
    def _batch_bytes(self) -> int:
        # Every archive of the night holds a batch at once.
        return BATCH_BYTES // max(1, sum(is_container(ref.key) for ref in self.refs))

    def _merged(self, rejected: list[Rejected], sample: int | None = None) -> Iterator[Raw]:
        """Loose files and the members of archives, in time order; fills ``rejected`` on the way."""
        loose = [ref for ref in self.refs if not is_container(ref.key)]
        streams = [self._loose(_thinned(self._timed(loose, rejected), sample))]
        containers = (ref for ref in self.refs if is_container(ref.key) and ref.reason is None)
        streams.extend(self._members(ref, rejected, sample) for ref in containers)
        rejected.extend(_rejected(r, r.reason, "told by its name") for r in self.refs if r.reason)
        return heapq.merge(*streams, key=lambda raw: (raw[0].start_utc, raw[0].key))

    def _timed(self, refs: Sequence[FrameRef], rejected: list[Rejected]) -> list[FrameRef]:
        """Usable loose files in time order; the times that names do not tell are read from the headers."""
        named = [ref for ref in refs if ref.reason is None and ref.start_utc is not None]
        unnamed = [ref for ref in refs if ref.reason is None and ref.start_utc is None]
        if not unnamed:
            return named
        for begin in range(0, len(unnamed), HEADERS):
            block = unnamed[begin : begin + HEADERS]
            for ref, head in zip(block, self._heads(block), strict=True):
                if isinstance(head, BadFrame):
                    rejected.append(_rejected(ref, head.reason, head.detail))
                else:
                    named += _kept([self._with_header_time(ref, head)], rejected)
        return _kept(without_duplicates(named), rejected)

    def _heads(self, block: Sequence[FrameRef]) -> Sequence[bytes | BadFrame]:
        def heads(*keys: str) -> list[bytes]:
            return self.archive.fetch_ranges(keys, [0] * len(keys), [HEADER_BYTES] * len(keys))

        try:
            return heads(*(ref.key for ref in block))
        except Unreadable:
            return [_or_bad(lambda key: heads(key)[0], ref.key) for ref in block]

    def _with_header_time(self, ref: FrameRef, head: bytes) -> FrameRef:
        start, _ = header_exposure(head, self.station.fits_time, self.station.fits_zone)
        if start is None:
            return replace(ref, reason="unparsable-name")
        outside = night_of(start, self.station.zone) != ref.night
        return replace(ref, start_utc=start, reason="wrong-night" if outside else None)

    def _loose(self, refs: Sequence[FrameRef]) -> Iterator[Raw]:
        """Files in order; the next block is fetched while the last is decoded."""
        blocks = list(_blocks(refs))
        with ThreadPoolExecutor(1) as pool:
            pending = [pool.submit(self._fetched, block) for block in blocks[:1]]
            for number, block in enumerate(blocks):
                found = pending.pop().result()
                pending.extend(pool.submit(self._fetched, b) for b in blocks[number + 1 : number + 2])
                yield from zip(block, found, strict=True)

    def _fetched(self, block: Sequence[FrameRef]) -> Sequence[bytes | BinaryIO | BadFrame]:
        if block[0].size > FETCH_BYTES and not _is_jpeg(block[0].key):
            return [_or_bad(self.archive.open, block[0].key)]
        try:
            return self.archive.fetch([ref.key for ref in block])
        except Unreadable:
            return [_or_bad(lambda key: self.archive.fetch([key])[0], ref.key) for ref in block]

    def _members(self, container: FrameRef, rejected: list[Rejected], sample: int | None) -> Iterator[Raw]:
        opener = partial(self.archive.open, container.key)
        if container.key not in self._listings:
            try:
                self._listings[container.key] = list_members(opener, container.key)
            except Unreadable as error:
                rejected.append(_rejected(container, "unreadable", error.found or error.what))
                return
        listing = self._listings[container.key]
        if listing.fault is not None:
            detail = f"{listing.fault}, after {len(listing.members)} members"
            rejected.append(_rejected(container, "corrupt", detail))
            if not listing.members:
                return
        rejected.extend(
            Rejected(
                f"{container.key}/{inside(member.path)}",
                None,
                "duplicate-time",
                "a member of this name comes before it",
            )
            for member in listing.repeated
        )
        refs = self._member_refs(container)
        members = {f"{container.key}/{inside(member.path)}": member for member in listing.members}
        timed = self._timed_members(opener, container, refs, members, rejected)
        wanted = [members[ref.key] for ref in _thinned(timed, sample)]
        by_path = {members[ref.key].path: ref for ref in timed}
        for member, data in read_members(opener, container.key, wanted, self._batch_bytes):
            yield by_path[member.path], data

    def _timed_members(
        self,
        opener: Callable[[], BinaryIO],
        container: FrameRef,
        refs: Sequence[FrameRef],
        members: Mapping[str, Member],
        rejected: list[Rejected],
    ) -> list[FrameRef]:
        """Usable members in time order; those whose names tell no time are read for their headers first."""
        timed = _kept((ref for ref in refs if ref.reason or ref.start_utc), rejected)
        unnamed = {members[r.key].path: r for r in refs if r.reason is None and r.start_utc is None}
        if not unnamed:
            return timed
        for member, data in read_members(
            opener, container.key, [members[r.key] for r in unnamed.values()], self._batch_bytes
        ):
            ref = unnamed[member.path]
            if isinstance(data, BadFrame):
                rejected.append(_rejected(ref, data.reason, data.detail))
            else:
                timed += _kept([self._with_header_time(ref, data[:HEADER_BYTES])], rejected)
        return _kept(without_duplicates(timed), rejected)

    def _decoded(self, ref: FrameRef, source: bytes | BinaryIO | BadFrame) -> Iterator[Exposure | Rejected]:
        digest = ""
        try:
            for picture in self._pictures(ref, source):
                if _is_jpeg(ref.key) and not picture.camera_jpeg:
                    raise BadFrame("unsupported", "expected a JPEG, as its name says, found another format")
                digest = digest or _digest(source)
                yield self._exposure(ref, picture, source, digest)
        except BadFrame as bad:
            yield _rejected(ref, bad.reason, bad.detail)

    def _pictures(self, ref: FrameRef, source: bytes | BinaryIO | BadFrame) -> Iterator[Picture]:
        if isinstance(source, BadFrame):
            raise source
        station = self.station
        return pictures(
            ref.key, source, colour=self.colour, fits_time=station.fits_time, fits_zone=station.fits_zone
        )

    def _exposure(
        self, ref: FrameRef, picture: Picture, source: bytes | BinaryIO | BadFrame, digest: str
    ) -> Exposure:
        return Exposure(
            f"{ref.key}#{picture.first}" if picture.first else ref.key,
            ref.etag,
            _start(ref, picture),
            picture.exposure_s or self.station.exposure_s,
            f"{digest}#{picture.first}" if picture.first else digest,
            picture,
            source if isinstance(source, bytes) else b"",
        )


def _start(ref: FrameRef, picture: Picture) -> datetime:
    """Start of the exposure, to the millisecond, which is as far as the stores keep it."""
    if ref.start_utc is None:
        raise BadFrame("unparsable-name", "neither its name nor its header tells a time")
    start = ref.start_utc + timedelta(seconds=picture.offset_s or 0)
    return start.replace(microsecond=start.microsecond // 1000 * 1000)


def _digest(source: bytes | BinaryIO | BadFrame) -> str:
    if isinstance(source, bytes):
        return blake3(source).hexdigest()
    if isinstance(source, BadFrame):
        raise source
    position, digest = source.tell(), blake3()
    source.seek(0)
    while block := source.read(HASHED_BYTES):
        digest.update(block)
    source.seek(position)
    return digest.hexdigest()


def _drained(rejected: list[Rejected]) -> Iterator[Rejected]:
    yield from rejected
    rejected.clear()


def _kept(refs: Iterable[FrameRef], rejected: list[Rejected]) -> list[FrameRef]:
    """The usable ones; the others go to ``rejected``."""
    kept = []
    for ref in refs:
        if ref.reason is None:
            kept.append(ref)
        else:
            rejected.append(_rejected(ref, ref.reason, "told by its name or header"))
    return kept


def _rejected(ref: FrameRef, reason: str, detail: str) -> Rejected:
    return Rejected(ref.key, ref.start_utc.isoformat() if ref.start_utc else None, reason, detail)


def _longer(first: Exposure, second: Exposure) -> tuple[Exposure, Rejected]:
    """Of two exposures that overlap the longer, and the other with its reason."""
    kept, other = (second, first) if second.exposure_s > first.exposure_s else (first, second)
    reason = "duplicate-time" if kept.start_utc == other.start_utc else "overlap"
    detail = f"{kept.key} begins at {kept.start_utc.isoformat()}"
    return kept, Rejected(other.key, other.start_utc.isoformat(), reason, detail)


def _is_jpeg(key: str) -> bool:
    return key.lower().endswith(JPEG_ENDINGS)


def _or_bad(read: Callable[[str], Read], key: str) -> Read | BadFrame:
    try:
        return read(key)
    except Unreadable as error:
        return BadFrame("unreadable", error.found or error.what)


def _thinned(refs: Sequence[FrameRef], count: int | None) -> Sequence[FrameRef]:
    if count is None or len(refs) <= count:
        return refs
    return [refs[i * (len(refs) - 1) // (count - 1)] for i in range(count)]


def _blocks(refs: Sequence[FrameRef]) -> Iterator[list[FrameRef]]:
    """Files to fetch at once: a bounded number, of bounded size; a file above the bound is alone."""
    block: list[FrameRef] = []
    size = 0
    for ref in refs:
        if block and (len(block) == FETCH_FRAMES or size + ref.size > FETCH_BYTES):
            yield block
            block, size = [], 0
        block.append(ref)
        size += ref.size
    if block:
        yield block
