"""What a model package does on a named set, with 95 % intervals.

Shares carry Wilson's interval (Wilson 1927). The average precision carries the percentiles of a bootstrap
that draws whole station-nights with replacement (Efron and Tibshirani 1993, §8.3 and §13.3): frames of one
night are no independent witnesses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nightsift.models.figures import Share
from nightsift.models.package import METEOR
from nightsift.models.splits import groups

FALSE_RATE: Final = 1 / 1000
NEGATIVES_NEEDED: Final = 3000
RESAMPLES: Final = 1000
LEAST_LENGTH_PX: Final = 15.0
LEAST_SNR: Final = 6.0

_LENGTH_EDGES = (0.0, 8.0, LEAST_LENGTH_PX, 30.0, 60.0, math.inf)
_SNR_EDGES = (0.0, 2.5, LEAST_SNR, 10.0, 20.0, math.inf)

Mask = NDArray[np.bool_]
Floats = NDArray[np.floating]
Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]


@dataclass(frozen=True)
class Point:
    """What frames with a score at or above a threshold are.

    Attributes
    ----------
    recall
        Of the meteors that count.
    false_frames
        Of the frames without a meteor, those at or above.
    precision
        Of the frames at or above, at this set's own share of meteors.
    found
        By bin, of all meteors.
    false_by_content
        By what the frame shows instead.
    """

    threshold: float
    recall: Share
    false_frames: Share
    precision: Share
    found: Mapping[str, Share]
    false_by_content: Mapping[str, Share]

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; nan where neither is."""
        false, missed = self.precision.of - self.precision.count, self.recall.of - self.recall.count
        of = 2 * self.recall.count + false + missed
        return 2 * self.recall.count / of if of else math.nan

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        shares = {name: _said(getattr(self, name)) for name in ("recall", "false_frames", "precision")}
        by = {
            name: {key: _said(share) for key, share in getattr(self, name).items()}
            for name in ("found", "false_by_content")
        }
        return {"threshold": _number(self.threshold), **shares, "f1": _number(self.f1), **by}


@dataclass(frozen=True)
class Evaluation:
    """Figures of one package on one named set.

    Attributes
    ----------
    name, real
        Of the set; whether its frames are of real cameras.
    recommended
        At the package's own threshold.
    at_false_rate
        At the least threshold that lets through one frame in 1,000 of those without a meteor.
    average_precision, interval
        Of the meteors that count, and its bootstrap interval; nan of fewer than two groups.
    counts
        Frames of each kind, and groups of station-nights.
    distance_px
        Median distance from the stated position to the middle of the trail, of meteors found; nan where no
        place is known.
    """

    name: str
    real: bool
    recommended: Point
    at_false_rate: Point
    average_precision: float
    interval: tuple[float, float]
    counts: Mapping[str, int]
    distance_px: float

    @property
    def supported(self) -> bool:
        """Whether there are frames enough to speak of one in 1,000."""
        return self.counts["without a meteor"] >= NEGATIVES_NEEDED

    @property
    def confusion(self) -> dict[str, tuple[int, int]]:
        """Frames called meteor and not, at the recommended threshold, by what they show."""
        point = self.recommended
        rows = {METEOR: point.recall, **point.false_by_content}
        return {name: (share.count, share.of - share.count) for name, share in rows.items()}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        low, high = self.interval
        return {
            "set": self.name,
            "real": self.real,
            "counts": dict(self.counts),
            "recommended": self.recommended.as_dict(),
            "at_1_false_in_1000": {**self.at_false_rate.as_dict(), "supported": self.supported},
            "average_precision": {
                "value": _number(self.average_precision),
                "interval_95": [_number(low), _number(high)],
            },
            "confusion": {name: dict(zip(_SAID, row, strict=True)) for name, row in self.confusion.items()},
            "distance_px": _number(self.distance_px),
        }

    def tables(self) -> list[Table]:
        """Title, columns and rows of each table."""
        own, rate = self.recommended, self.at_false_rate
        columns = ("", f"at {own.threshold:.4g}, recommended", f"at {rate.threshold:.6g}, 1 false in 1,000")
        both = (
            ("recall", own.recall, rate.recall),
            ("frames without a meteor flagged", own.false_frames, rate.false_frames),
            ("precision", own.precision, rate.precision),
        )
        low, high = self.interval
        distance = "no place known" if math.isnan(self.distance_px) else f"{self.distance_px:.1f} px"
        spread = "one group, no interval" if math.isnan(low) else f"{low:.3f} to {high:.3f}"
        counted = ", ".join(f"{count:,} {what}" for what, count in self.counts.items())
        kind = "frames of real cameras" if self.real else "simulated frames"
        return [
            (
                f"{self.name}: {kind}: {counted}",
                columns,
                [
                    *((name, str(a), str(b)) for name, a, b in both),
                    ("F1", f"{own.f1:.3f}", f"{rate.f1:.3f}"),
                    (
                        "average precision, over all thresholds",
                        f"{self.average_precision:.3f} ({spread})",
                        "",
                    ),
                    ("median distance to the middle of the trail", distance, ""),
                ],
            ),
            ("Meteors found", columns, _side_by_side(own.found, rate.found)),
            ("False frames", columns, _side_by_side(own.false_by_content, rate.false_by_content)),
            (
                "Confusion at the recommended threshold",
                ("shows", *_SAID),
                [(name, *(f"{count:,}" for count in row)) for name, row in self.confusion.items()],
            ),
        ]

    def caveat(self) -> str | None:
        """What the figure at one false frame in 1,000 lacks; None if nothing."""
        if self.supported:
            return None
        found = self.counts["without a meteor"]
        return (
            f"Not supported: the figures at 1 false frame in 1,000 rest on {found:,} frames without a "
            f"meteor; at least {NEGATIVES_NEEDED:,} are needed."
        )


_SAID = ("called meteor", "not called meteor")


def evaluate_scores(
    frames: pd.DataFrame, score: Floats, position: Floats, threshold: float, *, name: str, real: bool
) -> Evaluation:
    """Compare scores with the truth.

    Parameters
    ----------
    frames
        A row per frame: ``station``, ``night``, ``label`` (1 a meteor that counts, 0 none, -1 a meteor too
        faint or short to count), ``content`` (what it shows), and of its clearest meteor ``length_px``,
        ``snr`` and ``x_begin_px`` and so on, nan where not known.
    score
        (n,): of the class ``meteor``.
    position
        (n, 2): x_px and y_px of the meteor; nan where there is none.
    threshold
        The package's own.
    name, real
        Of the set.
    """
    label = frames["label"].to_numpy()
    known = label >= 0
    limit = threshold_at(score[label == 0], FALSE_RATE)
    found = (label == 1) & (score >= np.float32(threshold))
    value, interval = bootstrap_average_precision(label[known] == 1, score[known], groups(frames[known]))
    return Evaluation(
        name=name,
        real=real,
        recommended=_point(frames, score, threshold),
        at_false_rate=_point(frames, score, limit),
        average_precision=value,
        interval=interval,
        counts={
            "meteors": int((label == 1).sum()),
            "without a meteor": int((label == 0).sum()),
            "with a meteor too faint or short to count": int((label < 0).sum()),
            "separate station-nights": len(set(groups(frames))),
        },
        distance_px=_distance(frames[found], position[found]),
    )


def threshold_at(negatives: Floats, rate: float) -> float:
    """The least float32 score that no more than ``rate`` of the negatives reach; nan without negatives.

    >>> threshold_at(np.array([0.1, 0.2, 0.5, 0.25], np.float32), 0.25) > 0.25
    True
    """
    if not len(negatives):
        return math.nan
    allowed = math.floor(len(negatives) * rate + 1e-9)
    ranked = -np.sort(-negatives.astype(np.float32))
    return float(np.nextafter(ranked[allowed], np.float32(np.inf))) if allowed < len(ranked) else 0.0


def bootstrap_average_precision(
    truth: Mask, score: Floats, group: NDArray[np.int64], seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Average precision, and the 2.5 and 97.5 percentiles when whole groups are drawn with replacement.

    Draws without a true frame are left out.
    """
    order = np.argsort(-score, kind="stable")
    ranked, member = truth[order], np.unique(group[order], return_inverse=True)[1]
    number = int(member.max()) + 1 if len(member) else 0
    value = _weighted(ranked, np.ones(len(ranked)))
    if number < 2:
        return value, (math.nan, math.nan)
    rng = np.random.default_rng(seed)
    drawn = (rng.multinomial(number, np.full(number, 1 / number)) for _ in range(RESAMPLES))
    values = np.array([_weighted(ranked, times[member].astype(float)) for times in drawn])
    low, high = np.nanpercentile(values, (2.5, 97.5)) if np.isfinite(values).any() else (math.nan, math.nan)
    return value, (float(low), float(high))


def _weighted(ranked: Mask, weight: Floats) -> float:
    hits = np.cumsum(weight * ranked)
    if not len(hits) or not hits[-1]:
        return math.nan
    precision = hits / np.maximum(np.cumsum(weight), 1e-300)
    return float((precision * weight * ranked).sum() / hits[-1])


def _point(frames: pd.DataFrame, score: Floats, threshold: float) -> Point:
    label = frames["label"].to_numpy()
    flagged = score >= np.float32(threshold)
    contents = sorted(set(frames["content"][label == 0]))
    return Point(
        threshold,
        recall=_share(flagged, label == 1),
        false_frames=_share(flagged, label == 0),
        precision=_share(label == 1, flagged & (label >= 0)),
        found={name: _share(flagged, rows) for name, rows in _meteor_bins(frames).items()},
        false_by_content={
            name: _share(flagged, (frames["content"] == name).to_numpy() & (label == 0)) for name in contents
        },
    )


def _meteor_bins(frames: pd.DataFrame) -> dict[str, Mask]:
    meteor = (frames["label"] != 0).to_numpy()
    length, snr = (frames[name].to_numpy(np.float64) for name in ("length_px", "snr"))
    bins = {"all": meteor, "that count": (frames["label"] == 1).to_numpy()}
    for name, values, edges in (("length, px", length, _LENGTH_EDGES), ("snr", snr, _SNR_EDGES)):
        bins |= {
            f"{name}: {low:g} to {high:g}": meteor & (values >= low) & (values < high)
            for low, high in pairwise(edges)
        }
        bins[f"{name}: not known"] = meteor & np.isnan(values)
    return {name: rows for name, rows in bins.items() if rows.any()}


def _share(hit: Mask, rows: Mask) -> Share:
    return Share(int((hit & rows).sum()), int(rows.sum()))


def _distance(frames: pd.DataFrame, position: Floats) -> float:
    middle = [
        (frames[f"{axis}_begin_px"] + frames[f"{axis}_end_px"]).to_numpy(np.float64) / 2 for axis in "xy"
    ]
    distance = np.hypot(*(np.stack(middle, axis=1) - position).T)
    known = np.isfinite(middle[0])
    # A meteor found without a position is as far off as can be.
    return float(np.median(np.nan_to_num(distance[known], nan=np.inf))) if known.any() else math.nan


def _side_by_side(first: Mapping[str, Share], second: Mapping[str, Share]) -> list[tuple[str, ...]]:
    return [(name, str(share), str(second[name])) for name, share in first.items()]


def _said(share: Share) -> dict[str, Any]:
    interval = [_number(end) for end in share.interval]
    return {"count": share.count, "of": share.of, "value": _number(share.value), "interval_95": interval}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
