"""``nightsift release``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nightsift.catalogs.release import latest_release, list_releases, read_release
from nightsift.jobs import report
from nightsift.jobs.config import Configuration
from nightsift.jobs.options import AsJson, ConfigPath

app = typer.Typer(help="Releases of the catalogue.", no_args_is_help=True)


@app.command("list")
def list_(config_path: ConfigPath, as_json: AsJson = False) -> None:
    """List the releases of a workspace."""
    workspace = Configuration.read(config_path).workspace
    latest = latest_release(workspace)
    releases = [read_release(workspace, name) for name in list_releases(workspace)]
    if as_json:
        report.show_json({"latest": latest, "releases": releases})
        return
    rows = [
        (
            f"{release['release']}{' (latest)' if release['release'] == latest else ''}",
            release["counts"]["nights"],
            release["counts"]["frames_present"],
            release["counts"]["candidates"],
            release["model"],
        )
        for release in releases
    ]
    report.show_table("Releases", ("release", "nights", "frames", "candidates", "model"), rows)


@app.command()
def show(
    config_path: ConfigPath,
    name: Annotated[str | None, typer.Argument(help="Release; default: the latest.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write a picture of the best candidates to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a release holds and was made from."""
    config = Configuration.read(config_path)
    release = read_release(config.workspace, name)
    if picture is not None:
        from nightsift.jobs.picture import draw_best

        draw_best(config, release["release"], picture)
    if as_json:
        report.show_json(release)
        return
    rows = [(key, value) for key, value in release.items() if not isinstance(value, (dict, list))]
    report.show_table(f"Release {release['release']}", ("", ""), [*rows, *release["counts"].items()])
    if picture is not None:
        report.out.print(f"Best candidates drawn in {picture}", soft_wrap=True)
