"""A night's scores: what the model said of every frame, from which releases are built."""

from __future__ import annotations

from typing import Any

from nightsift.archive.nights import StationNight
from nightsift.archive.stores import Workspace
from nightsift.catalogs.parquet import WrittenFile, read_table, write_tables


def scores_key(unit: StationNight) -> str:
    """Where a night's scores lie in the workspace."""
    return f"scores/{unit}/scores.parquet"


def write_scores(workspace: Workspace, unit: StationNight, table: Any) -> WrittenFile:
    """Write a night's scores; ``table`` has the columns of `nightsift.catalogs.schema.scores_schema`."""
    return write_tables(workspace, scores_key(unit), table.schema, [table])


def read_scores(workspace: Workspace, unit: StationNight) -> Any:
    """Read a night's scores."""
    return read_table(workspace, scores_key(unit))
