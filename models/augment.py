"""Augmentations of network inputs, each picture by its own chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

Published = Literal["regordosa", "pena-asensio", "galindo", "galindo-one-side"]
Augmentation = Literal["flips", "rotation", "speckle", "fading"] | Published


@dataclass(frozen=True)
class Transform:
    """What a paper does to a picture; angles in degrees, ``zoom`` as the greatest enlargement."""

    flip_vertically: bool
    rotation_deg: float
    zoom: float = 1.0
    lighting: float = 0.0
    chance: float = 0.75


PUBLISHED: Final[dict[str, Transform]] = {
    # Regordosa 2021, §3.3.2: fastai's defaults but rotation to 180°, no warp, no zoom.
    "regordosa": Transform(flip_vertically=False, rotation_deg=180, lighting=0.2),
    # Peña-Asensio et al. 2023, §3.1: flipped, cropped, rotated, moved, lit; by how much is fastai's default.
    "pena-asensio": Transform(flip_vertically=False, rotation_deg=10, zoom=1.1, lighting=0.2),
    # Galindo and Lorena 2018, §4 and table 2: "complete" and "on side" augmentation.
    "galindo": Transform(flip_vertically=True, rotation_deg=180, zoom=1.1, chance=1.0),
    "galindo-one-side": Transform(flip_vertically=False, rotation_deg=10, zoom=1.1, chance=1.0),
}


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
        eight symmetries of a square; ``speckle``, more noise; ``fading``, fewer or more pixels set. A name of
        `PUBLISHED` turns by any angle, after which the cells are not judged (-1).
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
    for name in get_args(Published):
        if name in names:
            gray, cells = _light(_turn(gray, PUBLISHED[name]), PUBLISHED[name]), torch.full_like(cells, -1)
    return gray, cells


def _half_of(gray: Tensor, cells: Tensor, turned: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    chosen = _each(gray) < 0.5
    return torch.where(chosen, turned(gray), gray), torch.where(chosen, turned(cells), cells)


def _speckle(gray: Tensor) -> Tensor:
    # In a third of the pictures up to a tenth of the pixels get brighter.
    density = 0.1 * _each(gray) ** 2 * (_each(gray) < 1 / 3)
    specks = (torch.rand_like(gray) < density) * torch.rand_like(gray)
    return (gray + specks).clamp(max=1)


def _turn(gray: Tensor, how: Transform) -> Tensor:
    # Reflected beyond the edge: with zeros the recall of meteors fell from .98 to .79 (Regordosa 2021,
    # §3.3.2).
    angle = _chosen(gray, how.chance) * _each(gray, -how.rotation_deg, how.rotation_deg) * math.pi / 180
    scale = 1 / (1 + _chosen(gray, how.chance) * _each(gray, 0, how.zoom - 1))
    across = 1 - 2 * _chosen(gray, 0.5)
    down = 1 - 2 * _chosen(gray, 0.5) * how.flip_vertically
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    # A smaller window of the picture may lie anywhere in it.
    moved = [(1 - scale) * _each(gray, -1, 1) for _ in "xy"]
    rows = [torch.cat([across * cosine, -down * sine, moved[0]], 2)]
    rows.append(torch.cat([across * sine, down * cosine, moved[1]], 2))
    grid = affine_grid(torch.cat(rows, 1), [len(gray), 1, *gray.shape[1:]], align_corners=True)
    turned = grid_sample(gray[:, None], grid, padding_mode="reflection", align_corners=True)[:, 0]
    return turned.clamp(0, 1)


def _light(gray: Tensor, how: Transform) -> Tensor:
    # Brightness is added to, and contrast multiplied with, the logit of a pixel, so that it stays in 0 to 1.
    if not how.lighting:
        return gray
    change, contrast = how.lighting, math.log(1 - how.lighting)
    middle = 0.5 + _chosen(gray, how.chance) * _each(gray, -0.5 * change, 0.5 * change)
    steepness = (_chosen(gray, how.chance) * _each(gray, contrast, -contrast)).exp()
    return ((gray.clamp(1e-7, 1 - 1e-7).logit() + middle.logit()) * steepness).sigmoid()


def _each(gray: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.empty(len(gray), 1, 1, device=gray.device).uniform_(low, high)


def _chosen(gray: Tensor, chance: float) -> Tensor:
    return (_each(gray) < chance).to(gray.dtype)
