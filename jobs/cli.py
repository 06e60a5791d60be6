"""The command line. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import signal
import sys
from datetime import date, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer

from nightsift import __version__
from nightsift.archive.errors import NightsiftError
from nightsift.archive.retries import give_up
from nightsift.jobs import model_cli, release_cli, report
from nightsift.jobs.config import Configuration
from nightsift.jobs.options import AsJson, ConfigPath
from nightsift.jobs.plan import Selection, make_plan
from nightsift.jobs.progress import counting, run_progress
from nightsift.jobs.runner import run_plan

app = typer.Typer(
    help="Find meteors in the archives of camera networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(release_cli.app, name="release")
app.add_typer(model_cli.app, name="model")

EXIT_FAILURES = 1
StageName = Literal["frames", "differences", "scores", "release"]

StationOption = Annotated[str | None, typer.Option("--station", help="Only this station.")]
FromOption = Annotated[
    datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First night, YYYY-MM-DD.")
]
ToOption = Annotated[
    datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last night, YYYY-MM-DD.")
]
AcceptMissing = Annotated[
    bool, typer.Option("--accept-missing", help="Nights lose the frames that vanished from the archive.")
]


@app.command()
def simulate(
    destination: Annotated[Path, typer.Argument(help="Empty or new folder.", metavar="DEST")],
    stations: Annotated[int, typer.Option(min=1, help="Number of stations.")] = 2,
    nights: Annotated[int, typer.Option(min=1, help="Nights of each station, from 2021-10-30 on.")] = 2,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each night.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same archive.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write a simulated archive, its truth, and the configuration to process it."""
    from nightsift.archive.simulator import write_archive
    from nightsift.catalogs.truth import write_truth

    with counting("simulating frames") as progress:
        truth = write_archive(
            destination, stations=stations, nights=nights, frames=frames, seed=seed, progress=progress
        )
    write_truth(destination / "truth.parquet", truth)
    config = destination / "nightsift.toml"
    config.write_text('[archive]\nurl = "archive"\n\n[workspace]\nurl = "workspace"\n', encoding="utf-8")
    if as_json:
        report.show_json({"configuration": str(config), "truth_rows": len(truth)})
    else:
        report.out.print(f"Simulated archive in {destination}.\nNext: nightsift run {config}", soft_wrap=True)


@app.command()
def plan(
    config_path: ConfigPath,
    station: StationOption = None,
    begin: FromOption = None,
    end: ToOption = None,
    accept_missing: AcceptMissing = False,
    proposals: Annotated[
        bool, typer.Option(help="Look at some frames for captions and image circles to exclude.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Show what a run would do. Writes nothing."""
    config = Configuration.read(config_path)
    planned = make_plan(config, _selection(station, begin, end), accept_missing=accept_missing)
    values = report.plan_values(config, planned)
    if proposals:
        from nightsift.jobs.proposals import propose

        values["proposals"] = [proposal.values() for proposal in propose(config, planned)]
    (report.show_json if as_json else report.show_plan)(values)


@app.command()
def run(
    config_path: ConfigPath,
    stage: Annotated[StageName, typer.Option(help="Stop after this stage.")] = "release",
    station: StationOption = None,
    begin: FromOption = None,
    end: ToOption = None,
    release: Annotated[
        str | None, typer.Option(help="Name of the release; default: date and counter.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="local, serial, or tcp://… of a Dask scheduler.")
    ] = None,
    accept_missing: AcceptMissing = False,
    as_json: AsJson = False,
) -> None:
    """Compute what is missing or stale, then make a release. Safe to kill and to run again."""
    config = Configuration.read(config_path, cluster=cluster)
    planned = make_plan(config, _selection(station, begin, end), accept_missing=accept_missing)
    with run_progress(planned) as (on_step, on_night):
        done = run_plan(
            config, planned, last_stage=stage, release=release, on_step=on_step, on_night=on_night
        )
    values = report.run_values(config, planned, done)
    (report.show_json if as_json else report.show_run)(values)
    if done.failures or any(night["blocked"] for night in values["vanished"]):
        raise typer.Exit(EXIT_FAILURES)


@app.command()
def status(
    config_path: ConfigPath,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw what each camera saw, a calendar a year, from the latest release."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show progress by station and stage, and failures with their reasons."""
    config = Configuration.read(config_path)
    values = report.status_values(config, make_plan(config))
    try:
        if picture is not None:
            from nightsift.jobs.calendar import draw_calendars

            draw_calendars(config, picture)
            values["picture"] = str(picture)
    finally:
        (report.show_json if as_json else report.show_status)(values)


def _selection(station: str | None, begin: datetime | None, end: datetime | None) -> Selection:
    return Selection(station, _day(begin), _day(end))


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        report.out.print(__version__)
        raise typer.Exit


class Stopped(BaseException):
    """Ctrl-C or SIGTERM; not KeyboardInterrupt, which the command line's library would answer itself."""


def _stop(number: int, _: FrameType | None) -> None:
    give_up()
    raise Stopped(number)


def main() -> None:
    """Run the command line; see the exit codes in `nightsift.archive.errors`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        app()
    except NightsiftError as error:
        report.err.print(f"nightsift: {error}", soft_wrap=True)
        sys.exit(error.exit_code)
    except Stopped as stop:
        report.err.print("nightsift: stopped. What was finished is kept; run again to go on.", soft_wrap=True)
        sys.exit(128 + stop.args[0])
