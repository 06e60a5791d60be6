"""Which samples make up the batch of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.errors import ConfigurationError
from nightsift.models.package import METEOR
from nightsift.models.samples import Samples

Rows = NDArray[np.intp]


class Batch(NamedTuple):
    """Images (n, h, w), the class of each (n,), and of each of its cells (n, rows, columns) or -1."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    cells: NDArray[np.int64]


Draw = Callable[[int, np.random.Generator], Batch]
"""Gives a batch of a size, from nothing but the generator."""

BatchOf = Callable[[int], Batch]
"""Gives the batch of a step: a training that was killed goes on with the batch that would have come."""


class Whole(NamedTuple):
    """Batches of whole inputs, the steps of an epoch, and the weight of each class in the loss."""

    batch_of: BatchOf
    epoch_steps: int
    class_weights: NDArray[np.float32]


def drawn(draw: Draw, size: int, seed: Sequence[int]) -> BatchOf:
    """Batches of ``size`` that are drawn anew for each step."""
    return lambda step: draw(size, np.random.default_rng((*seed, step)))


def whole_inputs(
    samples: Samples, classes: Sequence[str], balance: str, size: int, seed: Sequence[int]
) -> Whole:
    """Batches of whole inputs; those without a label are left out.

    Parameters
    ----------
    samples, classes
        What there is, and the names of the classes.
    balance
        As in `settings.TrainingConfig`.
    size
        Inputs in a batch.
    seed
        Of the order.

    Raises
    ------
    ConfigurationError
        If all samples are of one class.
    """
    labels = samples.labels(classes)
    require_two_classes(labels, classes)
    even = np.ones(len(classes), np.float32)
    if balance == "half":
        batch_of = drawn(draw_whole(samples, classes), size, seed)
        return Whole(batch_of, max(1, int((labels >= 0).sum()) // size), even)
    cells = samples.cell_labels(classes, samples.images.shape[1] // 32)
    rows = balanced(labels, balance, np.random.default_rng(seed))
    rows_of = in_turn(rows, size, seed)

    def batch_of_step(step: int) -> Batch:
        chosen = rows_of(step)
        return Batch(samples.images[chosen], labels[chosen], cells[chosen])

    weights = class_weights(labels, len(classes)) if balance == "weights" else even
    return Whole(batch_of_step, max(1, len(rows) // size), weights)


def draw_whole(samples: Samples, classes: Sequence[str]) -> Draw:
    """Draws whole images, half of them meteors; those without a label are left out."""
    labels = samples.labels(classes)
    require_two_classes(labels, classes)
    cells = samples.cell_labels(classes, samples.images.shape[1] // 32)
    meteors = np.flatnonzero(labels == classes.index(METEOR))
    others = np.flatnonzero((labels >= 0) & (labels != classes.index(METEOR)))

    def draw(count: int, rng: np.random.Generator) -> Batch:
        rows = np.concatenate([rng.choice(meteors, count // 2), rng.choice(others, count - count // 2)])
        return Batch(samples.images[rows], labels[rows], cells[rows])

    return draw


def balanced(labels: NDArray[np.int64], balance: str, rng: np.random.Generator) -> Rows:
    """Rows of an epoch: the same number of each class that occurs, or all that have a label."""
    rows = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels[labels >= 0])]
    if balance in ("undersample", "oversample"):
        count = (min if balance == "undersample" else max)(len(of_class) for of_class in rows)
        rows = [np.resize(of_class, count) for of_class in rows]
    return np.concatenate(rows)


def in_turn(rows: Rows, size: int, seed: Sequence[int]) -> Callable[[int], Rows]:
    """Rows of the batch of a step: each epoch all in a new order, without what fills no batch."""
    per_epoch = max(1, len(rows) // size)

    def rows_of(step: int) -> Rows:
        epoch, within = divmod(step, per_epoch)
        order = np.random.default_rng((*seed, epoch)).permutation(rows)
        return np.resize(order, max(size, len(order)))[within * size : (within + 1) * size]

    return rows_of


def class_weights(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Weights of the loss that make each class that occurs count as much as any other."""
    count = np.bincount(labels[labels >= 0], minlength=classes)
    present = count > 0
    weights = np.divide(count.sum() / present.sum(), count, where=present, out=np.zeros(classes))
    return np.asarray(weights, np.float32)


def require_two_classes(labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Refuse samples without a clear meteor, or without anything else."""
    meteors = int((labels == classes.index(METEOR)).sum())
    others = int((labels >= 0).sum()) - meteors
    if not (meteors and others):
        raise ConfigurationError(
            f"{meteors} training samples show a clear meteor and {others} none at all",
            expected="some of each",
            mend="draw more stations, nights or runs, change the rate of meteors, or name other folders",
        )
