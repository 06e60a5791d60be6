"""What commands say: plain values for ``--json``, tables for people."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nightsift.archive.layouts import explain, is_container, readable
from nightsift.catalogs.release import latest_release, read_release
from nightsift.jobs.config import Configuration
from nightsift.jobs.estimate import estimated_seconds
from nightsift.jobs.plan import STAGES, Plan
from nightsift.jobs.runner import RunReport, failure_text

UNCLAIMED_SHOWN = 5  # forms of names that `plan` shows

# Names come from archives: nothing in them is markup.
out = Console(markup=False)
err = Console(stderr=True, markup=False)


def show_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    out.print_json(json.dumps(value, default=str))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table to stdout; all columns but the first are numbers."""
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else escape(str(cell)) for cell in row))
    out.print(table)


def show_verification(values: Mapping[str, Any]) -> None:
    """What the replay of a package's check found, for a person."""
    verdict = "within" if values["within"] else "OUTSIDE"
    out.print(
        f"{values['package']}: on {values['differences']} stored differences scores deviate by at most "
        f"{values['deviation']:.2g}, {verdict} the tolerance of {values['tolerance']:g}.",
        soft_wrap=True,
    )
    moved = values["deviation_px"]
    out.print(
        f"Largest deviation of a position: {'one came or went' if moved is None else f'{moved:.2g} px'}."
    )
    then, now = values["then"], values["now"]
    rows = [(name, then.get(name, "not told"), now.get(name, "not told")) for name in {**then, **now}]
    show_table("Versions", ("", "then", "now"), rows)


def _unclaimed(plan: Plan) -> list[dict[str, Any]]:
    found = [
        {"example": key, "like_it": count, "why": explain(key, plan.stations)}
        for key, count in plan.unclaimed.examples.items()
    ]
    # What can be explained comes first: notes and tables lie beside the frames of every network.
    return sorted(found, key=lambda item: not item["why"])[:UNCLAIMED_SHOWN]


def plan_values(config: Configuration, plan: Plan) -> dict[str, Any]:
    """What a run would do."""
    units = plan.selected
    return {
        "stations": len({unit.unit.station for unit in units}),
        "nights": len(units),
        "frames": sum(len(unit.refs) for unit in units),
        "archives": sum(is_container(ref.key) for unit in units for ref in unit.refs),
        "bytes": sum(unit.size for unit in units),
        "unclaimed": plan.unclaimed.count,
        "unclaimed_examples": list(plan.unclaimed.examples)[:UNCLAIMED_SHOWN],
        "unclaimed_reasons": _unclaimed(plan),
        "notes": plan.notes,
        "stale": {
            stage: {
                "nights": len(plan.stale(stage)),
                "frames": sum(len(unit.refs) for unit in plan.stale(stage)),
                "cpu_hours": round(seconds / 3600, 3),
            }
            for stage, seconds in estimated_seconds(config, plan).items()
        },
        "failed": sum(1 for unit in units if unit.failed),
        "vanished": _vanished(plan),
        "gpu_hours": 0.0,
    }


def _vanished(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "unit": str(unit.unit),
            "frames": len(unit.vanished),
            "examples": unit.vanished[:3],
            "waiting": unit.waiting,
            "blocked": unit.blocked,
        }
        for unit in plan.selected
        if unit.vanished
    ]


def show_vanished(nights: Sequence[Mapping[str, Any]]) -> None:
    """The nights that are held because files that they were made from are gone."""
    if not nights:
        return
    count = sum(night["frames"] for night in nights)
    named = ", ".join(f"{night['unit']} ({night['frames']})" for night in nights[:5])
    more = f" and {len(nights) - 5} more" if len(nights) > 5 else ""
    out.print(
        f"{count:,} files vanished from the archive, in {named}{more}. Their nights are held as they were: "
        "restore the files, or take the archive as it is with --accept-missing.",
        soft_wrap=True,
    )
    if waiting := sum(night["waiting"] for night in nights):
        out.print(f"{waiting:,} new or replaced files of these nights wait until then.")


def show_plan(values: Mapping[str, Any]) -> None:
    """The plan for a person."""
    out.print(
        f"{values['stations']} stations, {values['nights']:,} nights, {values['frames']:,} frames, "
        f"{values['bytes'] / 1e9:.2f} GB"
    )
    if values["archives"]:
        out.print(f"{values['archives']:,} of these are archives of a night: a run counts the frames in them")
    for note in values["notes"]:
        out.print(note, soft_wrap=True)
    _show_unclaimed(values)
    rows = [
        (stage, stale["nights"], stale["frames"], f"{stale['cpu_hours']:.2f}")
        for stage, stale in values["stale"].items()
    ]
    show_table("Stale", ("stage", "nights", "frames", "CPU-hours"), rows)
    show_vanished(values["vanished"])
    if values["failed"]:
        out.print(f"{values['failed']} nights failed before and will be tried again")
    _show_proposals(values.get("proposals", ()))
    out.print("Nothing was written. GPU-hours: none, every stage runs on CPUs here.")


def _show_proposals(proposals: Sequence[Mapping[str, Any]]) -> None:
    found = [proposal for proposal in proposals if proposal["lines"]]
    if found:
        out.print("Found in some frames. Lines that are right go into the station's entry in stations.toml:")
    for proposal in found:
        out.print(f"  {proposal['station']}, {proposal['frames']} frames:")
        for line in proposal["lines"]:
            out.print(f"    {line}", soft_wrap=True)
    for fault, alike in _grouped(proposals, "fault").items():
        if fault:
            out.print(
                f"No frames looked at of {', '.join(p['station'] for p in alike)}: {fault}", soft_wrap=True
            )


def _show_unclaimed(values: Mapping[str, Any]) -> None:
    if not values["unclaimed"]:
        return
    out.print(f"{values['unclaimed']:,} objects that no station claims, such as")
    for form in values["unclaimed_reasons"]:
        more = f" ({form['like_it']:,} of this form)" if form["like_it"] > 1 else ""
        out.print(f"  {readable(form['example'])}{more}", soft_wrap=True)
        for why in form["why"]:
            out.print(f"    {why}", soft_wrap=True)


def run_values(config: Configuration, plan: Plan, report: RunReport) -> dict[str, Any]:
    """What a run did, and the release that is the latest after it."""
    seconds: defaultdict[str, float] = defaultdict(float)
    done: Counter[str] = Counter()
    for result in report.results:
        seconds[result.name.stage] += result.seconds
        done[result.name.stage] += result.outcome == "done"
    latest = latest_release(config.workspace)
    counts = read_release(config.workspace, latest)["counts"] if latest else {}
    return {
        "changed": bool(report.results) or report.release is not None,
        "stations": len({unit.unit.station for unit in plan.selected}),
        "nights": len(plan.selected),
        "frames": sum(len(unit.refs) for unit in plan.selected),
        "release_frames": counts.get("frames_present"),
        "candidates": counts.get("candidates"),
        "unprocessed": counts.get("unprocessed"),
        "stages": {stage: {"nights": done[stage], "seconds": round(seconds[stage], 2)} for stage in STAGES},
        "failures": [
            {"unit": str(r.name.unit), "stage": r.name.stage, "reason": r.detail} for r in report.failures
        ],
        "vanished": _vanished(plan),
        "release": latest,
        "release_url": f"{config.workspace.url.rstrip('/')}/releases/{latest}" if latest else None,
    }


def show_run(values: Mapping[str, Any]) -> None:
    """The run's summary for a person."""
    show_vanished(values["vanished"])
    if not values["changed"]:
        out.print(f"Nothing to do. Latest release: {values['release'] or 'none yet'}")
        return
    # An archive of a night is one file of many frames.
    columns = ("stations", "nights", "files", "candidates", *(f"{stage} s" for stage in STAGES))
    candidates = "-" if values["candidates"] is None else values["candidates"]
    seconds = (f"{values['stages'][stage]['seconds']:.1f}" for stage in STAGES)
    row = (values["stations"], values["nights"], values["frames"], candidates, *seconds)
    show_table("Done", columns, [row])
    show_failures(values["failures"])
    if values["release"] is None:
        return
    if values["unprocessed"]:
        out.print(
            f"{values['unprocessed']:,} frames of the archive are unprocessed in this release: "
            "run without --station, --from and --to to take them in."
        )
    url = values["release_url"]
    frames = "" if values["release_frames"] is None else f", {values['release_frames']:,} frames,"
    out.print(f"Release {values['release']}{frames} lies in {url}\nRead it:\n", soft_wrap=True)
    out.print(
        "  import pandas as pd\n"
        f'  candidates = pd.read_parquet("{url}/candidates")\n'
        '  print(candidates.sort_values("score", ascending=False)'
        '[["station", "start_utc", "score", "x_px", "y_px"]])\n',
        soft_wrap=True,
    )


def show_failures(failures: Sequence[Mapping[str, Any]]) -> None:
    """Failures grouped by reason."""
    for reason, alike in _grouped(failures, "reason").items():
        units = ", ".join(f"{failure['unit']} ({failure['stage']})" for failure in alike)
        out.print(f"failed: {units}\n  {reason}", style="red")


def _grouped(items: Iterable[Mapping[str, Any]], key: str) -> dict[str, list[Mapping[str, Any]]]:
    groups: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for item in items:
        groups[item[key]].append(item)
    return groups


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
    out.print(f"Latest release: {values['release'] or 'none yet'}")
    if "picture" in values:
        out.print(f"Calendar of {values['release']}: {values['picture']}", soft_wrap=True)
