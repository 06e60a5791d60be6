"""Layers that training leaves as they are."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from nightsift.models.networks import Network


def freeze(network: Network, convolutions: int, *, body: bool = False) -> None:
    """Let training change all but the first ``convolutions``, or all but the head.

    The shortcut of a block belongs to its last convolution and is not counted, and each batch normalisation
    belongs to the convolution before it.
    """
    network.requires_grad_(True)
    for layer in network.body.modules() if body else _first(network, convolutions):
        layer.requires_grad_(False)


def training_mode(network: Network) -> None:
    """As ``network.train()``, but frozen batch normalisations keep their statistics."""
    network.train()
    for layer in network.body.modules():
        if isinstance(layer, nn.BatchNorm2d) and not layer.weight.requires_grad:
            layer.eval()


def _first(network: Network, convolutions: int) -> Iterator[nn.Module]:
    counted = 0
    for name, layer in network.body.named_modules():
        counted += isinstance(layer, nn.Conv2d) and "downsample" not in name
        if counted > convolutions:
            return
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            yield layer
