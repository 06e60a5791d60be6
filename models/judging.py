"""A classifier's scores of differences that come with what they show, and the worst of its mistakes."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, islice, pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nightsift.archive.differences import Threshold, difference
from nightsift.archive.formats.jpeg import decode_gray
from nightsift.archive.simulator import SimulatedNight, encode_frame
from nightsift.models.classify import Classifier
from nightsift.models.dataset import DataConfig, StationNightRun, held_out_jobs, simulated_runs
from nightsift.models.evaluation import LEAST_LENGTH_PX, LEAST_SNR
from nightsift.models.package import METEOR
from nightsift.models.recipe import Recipe, made_with
from nightsift.models.samples import AIRCRAFT, SATELLITE
from nightsift.models.shown import GEOMETRY, NO_METEOR, Shown
from nightsift.models.streaks import rise_in_noise

STRETCH: Final = 64
EVALUATION_SEED: Final = 20_261_120
# 36 station-nights of 5 runs: with the rates below most of 5,220 differences are without a meteor.
SIMULATED: Final = DataConfig(
    seed=0,
    stations=1,
    test_seed=EVALUATION_SEED,
    test_stations=18,
    nights=2,
    runs=5,
    frames=30,
    meteors=0.45,
    satellites=0.25,
    aircraft=0.12,
)


@dataclass(frozen=True, eq=False)
class Mistake:
    """A frame, its score of the class meteor, and the loss: minus the logarithm of the true label's score."""

    shown: Shown
    label: int
    score: float

    @property
    def loss(self) -> float:
        """Greatest for what is most confidently wrong."""
        return -math.log(max(self.score if self.label else 1 - self.score, 1e-9))


@dataclass(frozen=True, eq=False)
class Judged:
    """What frames show and what a classifier says.

    Attributes
    ----------
    frames
        As `nightsift.models.evaluation.evaluate_scores` takes them.
    score
        float32, (n,).
    position
        float32, (n, 2): x_px, y_px.
    worst
        The greatest losses, greatest first.
    """

    frames: pd.DataFrame
    score: NDArray[np.float32]
    position: NDArray[np.float32]
    worst: Sequence[Mistake]


def judge(classifier: Classifier, shown: Iterable[Shown], top_losses: int = 0) -> Judged:
    """Score differences as they come; a few are in memory at a time, and the worst.

    Parameters
    ----------
    top_losses
        How many of the greatest losses to keep.
    """
    rows: list[Mapping[str, Any]] = []
    scores, positions = [np.empty(0, np.float32)], [np.empty((0, 2), np.float32)]
    worst: list[Mistake] = []
    for stretch in _stretches(shown):
        score, position = _scored(classifier, stretch)
        told = [truth_of(item) for item in stretch]
        mistakes = [
            Mistake(item, row["label"], float(value))
            for item, row, value in zip(stretch, told, score, strict=True)
            if row["label"] >= 0
        ]
        worst = heapq.nlargest(top_losses, [*worst, *mistakes], key=lambda mistake: mistake.loss)
        rows += told
        scores.append(score)
        positions.append(position)
    return Judged(pd.DataFrame(rows), np.concatenate(scores), np.concatenate(positions), worst)


def truth_of(item: Shown) -> dict[str, Any]:
    """What `evaluate_scores` has to know of a frame.

    Any meteor that a person named counts; a simulated one counts from 15 px and snr 6 on.
    """
    meteors = [row for row in item.objects if row["kind"] == METEOR]
    main = max(meteors, key=lambda row: (_counts(row), _known(row, "snr")), default={})
    simulated = item.frame.get("simulated", False)
    label = int(item.verdict == METEOR)
    if label and simulated and not _counts(main):
        label = -1
    known = {name: main.get(name, math.nan) for name in GEOMETRY}
    return {**item.frame, **known, "label": label, "content": item.verdict}


def _counts(row: Mapping[str, Any]) -> bool:
    return _known(row, "length_px") >= LEAST_LENGTH_PX and _known(row, "snr") >= LEAST_SNR


def _known(row: Mapping[str, Any], name: str) -> float:
    value = float(row.get(name, -1.0))
    return -1.0 if math.isnan(value) else value


def _stretches(shown: Iterable[Shown]) -> Iterator[list[Shown]]:
    for _, alike in groupby(shown, key=lambda item: (item.picture.shape, item.picture.dtype)):
        while stretch := list(islice(alike, STRETCH)):
            yield stretch


def _scored(
    classifier: Classifier, stretch: Sequence[Shown]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    pictures: Any = np.stack([item.picture for item in stretch])
    rises = [item.rise for item in stretch if item.rise is not None]
    scores = classifier.classify(pictures, np.stack(rises) if len(rises) == len(stretch) else None)
    return scores.meteor, np.stack([scores.x_px, scores.y_px], axis=1)


def simulated_set(data: DataConfig, threshold: Threshold) -> Iterator[Shown]:
    """The simulated stations of ``test_seed``: the differences of their runs, as the archive makes them."""
    for job in held_out_jobs(data, Recipe()):
        for night, begin in simulated_runs(job):
            yield from _run(night, begin, job, threshold)


def _run(night: SimulatedNight, begin: int, job: StationNightRun, threshold: Threshold) -> Iterator[Shown]:
    station = f"simulated-{job.seed}-{job.station:03d}"
    rendered = (night.render(index) for index in range(begin, begin + job.data.frames))
    decoded = ((decode_gray(encode_frame(image)), objects) for image, objects in rendered)
    for index, ((previous, _), (current, objects)) in enumerate(pairwise(decoded), begin + 1):
        told = {"station": station, "night": job.night, "simulated": True}
        told["frame_key"] = f"{station}/{job.night}/{index}"
        kinds = {item.kind for item in objects}
        content = next((kind for kind in (METEOR, SATELLITE, AIRCRAFT) if kind in kinds), NO_METEOR)
        rows = [asdict(item) for item in objects]
        shown = difference(current, previous, made_with(threshold))
        yield Shown(shown, told, content, rows, rise_in_noise(current, previous))
