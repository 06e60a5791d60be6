"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(help="The configuration, nightsift.toml.", metavar="CONFIG")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
