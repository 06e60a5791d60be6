"""Heads: from the last maps of a ResNet to the logits of the classes."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Called on maps (n, channels, height, width), it gives logits (n, classes)."""


class LinearHead(Head):
    """A head that is linear on the mean, or on mean and maximum, of each map.

    Because it is linear, the weights of Grad-CAM (Selvaraju et al. 2017) have a closed form, and each cell
    can be judged as a picture of its own.
    """

    linear: nn.Linear

    def cells(self, last: Tensor) -> Tensor:
        """Logits (n, classes, height, width) of each cell, judged as a picture of its own."""
        logits = torch.einsum("nchw,kc->nkhw", last, self._of_a_cell())
        return logits + self.linear.bias[:, None, None]

    def grad_cam_weights(self, class_index: int, cells: int) -> Tensor:
        """Mean over a map of ``cells`` cells of the gradient of a class's logit, (channels,).

        Every cell passes 1/cells of the weight of its mean, and the maximum passes its weight once.
        """
        return self._of_a_cell()[class_index] / cells

    def _of_a_cell(self) -> Tensor:
        # Of a map of one cell the mean and the maximum are the same.
        raise NotImplementedError


class MeanMax(LinearHead):
    """Mean and maximum of each map, then one linear layer.

    The maximum keeps a trail that fills one cell of 49 from being averaged away.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.2)
        self.linear = nn.Linear(2 * channels, classes)

    def forward(self, last: Tensor) -> Tensor:
        """Logits, (n, classes)."""
        logits: Tensor = self.linear(self.dropout(_mean_and_maximum(last)))
        return logits

    def _of_a_cell(self) -> Tensor:
        of_mean, of_maximum = self.linear.weight.chunk(2, dim=1)
        return of_mean + of_maximum


class Average(LinearHead):
    """Mean of each map, then one linear layer: the head of He et al. 2016."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, last: Tensor) -> Tensor:
        """Logits, (n, classes)."""
        logits: Tensor = self.linear(last.mean((2, 3)))
        return logits

    def _of_a_cell(self) -> Tensor:
        return self.linear.weight


class Fastai(Head):
    """Fastai's head of a pre-trained body: Regordosa 2021, §3.3.3; Peña-Asensio et al. 2023, §3.1."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(2 * channels),
            nn.Dropout(0.25),
            nn.Linear(2 * channels, 512, bias=False),
            nn.ReLU(),
            nn.BatchNorm1d(512),
            nn.Dropout(0.5),
            nn.Linear(512, classes, bias=False),
        )

    def forward(self, last: Tensor) -> Tensor:
        """Logits, (n, classes)."""
        logits: Tensor = self.layers(_mean_and_maximum(last))
        return logits


class Galindo(Head):
    """Mean of each map, 1024 neurons, 512 neurons, classes: Galindo and Lorena 2018, table 1 and §5."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels, 1024),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(1024, 512),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(512, classes),
        )

    def forward(self, last: Tensor) -> Tensor:
        """Logits, (n, classes)."""
        logits: Tensor = self.layers(last.mean((2, 3)))
        return logits


HEADS: Final[dict[str, type[Head]]] = {
    "mean-max": MeanMax,
    "average": Average,
    "fastai": Fastai,
    "galindo": Galindo,
}


def _mean_and_maximum(last: Tensor) -> Tensor:
    return torch.cat([last.mean((2, 3)), last.amax((2, 3))], dim=1)
