"""What a vetting network does on sequences whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nightsift.models.figures import Share
from nightsift.models.vetting.package import KINDS

_METEOR: Final = KINDS.index("meteor")
_SNR_EDGES: Final = (3.0, 6.0, 10.0, 20.0, np.inf)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class VettingFigures:
    """Shares of sequences by what they show and what they are taken for; ``kind`` is the likeliest class.

    Attributes
    ----------
    confusion
        Numbers, (true kind, kind given), in the order of `KINDS`.
    lost
        Shares of meteors whose kind is not ``meteor``.
    left
        Shares of other sequences whose kind is ``meteor``.
    """

    confusion: NDArray[np.int64]
    lost: dict[str, Share]
    left: dict[str, Share]

    @property
    def recall(self) -> float:
        """Mean over the kinds of the share that is recognised; nan for kinds that are absent is left out."""
        total = self.confusion.sum(1)
        return float((self.confusion.diagonal()[total > 0] / total[total > 0]).mean())

    def as_dict(self) -> dict[str, Any]:
        """All figures as JSON."""
        shares = {"lost": self.lost, "left": self.left}
        return {
            "confusion": self.confusion.tolist(),
            **{
                name: {row: [share.count, share.of, *share.interval] for row, share in rows.items()}
                for name, rows in shares.items()
            },
        }

    def to_markdown(self) -> str:
        """Tables with Wilson intervals (95 %)."""
        return "\n\n".join(
            [
                _table(("true kind", *(f"given {kind}" for kind in KINDS)), self._confusion_rows()),
                _table(("meteors not left as meteor", "share"), _share_rows(self.lost)),
                _table(("left as meteor", "share"), _share_rows(self.left)),
            ]
        )

    def _confusion_rows(self) -> list[tuple[str, ...]]:
        return [(kind, *map(str, row)) for kind, row in zip(KINDS, self.confusion.tolist(), strict=True)]


def vetting_figures(truth: pd.DataFrame, score: NDArray[np.floating]) -> VettingFigures:
    """Compare scores with the truth.

    Parameters
    ----------
    truth
        As in `nightsift.models.vetting.samples.StampSamples`.
    score
        (n, kinds), in the order of `KINDS`.
    """
    given, true = score.argmax(1), truth["kind"].map(KINDS.index).to_numpy()
    confusion = np.zeros((len(KINDS), len(KINDS)), np.int64)
    np.add.at(confusion, (true, given), 1)
    meteor, called = true == _METEOR, given == _METEOR
    lost = {name: _share(~called, meteor & rows) for name, rows in _by_snr(truth)}
    left = {name: _share(called, rows) for name, rows in _others(truth)}
    return VettingFigures(confusion, lost, left)


def _share(hit: Mask, rows: Mask) -> Share:
    return Share(int((hit & rows).sum()), int(rows.sum()))


def _by_snr(truth: pd.DataFrame) -> Iterator[tuple[str, Mask]]:
    yield "all", np.ones(len(truth), bool)
    snr = truth["snr"].to_numpy()
    for low, high in pairwise(_SNR_EDGES):
        yield f"snr {low:g} to {high:g}", (snr >= low) & (snr < high)


def _others(truth: pd.DataFrame) -> Iterator[tuple[str, Mask]]:
    kind, recurs = truth["kind"].to_numpy(), truth["recurs"].to_numpy(bool)
    both = (kind == "satellite") | (kind == "aircraft")
    yield "satellites and aircraft", both
    yield "satellites", kind == "satellite"
    yield "aircraft", kind == "aircraft"
    yield "satellites and aircraft that no other frame of the sequence shows", both & ~recurs
    yield "other", kind == "other"
    for source in sorted(set(truth["source"]) - {"object"}):
        yield f"other, {source}", (kind == "other") & (truth["source"] == source).to_numpy()


def _share_rows(shares: dict[str, Share]) -> list[tuple[str, ...]]:
    return [(name, str(share)) for name, share in shares.items() if share.of]


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
