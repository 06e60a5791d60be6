"""What commands say: plain values for ``--json``, tables for people."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from nightsift.catalogs.release import latest_release
from nightsift.jobs.config import Configuration
from nightsift.jobs.estimate import estimated_seconds
from nightsift.jobs.plan import STAGES, Plan
from nightsift.jobs.runner import RunReport, failure_text

out = Console()
err = Console(stderr=True)


def show_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    out.print_json(json.dumps(value, default=str))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table to stdout; all columns but the first are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    out.print(table)


def plan_values(config: Configuration, plan: Plan) -> dict[str, Any]:
    """What a run would do."""
    units = plan.selected
    return {
        "stations": len({unit.unit.station for unit in units}),
        "nights": len(units),
        "frames": sum(len(unit.refs) for unit in units),
        "bytes": sum(unit.size for unit in units),
        "unclaimed": len(plan.unclaimed),
        "unclaimed_examples": plan.unclaimed[:5],
        "stale": {
            stage: {
                "nights": len(plan.stale(stage)),
                "frames": sum(len(unit.refs) for unit in plan.stale(stage)),
                "cpu_hours": round(seconds / 3600, 3),
            }
            for stage, seconds in estimated_seconds(config, plan).items()
        },
        "failed": sum(1 for unit in units if unit.failed),
        "gpu_hours": 0.0,
    }


def show_plan(values: Mapping[str, Any]) -> None:
    """The plan for a person."""
    out.print(
        f"{values['stations']} stations, {values['nights']:,} nights, {values['frames']:,} frames, "
        f"{values['bytes'] / 1e9:.2f} GB"
    )
    if values["unclaimed"]:
        examples = ", ".join(values["unclaimed_examples"])
        out.print(
            f"{values['unclaimed']:,} objects that no layout claims, such as {examples}", highlight=False
        )
    rows = [
        (stage, stale["nights"], stale["frames"], f"{stale['cpu_hours']:.2f}")
        for stage, stale in values["stale"].items()
    ]
    show_table("Stale", ("stage", "nights", "frames", "CPU-hours"), rows)
    if values["failed"]:
        out.print(f"{values['failed']} nights failed before and will be tried again")
    out.print("Nothing was written. GPU-hours: none, every stage runs on CPUs here.")


def run_values(config: Configuration, plan: Plan, report: RunReport) -> dict[str, Any]:
    """What a run did."""
    seconds: defaultdict[str, float] = defaultdict(float)
    done: Counter[str] = Counter()
    for result in report.results:
        seconds[result.name.stage] += result.seconds
        done[result.name.stage] += result.outcome == "done"
    release = report.release or {}
    name = release.get("release") or latest_release(config.workspace)
    return {
        "changed": bool(report.results) or report.release is not None,
        "stations": len({unit.unit.station for unit in plan.selected}),
        "nights": len(plan.selected),
        "frames": sum(len(unit.refs) for unit in plan.selected),
        "candidates": release.get("counts", {}).get("candidates"),
        "stages": {stage: {"nights": done[stage], "seconds": round(seconds[stage], 2)} for stage in STAGES},
        "failures": [
            {"unit": str(r.name.unit), "stage": r.name.stage, "reason": r.detail} for r in report.failures
        ],
        "release": name,
        "release_url": f"{config.workspace.url.rstrip('/')}/releases/{name}" if name else None,
    }


def show_run(values: Mapping[str, Any]) -> None:
    """The run's summary for a person."""
    if not values["changed"]:
        out.print(f"Nothing to do: release {values['release']} holds every night.", highlight=False)
        return
    columns = ("stations", "nights", "frames", "candidates", *(f"{stage} s" for stage in STAGES))
    candidates = "no release" if values["candidates"] is None else values["candidates"]
    seconds = (f"{values['stages'][stage]['seconds']:.1f}" for stage in STAGES)
    row = (values["stations"], values["nights"], values["frames"], candidates, *seconds)
    show_table("Done", columns, [row])
    show_failures(values["failures"])
    if values["candidates"] is not None:
        url = values["release_url"]
        out.print(f"Release {values['release']} lies in {url}\nRead it:\n", highlight=False, soft_wrap=True)
        out.print(
            "  import pandas as pd\n"
            f'  candidates = pd.read_parquet("{url}/candidates")\n'
            '  print(candidates.sort_values("score", ascending=False)'
            '[["station", "start_utc", "score", "x_px", "y_px"]])\n',
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def show_failures(failures: Sequence[Mapping[str, Any]]) -> None:
    """Failures grouped by reason."""
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for failure in failures:
        grouped[failure["reason"]].append(f"{failure['unit']} ({failure['stage']})")
    for reason, units in grouped.items():
        out.print(f"failed: {', '.join(units)}\n  {reason}", style="red", highlight=False, markup=False)


def status_values(config: Configuration, plan: Plan) -> dict[str, Any]:
    """How far the workspace is, by station and stage."""
    stations: dict[str, dict[str, int]] = {}
    for unit in plan.units:
        counts = stations.setdefault(unit.unit.station, dict.fromkeys(("nights", *STAGES, "failed"), 0))
        counts["nights"] += 1
        counts["failed"] += bool(unit.failed)
        for stage in STAGES:
            counts[stage] += stage not in unit.stale
    failures = [
        {"unit": str(unit.unit), "stage": name.stage, "reason": failure_text(config, name)}
        for unit in plan.units
        for name in unit.failed
    ]
    return {"stations": stations, "failures": failures, "release": latest_release(config.workspace)}


def show_status(values: Mapping[str, Any]) -> None:
    """Progress for a person."""
    columns = ("station", "nights", *STAGES, "failed")
    rows = [(station, *counts.values()) for station, counts in values["stations"].items()]
    show_table("Nights done", columns, rows)
    show_failures(values["failures"])
    out.print(f"Latest release: {values['release'] or 'none yet'}", highlight=False)
