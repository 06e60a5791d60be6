"""Weights in a package's folder: safetensors, finite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nightsift.archive.errors import ConfigurationError
from nightsift.models.description import WEIGHTS, read_file

if TYPE_CHECKING:
    from torch import Tensor


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a package by name.

    Raises
    ------
    ConfigurationError
        They are no safetensors file, or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / WEIGHTS
    try:
        tensors = load(read_file(folder, WEIGHTS))
    except SafetensorError as error:
        raise ConfigurationError(
            f"{path} is not a safetensors file",
            expected="weights in the safetensors format; pickled weights are never read",
            found=str(error),
            mend="convert the weights with safetensors.torch.save_file where they were made",
        ) from error
    refuse_non_finite(tensors, str(path))
    return tensors


def refuse_non_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors with nan or infinity in them; ``source`` names them."""
    bad = [key for key, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise ConfigurationError(
            f"{source} holds weights that are not finite",
            expected="finite numbers only",
            found=f"nan or infinity in {', '.join(bad)}",
            mend="train again with a lower learning rate, or restore the file",
        )
