"""A run: the stale stages of a plan, then a release if anything changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from nightsift.archive.receipts import ReceiptName, forget_night, read_receipt
from nightsift.catalogs.release import (
    NightSource,
    ReleaseSettings,
    build_release,
    list_releases,
    point_latest,
    refuse_taken_name,
    release_name,
    seal_release,
)
from nightsift.jobs.config import Configuration
from nightsift.jobs.engines import Chain, open_engine
from nightsift.jobs.plan import STAGES, Plan, UnitPlan, refreshed, release_state
from nightsift.jobs.steps import Step, StepResult

RELEASE = "release"


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    Attributes
    ----------
    results
        Every step that was begun or blocked.
    release
        Content of the new release's ``release.json``; None when nothing changed.
    """

    results: tuple[StepResult, ...]
    release: dict[str, Any] | None

    @property
    def failures(self) -> tuple[StepResult, ...]:
        """The steps that failed."""
        return tuple(result for result in self.results if result.outcome == "failed")


def run_plan(
    config: Configuration,
    plan: Plan,
    *,
    last_stage: str = RELEASE,
    release: str | None = None,
    on_step: Callable[[StepResult], None] = lambda _: None,
    on_night: Callable[[NightSource], None] = lambda _: None,
) -> RunReport:
    """Carry out a plan.

    Parameters
    ----------
    last_stage
        The stage to stop after; a release is built only when it is ``release``.
    release
        Name of the release; by default the UTC date and a counter.
    on_step, on_night
        Called after every step, and before every night that the release takes.

    Raises
    ------
    StorageError
        A store failed. What is done stays done: run again to go on.
    ConfigurationError
        The release's name is taken.
    """
    for unit in plan.dropped:
        forget_night(config.workspace, unit, STAGES)
    chains = list(_chains(config, plan, last_stage))
    if not chains and last_stage == RELEASE and _adopt(config, release_state(plan, config), None):
        return RunReport((), None)
    if release is not None:
        refuse_taken_name(config.workspace, release)
    results = []
    if chains:
        with open_engine(config.run.cluster, config.run.workers) as engine:
            for result in engine.run(chains):
                on_step(result)
                results.append(result)
    made = None
    if last_stage == RELEASE:
        made = _release_if_changed(config, refreshed(plan, config), release, on_night)
    return RunReport(tuple(results), made)


def _chains(config: Configuration, plan: Plan, last_stage: str) -> Iterator[Chain]:
    wanted = STAGES if last_stage == RELEASE else STAGES[: STAGES.index(last_stage) + 1]
    for unit in plan.selected:
        if unit.blocked:
            continue
        names = [name for name in unit.wanted if name.stage in unit.stale and name.stage in wanted]
        # Stale frames and stale differences are made in one pass: every file is fetched and decoded once.
        along = [name.stage for name in names[:2]] == ["frames", "differences"]
        chain = tuple(_step(config, unit, name, along and name is names[0]) for name in names)
        if chain:
            yield chain


def _step(config: Configuration, unit: UnitPlan, name: ReceiptName, along: bool) -> Step:
    return Step(
        name,
        unit.station,
        unit.refs if unit.reads_archive(name.stage) else (),
        len(unit.refs),
        unit.made_from(name.stage),
        config.archive,
        config.workspace,
        config.frames,
        config.difference,
        config.exclusions[unit.station.id],
        config.package,
        config.vetting,
        unit.wanted[1] if along else None,
    )


def _release_if_changed(
    config: Configuration, plan: Plan, name: str | None, on_night: Callable[[NightSource], None]
) -> dict[str, Any] | None:
    state = release_state(plan, config)
    if _adopt(config, state, name) or all(unit.outcome == "unprocessed" for unit in plan.units):
        return None
    settings = ReleaseSettings(
        config.threshold,
        config.package.name,
        config.package.sha256,
        {"difference": asdict(config.difference), "vetting": _said_of_vetting(config)},
    )
    sources = [_source(config, unit) for unit in plan.units]
    chosen = name or release_name(config.workspace, datetime.now(UTC).date())
    content = build_release(config.workspace, chosen, sources, settings, on_night)
    config.workspace.write(_state_key(chosen, state), b"{}\n")
    seal_release(config.workspace, content)
    point_latest(config.workspace, chosen)
    return content


def _said_of_vetting(config: Configuration) -> dict[str, str] | None:
    package = config.vetting
    return {"model": package.name, "model_sha256": package.sha256} if package else None


def _adopt(config: Configuration, state: str, name: str | None) -> bool:
    """Point ``latest`` to the release that was made from this very state, if there is one."""
    made_from = set(config.workspace.names("receipts/release"))
    same = [r for r in list_releases(config.workspace) if _state_key(r, state) in made_from]
    if not same or name not in (None, *same):
        return False
    point_latest(config.workspace, same[-1])
    return True


def _state_key(release: str, state: str) -> str:
    return f"receipts/release/{release}/{state}.json"


def _source(config: Configuration, unit: UnitPlan) -> NightSource:
    detail = None
    if unit.blocked:
        detail = f"{len(unit.vanished)} files vanished from the archive"
    elif unit.outcome == "failed":
        detail = "; ".join(failure_text(config, name) for name in unit.failed)
    receipts = unit.wanted if unit.outcome == "done" else ()
    reason = "unprocessed" if unit.outcome == "done" else unit.outcome
    return NightSource(unit.station, unit.unit, unit.refs, receipts, reason, detail)


def failure_text(config: Configuration, name: ReceiptName) -> str:
    """Stage and reason of a failure, from its receipt."""
    return f"{name.stage}: {read_receipt(config.workspace, name)['detail']}"
