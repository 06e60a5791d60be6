"""Augmentations of network inputs, each a function of a batch of gray pictures (n, 1, h, w) in 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import torch
from torch import Tensor

Augmentation = Literal["flips", "rotation", "speckle", "fading"]


def augment(gray: Tensor, names: Sequence[Augmentation]) -> Tensor:
    """Apply the named augmentations, each picture by its own chance."""
    for name in names:
        gray = _AUGMENTATIONS[name](gray)
    return gray


def _flips(gray: Tensor) -> Tensor:
    for axis in (2, 3):
        gray = torch.where(_chance(gray, 0.5), gray.flip(axis), gray)
    return gray


def _rotation(gray: Tensor) -> Tensor:
    """By 90 degrees, which with flips gives all eight symmetries of a square."""
    return torch.where(_chance(gray, 0.5), torch.rot90(gray, 1, (2, 3)), gray)


def _speckle(gray: Tensor) -> Tensor:
    """More noise: up to a tenth of the pixels get brighter."""
    density = 0.1 * torch.rand(len(gray), 1, 1, 1) ** 2
    specks = (torch.rand(gray.shape) < density) * torch.rand(gray.shape)
    return torch.where(_chance(gray, 0.3), (gray + specks.to(gray.device)).clamp(max=1), gray)


def _fading(gray: Tensor) -> Tensor:
    """Fewer or more of the pixels under an input pixel set."""
    factor = torch.empty(len(gray), 1, 1, 1).uniform_(0.6, 1.3)
    return (gray * factor.to(gray.device)).clamp(max=1)


def _chance(gray: Tensor, probability: float) -> Tensor:
    return (torch.rand(len(gray), 1, 1, 1) < probability).to(gray.device)


_AUGMENTATIONS: Final[dict[Augmentation, Callable[[Tensor], Tensor]]] = {
    "flips": _flips,
    "rotation": _rotation,
    "speckle": _speckle,
    "fading": _fading,
}
