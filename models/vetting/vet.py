"""Kinds of candidates, from stamps that are cut while a night's frames stream by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from nightsift.archive.formats import Levels
from nightsift.models.vetting.network import StampsGru
from nightsift.models.vetting.package import VettingPackage
from nightsift.models.vetting.stamps import Floats, Place, StampRecipe, Stamps, Window, normalised

_BATCH: Final = 32


class Vetter:
    """Applies a vetting package to sequences of stamps.

    The same sequence gives the same bytes whatever it is batched with: every batch has the same shape, and
    the CPU works with one thread.
    """

    def __init__(self, package: VettingPackage) -> None:
        self.package = package

    @cached_property
    def _network(self) -> StampsGru:
        return self.package.network()

    def scores(self, sequences: Sequence[Stamps]) -> Floats:
        """Score of each class, float32 (n, classes); each row sums to one."""
        recipe = self.package.recipe
        codes = np.zeros((len(sequences), recipe.frames, recipe.size_px, recipe.size_px), np.int8)
        steps = np.zeros((len(sequences), recipe.frames, 4), np.float32)
        for i, stamps in enumerate(sequences):
            codes[i], steps[i] = stamps.codes, stamps.steps
        return softmax_scores(self._network, codes, steps)


@torch.inference_mode()
def softmax_scores(network: StampsGru, codes: NDArray[np.int8], steps: NDArray[np.float32]) -> Floats:
    """Softmax of a network's logits, float32 (n, classes), in batches of one shape on one thread."""
    torch.set_num_threads(1)
    blocks = []
    for begin in range(0, len(codes), _BATCH):
        part = slice(begin, begin + _BATCH)
        full = (
            np.zeros((_BATCH, *codes.shape[1:]), np.int8),
            np.zeros((_BATCH, *steps.shape[1:]), np.float32),
        )
        count = len(codes[part])
        full[0][:count], full[1][:count] = codes[part], steps[part]
        logits = network(*(torch.from_numpy(array) for array in full))
        blocks.append(logits.softmax(1).numpy()[:count])
    return np.concatenate([*blocks, np.empty((0, network.classes), np.float32)])


@dataclass(frozen=True)
class Candidate:
    """What is to be vetted: the frame's number in its night, and where in the frame it is."""

    index: int
    place: Place


@dataclass
class Cutter:
    """Cuts the stamps of a night's candidates from its frames, given in order; frames are not kept.

    Parameters
    ----------
    begins_s, exposures_s
        Begin and length of every exposure of the night.
    """

    recipe: StampRecipe
    candidates: Sequence[Candidate]
    begins_s: NDArray[np.float64]
    exposures_s: NDArray[np.floating]
    _cut: dict[int, dict[int, Floats]] = field(default_factory=dict)
    _windows: dict[int, Window] = field(default_factory=dict)

    def wanted(self) -> NDArray[np.bool_]:
        """Which of the night's frames are needed."""
        needed = np.zeros(len(self.begins_s), bool)
        for candidate in self.candidates:
            needed[list(self._around(candidate.index))] = True
        return needed

    def _around(self, index: int) -> range:
        begin, end = index - self.recipe.before, index + self.recipe.after + 1
        near = [
            k
            for k in range(max(0, begin), min(len(self.begins_s), end))
            if abs(self.begins_s[k] - self.begins_s[index]) <= self.recipe.max_offset_s
        ]
        return range(near[0], near[-1] + 1)

    def add(self, index: int, frame: Levels) -> None:
        """Take a frame of the night."""
        for number in self._needing.get(index, ()):
            candidate = self.candidates[number]
            shape = frame.shape[0], frame.shape[1]
            window = self.recipe.window(candidate.place, shape)
            self._windows[number] = window
            place = index - candidate.index + self.recipe.before
            self._cut.setdefault(number, {})[place] = window.cut(frame, self.recipe.size_px)

    @cached_property
    def _needing(self) -> Mapping[int, Sequence[int]]:
        needing: dict[int, list[int]] = {}
        for number, candidate in enumerate(self.candidates):
            for index in self._around(candidate.index):
                needing.setdefault(index, []).append(number)
        return needing

    def finish(self) -> dict[int, Stamps]:
        """Stamps of those candidates whose own frame was seen, by their number among the candidates."""
        middle = self.recipe.before
        return {number: self._stamps(number) for number, cut in sorted(self._cut.items()) if middle in cut}

    def _stamps(self, number: int) -> Stamps:
        index, cut = self.candidates[number].index, self._cut[number]
        frames = {place: index + place - self.recipe.before for place in cut}
        begins = {place: float(self.begins_s[k] - self.begins_s[index]) for place, k in frames.items()}
        exposures = {place: float(self.exposures_s[k]) for place, k in frames.items()}
        return normalised(cut, begins, exposures, self._windows[number], self.recipe)


def cut_stamps(cutter: Cutter, frames: Iterable[tuple[int, Levels]]) -> dict[int, Stamps]:
    """Feed frames to a cutter; the stamps by the number of the candidate."""
    for index, frame in frames:
        cutter.add(index, frame)
    return cutter.finish()
