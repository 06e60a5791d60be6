"""Receipts: what says that a stage of a station-night is done, and of what it was made.

A receipt is written last. Its name holds the fingerprint of everything that the products depend on, so
that a listing tells what is current without opening a file::

    receipts/<stage>/<station>/<night>/<fingerprint>.json

Beside the receipt of the frames lies what the archive held then, ``<fingerprint>.objects.json.gz``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from nightsift.archive.layouts import FrameRef
from nightsift.archive.nights import StationNight
from nightsift.archive.stores import Workspace

FINGERPRINT_DIGITS = 20


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
        unit = StationNight(parts[2], date.fromisoformat(parts[3]))
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


def write_objects(workspace: Workspace, name: ReceiptName, refs: Iterable[FrameRef]) -> None:
    """Keep what the archive held when a product was made, so that what vanishes later can be told."""
    rows = [(r.key, r.size, r.etag, r.start_utc.isoformat() if r.start_utc else None, r.reason) for r in refs]
    workspace.write(_objects_key(name), gzip.compress(json.dumps(rows).encode(), mtime=0))


def read_objects(workspace: Workspace, name: ReceiptName) -> tuple[FrameRef, ...]:
    """The objects that a receipt's product was made from."""
    rows = json.loads(gzip.decompress(workspace.read(_objects_key(name))))
    return tuple(
        FrameRef(
            name.unit.station,
            name.unit.night,
            datetime.fromisoformat(start) if start else None,
            key,
            size,
            etag,
            reason,
        )
        for key, size, etag, start, reason in rows
    )


def _objects_key(name: ReceiptName) -> str:
    return f"{_folder(name)}/{name.fingerprint}.objects.json.gz"


def _folder(name: ReceiptName) -> str:
    return f"receipts/{name.stage}/{name.unit}"
