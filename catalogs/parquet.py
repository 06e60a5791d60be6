"""Parquet in a workspace."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nightsift.archive.stores import Workspace


@dataclass(frozen=True)
class WrittenFile:
    """A Parquet file that was written."""

    key: str
    rows: int
    size: int
    sha256: str


def write_tables(workspace: Workspace, key: str, schema: Any, tables: Iterable[Any]) -> WrittenFile:
    """Write tables as the row groups of one file, whole or not at all.

    Empty tables make no row group; the file exists even without rows, so that its columns can be read.
    """
    buffer = io.BytesIO()
    rows = 0
    with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
        for table in tables:
            rows += table.num_rows
            if table.num_rows:
                writer.write_table(table.cast(schema))
    data = buffer.getvalue()
    workspace.write(key, data)
    return WrittenFile(key, rows, len(data), hashlib.sha256(data).hexdigest())


def read_table(workspace: Workspace, key: str, columns: Sequence[str] | None = None) -> Any:
    """Read one file; all columns by default."""
    wanted = None if columns is None else list(columns)
    return pq.read_table(pa.BufferReader(workspace.read(key)), columns=wanted)
