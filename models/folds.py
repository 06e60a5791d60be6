"""Stratified cross-validation in which no station-night is on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nightsift.archive.errors import ConfigurationError
from nightsift.models.figures import average_precision
from nightsift.models.package import METEOR
from nightsift.models.samples import Samples

Rows = NDArray[np.intp]
Labels = NDArray[np.int64]


def split_folds(
    samples: Samples, classes: Sequence[str], count: int, by: str = "station-night", seed: int = 0
) -> list[Rows]:
    """Rows of each of ``count`` folds, with nearly the same shares of the classes.

    Station-nights are kept whole unless ``by`` is ``"image"``. The largest are placed first, each where the
    shares of the folds then differ least.

    Raises
    ------
    ConfigurationError
        If a fold has no meteor, or nothing else.
    """
    labels = samples.labels(classes)
    night = pd.MultiIndex.from_frame(samples.frames[["station", "night"]])
    groups = pd.factorize(night)[0] if by == "station-night" else np.arange(len(samples))
    fold_of_group = _place(_shares(labels, groups, len(classes)), count, np.random.default_rng(seed))
    fold = fold_of_group[groups]
    for number in range(count):
        _require_both(labels[fold == number], number, count, by, classes)
    return [np.flatnonzero(fold == number) for number in range(count)]


def fold_figures(labels: Labels, score: NDArray[np.floating], classes: Sequence[str]) -> dict[str, float]:
    """Figures of one fold: of the most probable classes, and over all thresholds.

    Parameters
    ----------
    labels
        (n,), -1 where not known.
    score
        (n, classes).
    """
    meteor = classes.index(METEOR)
    truth, score = labels[labels >= 0], score[labels >= 0]
    chosen = score.argmax(1)
    hits = int(((chosen == meteor) & (truth == meteor)).sum())
    flagged, meteors = int((chosen == meteor).sum()), int((truth == meteor).sum())
    return {
        "accuracy": float((chosen == truth).mean()),
        "precision": hits / flagged if flagged else 0.0,
        "recall": hits / meteors,
        "f1": 2 * hits / (flagged + meteors),
        "average_precision": average_precision(truth == meteor, score[:, meteor]),
    }


def summary(table: pd.DataFrame) -> str:
    """Mean and sample deviation of each figure over the folds, as a Markdown table."""
    rows = [f"| {name} | {table[name].mean():.3f} ± {table[name].std():.3f} |" for name in table]
    head = [f"| figure of `{METEOR}` | mean ± deviation of {len(table)} folds |", "| --- | --- |"]
    return "\n".join([*head, *rows])


def _shares(labels: Labels, groups: Rows, classes: int) -> NDArray[np.float64]:
    # Of each class the share that lies in each group, (groups, classes).
    counts = np.zeros((groups.max(initial=-1) + 1, classes))
    np.add.at(counts, (groups[labels >= 0], labels[labels >= 0]), 1)
    return np.asarray(counts / np.maximum(counts.sum(0), 1))


def _place(shares: NDArray[np.float64], count: int, rng: np.random.Generator) -> Rows:
    fold_of_group, filled = np.zeros(len(shares), np.intp), np.zeros((count, shares.shape[1]))
    shuffled = rng.permutation(len(shares))
    for group in shuffled[np.argsort(-shares[shuffled].max(1), kind="stable")]:
        # Sum of squares after placing; what is the same for all folds is left out.
        cost = filled @ shares[group]
        fold_of_group[group] = cost.argmin()
        filled[fold_of_group[group]] += shares[group]
    return fold_of_group


def _require_both(labels: Labels, number: int, count: int, by: str, classes: Sequence[str]) -> None:
    meteors = int((labels == classes.index(METEOR)).sum())
    others = int((labels >= 0).sum()) - meteors
    if not (meteors and others):
        raise ConfigurationError(
            f"fold {number + 1} of {count} has {meteors} meteors and {others} other samples",
            expected="some of each in every fold",
            mend="lower [training] folds, draw more"
            + (' station-nights, or set fold_by = "image"' if by == "station-night" else " samples"),
        )
