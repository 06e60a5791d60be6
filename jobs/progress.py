"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from nightsift.catalogs.release import NightSource
from nightsift.jobs.plan import STAGES, Plan
from nightsift.jobs.report import err
from nightsift.jobs.steps import StepResult


def _bars() -> Progress:
    return Progress(
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        console=err,
    )


@contextmanager
def counting(label: str, unit: str = "") -> Iterator[Callable[[int, int], None]]:
    """A bar that is told how many are done, and of how many."""
    with _bars() as bars:
        bar = bars.add_task(label, unit=unit, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage that is told of, by name."""
    with _bars() as bars:
        known: dict[str, TaskID] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in known:
                known[stage] = bars.add_task(stage, unit="")
            bars.update(known[stage], completed=done, total=total)

        yield update


@contextmanager
def run_progress(
    plan: Plan,
) -> Iterator[tuple[Callable[[StepResult], None], Callable[[NightSource], None]]]:
    """A bar of frames for each stage that has work, and one of nights for the release."""
    with _bars() as bars:
        stage_bars = {
            stage: bars.add_task(
                stage, total=sum(len(unit.refs) for unit in plan.stale(stage)), unit="frames"
            )
            for stage in STAGES
            if plan.stale(stage)
        }
        release = bars.add_task("release", total=len(plan.units), unit="nights", visible=False)

        def on_step(result: StepResult) -> None:
            bars.advance(stage_bars[result.name.stage], result.frames)

        def on_night(_: NightSource) -> None:
            bars.update(release, advance=1, visible=True)

        yield on_step, on_night
