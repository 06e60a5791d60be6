"""Receipts: what says that a stage of a station-night is done, and of what it was made.

A receipt is written last. Its name holds the fingerprint of everything that the products depend on, so
that a listing tells what is current without opening a file::

    receipts/<stage>/<station>/<night>/<fingerprint>.json

What the archive held when a night was last made lies in ``receipts/objects/<station>/<night>/``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from nightsift.archive.errors import NightsiftError
from nightsift.archive.layouts import FrameRef
from nightsift.archive.nights import StationNight
from nightsift.archive.stores import Workspace

FINGERPRINT_DIGITS = 20
OBJECTS = "receipts/objects"
OBJECTS_ENDING = ".json.gz"
_OBJECTS_KEY = re.compile(
    OBJECTS
    + r"/(?P<station>[^/]+)/(?P<night>\d{4}-(?:0[1-9]|1[0-2])-(?:[0-2]\d|3[01]))/(?P<digest>[0-9a-f]+)"
    + re.escape(OBJECTS_ENDING)
)


def fingerprint(**parts: Any) -> str:
    """Digest of everything that a product depends on.

    >>> fingerprint(stage="frames", version=1) == fingerprint(version=1, stage="frames")
    True
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]


@dataclass(frozen=True)
class ReceiptName:
    """The name of a receipt: all that a listing shows."""

    stage: str
    unit: StationNight
    fingerprint: str
    failed: bool = False

    @property
    def key(self) -> str:
        """The object's key in the workspace.

        >>> ReceiptName("frames", StationNight("UK0006", date(2022, 9, 14)), "ab12").key
        'receipts/frames/UK0006/2022-09-14/ab12.json'
        """
        ending = ".failed.json" if self.failed else ".json"
        return f"{_folder(self)}/{self.fingerprint}{ending}"

    @classmethod
    def parse(cls, key: str) -> ReceiptName | None:
        """Read a key; None if it is not a receipt's, such as what a killed write leaves."""
        parts = key.split("/")
        if len(parts) != 5 or not parts[4].endswith(".json"):
            return None
        stem = parts[4].removesuffix(".json")
        try:
            unit = StationNight(parts[2], date.fromisoformat(parts[3]))
        except ValueError:
            return None
        return cls(parts[1], unit, stem.removesuffix(".failed"), stem.endswith(".failed"))


def list_receipts(workspace: Workspace, below: str = "") -> set[ReceiptName]:
    """Every receipt of the workspace, or of a stage or night of it, from a listing alone."""
    found = (ReceiptName.parse(key) for key in workspace.names(f"receipts/{below}".rstrip("/")))
    return {name for name in found if name is not None}


def read_receipt(workspace: Workspace, name: ReceiptName) -> dict[str, Any]:
    """What a receipt says."""
    content: dict[str, Any] = json.loads(workspace.read(name.key))
    return content


def begin_product(workspace: Workspace, name: ReceiptName) -> bool:
    """Whether a product has to be made; if so, its old receipts are removed before it is touched.

    False when the very receipt is there already: a scheduler may hand out a finished step again when the
    worker that finished it leaves.
    """
    present = workspace.names(_folder(name))
    if name.key in present:
        return False
    workspace.delete(present)
    return True


def write_receipt(workspace: Workspace, name: ReceiptName, content: Mapping[str, Any]) -> None:
    """Write a receipt; the product is complete from then on."""
    body = {"stage": name.stage, "station": name.unit.station, "night": name.unit.night.isoformat()}
    text = json.dumps({**body, "fingerprint": name.fingerprint, **content}, indent=1, default=str)
    workspace.write(name.key, text.encode())


def objects_digest(refs: Iterable[FrameRef]) -> str:
    """Digest of a night's objects, whatever is made of them."""
    return fingerprint(objects=sorted((ref.key, ref.size, ref.etag) for ref in refs))


def list_objects(workspace: Workspace) -> dict[StationNight, str]:
    """The digest of what each night was last made from, from a listing alone."""
    found: dict[StationNight, str] = {}
    for key in workspace.names(OBJECTS):
        if match := _OBJECTS_KEY.fullmatch(key):
            unit = StationNight(match["station"], date.fromisoformat(match["night"]))
            found[unit] = match["digest"]
    return found


def write_objects(workspace: Workspace, unit: StationNight, refs: Sequence[FrameRef]) -> None:
    """Keep what the archive held when a night was made, so that what vanishes later can be told."""
    rows = [(r.key, r.size, r.etag, r.start_utc.isoformat() if r.start_utc else None, r.reason) for r in refs]
    key = f"{OBJECTS}/{unit}/{objects_digest(refs)}{OBJECTS_ENDING}"
    workspace.write(key, gzip.compress(json.dumps(rows).encode(), mtime=0))
    workspace.delete(name for name in workspace.names(f"{OBJECTS}/{unit}") if name != key)


def read_objects(workspace: Workspace, unit: StationNight) -> tuple[FrameRef, ...]:
    """The objects that a night was last made from; empty if that is not known.

    Raises
    ------
    NightsiftError
        What was kept is damaged.
    """
    rows = [row for key in workspace.names(f"{OBJECTS}/{unit}")[-1:] for row in _rows(workspace, key)]
    return tuple(
        FrameRef(
            unit.station,
            unit.night,
            datetime.fromisoformat(start) if start else None,
            key,
            size,
            etag,
            reason,
        )
        for key, size, etag, start, reason in rows
    )


def _rows(workspace: Workspace, key: str) -> list[tuple[str, int, str, str | None, str | None]]:
    try:
        rows: list[tuple[str, int, str, str | None, str | None]] = json.loads(
            gzip.decompress(workspace.read(key))
        )
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise NightsiftError(
            f"{key} is damaged",
            expected="the list of what a night was made from",
            found=f"{type(error).__name__}: {error}",
            mend="remove it: the archive is then taken as it is",
        ) from error
    return rows


def forget_night(workspace: Workspace, unit: StationNight, stages: Iterable[str]) -> None:
    """Remove the receipts of a night, and the memory of what it was made from; its products stay."""
    for stage in (*stages, "objects"):
        workspace.delete(workspace.names(f"receipts/{stage}/{unit}"))


def _folder(name: ReceiptName) -> str:
    return f"receipts/{name.stage}/{name.unit}"
