"""Augmentations of network inputs, each picture by its own chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Augmentation = Literal["flips", "rotation", "speckle", "fading"]


def augment(gray: Tensor, cells: Tensor, names: Sequence[Augmentation]) -> tuple[Tensor, Tensor]:
    """Apply the named augmentations.

    Parameters
    ----------
    gray
        Pictures in 0 to 1, (n, side, side).
    cells
        Maps that turn with them, (n, cells, cells).
    names
        ``flips`` left to right and top to bottom; ``rotation`` by 90 degrees, which with flips gives all
        eight symmetries of a square; ``speckle``, more noise; ``fading``, fewer or more pixels set.
    """
    if "flips" in names:
        gray, cells = _half_of(gray, cells, lambda maps: maps.flip(2))
        gray, cells = _half_of(gray, cells, lambda maps: maps.flip(1))
    if "rotation" in names:
        gray, cells = _half_of(gray, cells, lambda maps: maps.rot90(1, (1, 2)))
    if "speckle" in names:
        gray = _speckle(gray)
    if "fading" in names:
        gray = (gray * _each(gray, 0.6, 1.3)).clamp(max=1)
    return gray, cells


def _half_of(gray: Tensor, cells: Tensor, turned: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    chosen = _each(gray) < 0.5
    return torch.where(chosen, turned(gray), gray), torch.where(chosen, turned(cells), cells)


def _speckle(gray: Tensor) -> Tensor:
    # In a third of the pictures up to a tenth of the pixels get brighter.
    density = 0.1 * _each(gray) ** 2 * (_each(gray) < 1 / 3)
    specks = (torch.rand_like(gray) < density) * torch.rand_like(gray)
    return (gray + specks).clamp(max=1)


def _each(gray: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.empty(len(gray), 1, 1, device=gray.device).uniform_(low, high)
