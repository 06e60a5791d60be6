"""A night's scores: what the model said of every frame, from which releases are built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from nightsift.archive.nights import StationNight
from nightsift.archive.stores import Workspace
from nightsift.catalogs.parquet import WrittenFile, read_table, write_tables
from nightsift.catalogs.schema import scores_schema


def scores_key(unit: StationNight) -> str:
    """Where a night's scores lie in the workspace."""
    return f"scores/{unit}/scores.parquet"


def scores_table(rows: Sequence[Mapping[str, Any]], classes: tuple[str, ...]) -> Any:
    """Rows, one per frame in the store, as a table; columns that a row lacks are null."""
    return pa.Table.from_pylist(rows, schema=scores_schema(classes))


def write_scores(workspace: Workspace, unit: StationNight, table: Any) -> WrittenFile:
    """Write a night's scores; ``table`` has the columns of `nightsift.catalogs.schema.scores_schema`."""
    return write_tables(workspace, scores_key(unit), table.schema, [table])


def read_scores(workspace: Workspace, unit: StationNight) -> Any:
    """Read a night's scores."""
    return read_table(workspace, scores_key(unit))
