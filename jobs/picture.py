"""One picture of a release's best candidates: frame, difference, heat map, marked position."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nightsift.archive.errors import UsageError
from nightsift.archive.frames import read_frame
from nightsift.archive.night_store import NightStore, differences_path
from nightsift.archive.nights import StationNight
from nightsift.archive.rms_stations import complete_stations
from nightsift.archive.stations import Stations
from nightsift.catalogs.release import read_product, read_release
from nightsift.jobs.config import Configuration

CANDIDATES = 4
BACKGROUND = "#10131a"
MARK = "#ffb000"


def draw_best(config: Configuration, release: str, path: Path, count: int = CANDIDATES) -> None:
    """Draw the best-scored candidates of a release, one a row, as PNG or any format of matplotlib's."""
    from nightsift.models.classify import Classifier

    table = read_product(config.workspace, read_release(config.workspace, release), "candidates")
    rows = table.sort_by([("score", "descending"), ("candidate_id", "ascending")]).slice(0, count).to_pylist()
    classifier = Classifier(config.package)
    stations, _ = complete_stations(config.stations, config.archive, config.archive.objects())
    figure = Figure(figsize=(12, 0.6 + 3.2 * max(1, len(rows))), facecolor=BACKGROUND, layout="constrained")
    grid = figure.subplots(max(1, len(rows)), 3, squeeze=False)
    for axes, row in zip(grid, rows, strict=False):
        frame, difference, rise = _images(config, stations, row)
        heat = classifier.heat_map(difference[None], rise[None])[0]
        _draw_row(axes, row, frame, difference, heat)
    if not rows:
        _note(grid[0], f"Release {release} holds no candidate")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, facecolor=BACKGROUND)


def _images(config: Configuration, stations: Stations, row: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    from nightsift.models.streaks import in_noise

    unit = StationNight(row["station"], row["night"])
    differences: Any = NightStore(config.workspace, differences_path(unit)).open()
    (found,) = np.nonzero(differences["key"][:] == row["frame_key"])
    if not len(found):
        raise UsageError(
            f"{row['frame_key']} is not in {differences_path(unit)} any more",
            found="an archive that changed since the release was made",
            mend="draw a newer release",
        )
    place = int(found[0])
    difference = differences["difference"][place]
    rise = in_noise(differences["rise"][place], float(differences["noise"][place]))
    frame = read_frame(config.archive, config.workspace, stations[unit.station], unit, row["frame_key"])
    return frame, difference, rise


def _draw_row(axes: Any, row: Mapping[str, Any], frame: Any, difference: Any, heat: Any) -> None:
    stretched = np.clip(frame, *np.percentile(frame, (1, 99.8)))
    axes[0].imshow(stretched, cmap="gray")
    axes[1].imshow(difference, cmap="gray", interpolation="antialiased")
    axes[2].imshow(stretched, cmap="gray")
    axes[2].imshow(heat, cmap="inferno", alpha=0.6)
    when = f"{row['start_utc']:%Y-%m-%d %H:%M:%S} UTC"
    titles = (f"{row['station']}  {when}", "difference", f"heat map, score {row['score']:.2f}")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, color="white", fontsize=10)
        axis.set_axis_off()
        axis.plot(row["x_px"], row["y_px"], "o", ms=16, mfc="none", mec=MARK, mew=1.5)
    if row["length_px"] is not None:
        axes[1].plot((row["x_begin_px"], row["x_end_px"]), (row["y_begin_px"], row["y_end_px"]), ":", c=MARK)


def _note(axes: Any, text: str) -> None:
    for axis in axes:
        axis.set_axis_off()
    axes[1].set_title(text, color="white")
