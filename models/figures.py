"""What a model package does on samples whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from nightsift.models.package import METEOR
from nightsift.models.samples import Samples

Mask = NDArray[np.bool_]
Floats = NDArray[np.floating]

_SNR_EDGES = (0.0, 2.5, 5.0, 10.0, 20.0, 50.0, np.inf)
_LENGTH_EDGES = (0.0, 2.0, 5.0, 10.0, np.inf)


@dataclass(frozen=True)
class Share:
    """``count`` of ``of``, with Wilson's 95 % interval."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share itself; nan of nothing."""
        return self.count / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval (Wilson 1927)."""
        if not self.of:
            return float("nan"), float("nan")
        interval = binomtest(self.count, self.of).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)

    def __str__(self) -> str:
        if not self.of:
            return "none to measure"
        low, high = self.interval
        return f"{self.value:.3f} ({low:.3f} to {high:.3f}; {self.count} of {self.of})"


@dataclass(frozen=True)
class Figures:
    """Figures of one package on one set of samples.

    Attributes
    ----------
    precision, recall
        By class, of the most probable class of each frame.
    average_precision
        By class, over all thresholds.
    meteors_found
        By bin, the share of meteors with a score at or above the package's threshold.
    false_alarms
        By content, the share of frames without a meteor with a score at or above the threshold.
    position_error
        Quantiles .5 and .9 of the distance from the stated position to the middle of the trail, and to the
        nearest point of it, for meteors found; as shares of the frame's width.
    """

    precision: dict[str, Share]
    recall: dict[str, Share]
    average_precision: dict[str, float]
    meteors_found: dict[str, Share]
    false_alarms: dict[str, Share]
    position_error: dict[str, tuple[float, float]]

    def to_markdown(self) -> str:
        """Tables for a model card."""
        rows = [
            (name, str(self.precision[name]), str(self.recall[name]), f"{self.average_precision[name]:.3f}")
            for name in self.precision
        ]
        errors = [
            (name, f"{100 * median:.2f} %", f"{100 * ninety:.2f} %")
            for name, (median, ninety) in self.position_error.items()
        ]
        return "\n\n".join(
            [
                _table(("class", "precision", "recall", "average precision"), rows),
                _table(("meteors", "found"), [(k, str(v)) for k, v in self.meteors_found.items()]),
                _table(
                    ("frames without a meteor", "flagged"),
                    [(k, str(v)) for k, v in self.false_alarms.items()],
                ),
                _table(("position, distance / frame width", "median", "90 %"), errors),
            ]
        )


def figures(
    samples: Samples, classes: Sequence[str], score: Floats, position: Floats, threshold: float
) -> Figures:
    """Compare scores with the truth.

    Parameters
    ----------
    samples
        n samples.
    classes
        Names of the columns of ``score``.
    score
        (n, classes).
    position
        (n, 2): x_px and y_px of the meteor class in the frame.
    threshold
        Least score of a detection.
    """
    labels = samples.labels(classes)
    known, chosen = labels >= 0, score.argmax(1)
    flagged = score[:, classes.index(METEOR)] >= threshold
    found = flagged & (labels == classes.index(METEOR))
    return Figures(
        precision={name: _share(labels == i, known & (chosen == i)) for i, name in enumerate(classes)},
        recall={name: _share(chosen == i, labels == i) for i, name in enumerate(classes)},
        average_precision={
            name: average_precision(labels[known] == i, score[known, i]) for i, name in enumerate(classes)
        },
        meteors_found={name: _share(flagged, rows) for name, rows in _meteor_bins(samples.truth).items()},
        false_alarms={name: _share(flagged, rows) for name, rows in _without_meteor(samples.truth).items()},
        position_error=_position_errors(samples.truth[found], position[found]),
    )


def average_precision(truth: Mask, score: Floats) -> float:
    """Mean of the precision at each true sample, ranked by score; nan if none is true."""
    ranked = truth[np.argsort(-score, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean()) if ranked.any() else float("nan")


def _share(hit: Mask, rows: Mask) -> Share:
    return Share(int((hit & rows).sum()), int(rows.sum()))


def _meteor_bins(truth: pd.DataFrame) -> dict[str, Mask]:
    present = (truth["kind"] == METEOR).to_numpy()
    clear = (truth["meteors"] > 0).to_numpy()
    width_percent = (100 * truth["length_px"] / truth["width"]).to_numpy()
    return {
        "clear": clear,
        **_bins("clear, length", width_percent, _LENGTH_EDGES, clear, " % of the width"),
        "all, faint ones and those in clouds included": present,
        **_bins("all, snr", truth["snr"].to_numpy(), _SNR_EDGES, present, ""),
    }


def _bins(name: str, values: Floats, edges: Sequence[float], rows: Mask, unit: str) -> dict[str, Mask]:
    return {
        f"{name} {low:g} to {high:g}{unit}": rows & (values >= low) & (values < high)
        for low, high in pairwise(edges)
    }


def _without_meteor(truth: pd.DataFrame) -> dict[str, Mask]:
    none = ((truth["meteors"] == 0) & (truth["faint"] == 0)).to_numpy()
    satellite, aircraft = (truth["satellites"] > 0).to_numpy(), (truth["aircraft"] > 0).to_numpy()
    return {
        "all": none,
        "with a satellite": none & satellite,
        "with an aircraft": none & aircraft,
        "with neither": none & ~satellite & ~aircraft,
    }


def _position_errors(truth: pd.DataFrame, position: Floats) -> dict[str, tuple[float, float]]:
    known = truth["x_begin_px"].notna().to_numpy()
    truth, position = truth[known], position[known]
    width = truth["width"].to_numpy()
    begin, end = (truth[[f"x_{side}_px", f"y_{side}_px"]].to_numpy(np.float64) for side in ("begin", "end"))
    along = ((position - begin) * (end - begin)).sum(1) / np.maximum(((end - begin) ** 2).sum(1), 1e-9)
    nearest = begin + along.clip(0, 1)[:, None] * (end - begin)
    return {
        "to the middle of the trail": _quantiles(position - (begin + end) / 2, width),
        "to the nearest point of the trail": _quantiles(position - nearest, width),
    }


def _quantiles(offset: Floats, width: Floats) -> tuple[float, float]:
    shares = np.linalg.norm(offset, axis=1) / width
    if not len(shares):
        return float("nan"), float("nan")
    # A meteor found without a position is as far off as can be.
    median, ninety = np.quantile(np.nan_to_num(shares, nan=1.0), (0.5, 0.9))
    return float(median), float(ninety)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
