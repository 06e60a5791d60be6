"""Pictures of a training: its curves, its confusion matrix, its search for a rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray


def draw_curves(history: pd.DataFrame, path: Path) -> None:
    """Losses and validation figures of each round, over all stages.

    Parameters
    ----------
    history
        As `training.Fitted.history`.
    path
        The picture to write.
    """
    figure = Figure((8, 6), layout="constrained")
    losses, quality = figure.subplots(2, 1, sharex=True)
    rounds = np.arange(1, len(history) + 1)
    for axes, names in (
        (losses, ("loss", "validation_loss")),
        (quality, ("validation_average_precision", "validation_accuracy")),
    ):
        for name in names:
            axes.plot(rounds, history[name], marker=".", label=name.replace("_", " "))
        axes.legend()
        axes.grid(alpha=0.3)
    for first in np.flatnonzero(history["stage"] != history["stage"].shift()):
        losses.axvline(first + 0.5, color="gray", linewidth=0.8)
        losses.text(first + 0.6, losses.get_ylim()[1], history["stage"].iloc[first], va="top")
    quality.set(xlabel="round (an epoch, or a tenth of a stage)", ylim=(0, 1))
    figure.savefig(path, dpi=100)


def draw_confusion(counts: NDArray[np.integer], classes: Sequence[str], path: Path) -> None:
    """A confusion matrix: true classes down, most probable classes across, (classes, classes)."""
    figure = Figure((1.6 + 1.2 * len(classes), 1.2 + 1.2 * len(classes)), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        colour = "white" if shares[row, column] > 0.5 else "black"
        text = f"{counts[row, column]}\n{shares[row, column]:.2f}"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="most probable class", ylabel="true class")
    figure.savefig(path, dpi=100)


def draw_rate(curve: pd.DataFrame, suggested: float, path: Path) -> None:
    """Loss over learning rate, with the suggestion."""
    figure = Figure((7, 4), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(curve["learning_rate"], curve["loss"], color="lightgray", label="loss")
    axes.semilogx(curve["learning_rate"], curve["smooth_loss"], label="smoothed")
    axes.axvline(suggested, color="tab:red", label=f"suggested: {suggested:.2g}")
    axes.set(xlabel="learning rate", ylabel="loss", ylim=(0, 1.5 * curve["loss"].iloc[0]))
    axes.legend()
    figure.savefig(path, dpi=100)
