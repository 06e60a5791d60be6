"""A picture of what each camera saw: one calendar a station and year, one cell a night."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from nightsift.catalogs.release import read_product, read_release
from nightsift.jobs.config import Configuration
from nightsift.jobs.picture import BACKGROUND

CLOUDY = 0.5  # of the sky, from which a night is marked

_WEEKS, _DAYS = 54, 7
_TEXT, _FAINT, _BORDER, _EMPTY = "#e8e8e8", "#8a93a3", "#c8ccd4", "#1b202b"
# Cividis without its black end: told apart by brightness alone, and on the dark background.
_COLOURS = LinearSegmentedColormap.from_list(
    "live", ["#243a68", "#45537a", "#6b6f7c", "#948e78", "#c2b369", "#fee838"]
)
_MARKS: Mapping[str, tuple[str, str, str]] = {
    "blind": ("x", "#ff7f2a", "no frames, though it was dark"),
    "failed": ("^", "#ff7f2a", "failed"),
    "unprocessed": ("s", _FAINT, "not processed"),
    "bright": ("_", _FAINT, "never dark"),
}
_CLOUD_MARK = ("o", BACKGROUND, f"clouds hid more than {CLOUDY * 100:.0f} % of the sky")
_MOST_PIXELS = 30_000


@dataclass(frozen=True)
class Night:
    """What a cell shows.

    Attributes
    ----------
    state
        ``seen``, or one of ``blind``, ``failed``, ``unprocessed``, ``bright``.
    share
        Live time over dark time, at most 1; 0 unless it was seen.
    is_cloudy
        Whether clouds hid more than half of the sky; false where that is not known.
    """

    state: str
    share: float
    live_h: float
    dark_h: float
    is_cloudy: bool


def night_of_row(row: Mapping[str, Any], cadence_s: float) -> Night:
    """The cell of a row of the coverage ledger."""
    dark_s = (row["frames_expected"] or 0) * cadence_s
    share = min(1.0, row["live_time_s"] / dark_s) if dark_s else float(row["live_time_s"] > 0)
    is_cloudy = row["cloud"] is not None and row["cloud"] > CLOUDY
    return Night(_state(row), share, row["live_time_s"] / 3600, dark_s / 3600, is_cloudy)


def _state(row: Mapping[str, Any]) -> str:
    if row["failed"]:
        return "failed"
    if row["unprocessed"]:
        return "unprocessed"
    if row["frames_present"]:
        return "seen"
    return "blind" if row["frames_expected"] else "bright"


def draw_calendars(config: Configuration, path: Path) -> str:
    """Draw the latest release's coverage as PNG or any format of matplotlib's.

    Returns
    -------
    str
        Name of the release.

    Raises
    ------
    UsageError
        There is no release yet.
    """
    release = read_release(config.workspace)
    cadences = {station["id"]: station["cadence_s"] for station in release["stations"]}
    figure = calendars(read_product(config.workspace, release, "coverage").to_pylist(), cadences)
    path.parent.mkdir(parents=True, exist_ok=True)
    dpi = min(110.0, _MOST_PIXELS / max(figure.get_size_inches()))
    figure.savefig(path, dpi=dpi, facecolor=BACKGROUND)
    return str(release["release"])


def calendars(coverage: Iterable[Mapping[str, Any]], cadences: Mapping[str, float]) -> Figure:
    """One panel a station and year, weeks across and weekdays down.

    Parameters
    ----------
    coverage
        Rows of the coverage ledger.
    cadences
        Seconds from exposure to exposure, by station.
    """
    years: defaultdict[tuple[str, int], dict[date, Night]] = defaultdict(dict)
    for row in coverage:
        night = night_of_row(row, cadences[row["station"]])
        years[row["station"], row["night"].year][row["night"]] = night
    across = 1 if len(years) <= 6 else 2 if len(years) <= 40 else 3
    down = -(-len(years) // across)
    width, height, foot = 13.0 if across == 1 else 9.5 * across, (2.3 if across == 1 else 1.8) * down, 0.9
    figure = Figure(figsize=(width, height + foot), facecolor=BACKGROUND)
    grid = figure.subplots(
        down,
        across,
        squeeze=False,
        gridspec_kw={
            "left": 0.45 / width,
            "right": 1 - 0.2 / width,
            "bottom": (foot + 0.1) / (height + foot),
            "top": 1 - 0.5 / (height + foot),
            "wspace": 0.07,
            "hspace": 0.55,
        },
    )
    for axis in grid.flat:
        axis.set_axis_off()
    for axis, ((station, year), nights) in zip(grid.T.flat, sorted(years.items()), strict=False):
        _draw_year(axis, station, year, nights)
    _draw_legend(figure, foot / (height + foot), width)
    return figure


def _draw_year(axis: Any, station: str, year: int, nights: Mapping[date, Night]) -> None:
    axis.set_axis_on()
    shares, year_days = np.full((_DAYS, _WEEKS), np.nan), np.full((_DAYS, _WEEKS), np.nan)
    for night, seen in nights.items():
        if seen.state == "seen":
            shares[night.weekday(), _week(night)] = seen.share
    days = [
        date.fromordinal(n) for n in range(date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal())
    ]
    for day in days:
        year_days[day.weekday(), _week(day)] = 0
    shown = {"edgecolors": BACKGROUND, "linewidth": 1.2}
    axis.pcolormesh(year_days, cmap=LinearSegmentedColormap.from_list("empty", [_EMPTY, _EMPTY]), **shown)
    axis.pcolormesh(shares, cmap=_COLOURS, vmin=0, vmax=1, **shown)
    _draw_marks(axis, nights)
    _dress(axis, year)
    axis.set_title(
        _summary(station, year, list(nights.values())), color=_TEXT, fontsize=10, loc="left", pad=18
    )


def _week(day: date) -> int:
    """Column of a day: weeks begin on Mondays, the first holds 1 January."""
    return (day.timetuple().tm_yday - 1 + date(day.year, 1, 1).weekday()) // _DAYS


def _draw_marks(axis: Any, nights: Mapping[date, Night]) -> None:
    for state, (marker, colour, _) in _MARKS.items():
        _mark(axis, [night for night, seen in nights.items() if seen.state == state], marker, colour)
    cloudy = [night for night, seen in nights.items() if seen.state == "seen" and seen.is_cloudy]
    _mark(axis, cloudy, *_CLOUD_MARK[:2])


def _mark(axis: Any, nights: Sequence[date], marker: str, colour: str) -> None:
    x, y = [_week(night) + 0.5 for night in nights], [night.weekday() + 0.5 for night in nights]
    axis.plot(x, y, **_style(marker, colour))


def _style(marker: str, colour: str) -> dict[str, Any]:
    return {
        "linestyle": "",
        "marker": marker,
        "markersize": 3.5 if marker == "o" else 5.5,
        "markerfacecolor": "none" if marker == "s" else colour,
        "markeredgecolor": _TEXT if marker == "o" else colour,
        "markeredgewidth": 1.6 if marker == "x" else 0.8,
    }


def _dress(axis: Any, year: int) -> None:
    axis.set(xlim=(0, _WEEKS), ylim=(_DAYS, 0), facecolor=BACKGROUND, aspect="equal")
    axis.set_yticks([0.5, 2.5, 4.5, 6.5], ["Mon", "Wed", "Fri", "Sun"], color=_FAINT, fontsize=7)
    firsts = [date(year, month, 1) for month in range(1, 13)]
    axis.set_xticks([_week(day) + 0.5 for day in firsts], [f"{day:%b}" for day in firsts])
    axis.tick_params(length=0, labelsize=8, labelcolor=_FAINT, labeltop=True, labelbottom=False, pad=2)
    axis.tick_params(axis="y", labelsize=7)
    for spine in axis.spines.values():
        spine.set_visible(False)
    for day in firsts[1:]:
        _draw_month_border(axis, day)


def _draw_month_border(axis: Any, first: date) -> None:
    week, weekday = _week(first), first.weekday()
    x = [week + 1, week + 1, week, week] if weekday else [week, week]
    y = [0, weekday, weekday, _DAYS] if weekday else [0, _DAYS]
    axis.plot(x, y, color=_BORDER, linewidth=1.0)


def _summary(station: str, year: int, nights: Sequence[Night]) -> str:
    seen = [night for night in nights if night.state == "seen"]
    live, dark = sum(night.live_h for night in seen), sum(night.dark_h for night in nights)
    share = f", {live / dark:.0%} of the dark time" if dark else ""
    nights_seen = "1 night" if len(seen) == 1 else f"{len(seen)} nights"
    told = [f"{nights_seen} seen, {live:,.0f} h live{share}"]
    for state in ("blind", "failed", "unprocessed"):
        count = sum(night.state == state for night in nights)
        told += [f"{count} {state}"] if count else []
    cloudy = sum(night.is_cloudy for night in seen)
    told += [f"{cloudy} cloudy"] if cloudy else []
    return f"{station}, {year}:  {', '.join(told)}"


def _draw_legend(figure: Figure, foot: float, width: float) -> None:
    bar = figure.add_axes((0.45 / width, 0.55 * foot, 2.6 / width, 0.14 * foot))
    colours = figure.colorbar(ScalarMappable(cmap=_COLOURS), cax=bar, orientation="horizontal")
    colours.set_ticks([0, 0.5, 1], labels=["0", "50 %", "100 %"])
    colours.set_label("live time over dark time", color=_TEXT, fontsize=8)
    colours.outline.set_visible(False)
    bar.tick_params(colors=_TEXT, labelsize=8, length=0)
    handles: list[Any] = [Patch(facecolor=_EMPTY, label="before the first or after the last night")]
    for marker, colour, label in (*_MARKS.values(), _CLOUD_MARK):
        handles.append(Line2D([], [], label=label, **_style(marker, colour)))
    legend = figure.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(3.4 / width, 0.5 * foot),
        ncols=3,
        frameon=False,
        fontsize=8,
        labelcolor=_TEXT,
    )
    legend.set_in_layout(False)
