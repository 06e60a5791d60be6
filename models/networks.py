"""Networks: ResNet bodies (He et al. 2016) under one linear head."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import ResNet, resnet18, resnet34

from nightsift.models.recipe import Recipe

_RESNETS: Final = {"resnet18": resnet18, "resnet34": resnet34}


class Body(nn.Module):
    """The convolutions of a ResNet; yields the maps after the first and after the last block."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.first = resnet.layer1
        self.rest = nn.Sequential(resnet.layer2, resnet.layer3, resnet.layer4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of shape (n, 64, size/4, size/4) and (n, 512, size/32, size/32)."""
        first = self.first(self.stem(images))
        return first, self.rest(first)


class Head(nn.Module):
    """Mean and maximum of each map, then one linear layer.

    The maximum keeps a trail that fills one cell of 49 from being averaged away. Since the layer is linear,
    the weights of Grad-CAM (Selvaraju et al. 2017) have a closed form, and no gradient is computed.
    """

    def __init__(self, channels: int, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * channels, classes)

    def forward(self, last: Tensor) -> Tensor:
        """Logits (n, classes) of maps (n, channels, height, width)."""
        pooled = torch.cat([last.mean((2, 3)), last.amax((2, 3))], dim=1)
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits

    def cells(self, last: Tensor) -> Tensor:
        """Logits (n, classes, height, width) of each cell, judged as a picture of its own."""
        of_mean, of_maximum = self.linear.weight.chunk(2, dim=1)
        logits = torch.einsum("nchw,kc->nkhw", last, of_mean + of_maximum)
        return logits + self.linear.bias[:, None, None]

    def grad_cam_weights(self, class_index: int, cells: int) -> Tensor:
        """Mean over a map of ``cells`` cells of the gradient of a class's logit, (channels,).

        Every cell passes 1/cells of the weight of its mean, and the maximum passes its weight once.
        """
        of_mean, of_maximum = self.linear.weight[class_index].chunk(2)
        return (of_mean + of_maximum) / cells


class Network(nn.Module):
    """A body and a head; called on images (n, 3, size, size) it gives logits (n, classes)."""

    def __init__(self, body: Body, head: Head) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (n, classes)."""
        logits: Tensor = self.head(self.body(images)[1])
        return logits


def build(architecture: str, classes: int) -> Network:
    """An untrained network: He initialisation.

    Parameters
    ----------
    architecture
        ``resnet18`` or ``resnet34``.
    classes
        Number of classes.
    """
    resnet = _RESNETS[architecture](weights=None)
    return Network(Body(resnet), Head(resnet.fc.in_features, classes))


def normalise(gray: Tensor, recipe: Recipe) -> Tensor:
    """Gray pictures (n, 1, h, w) in 0 to 1 as three equal channels, normalised, channels last."""
    mean, std = (torch.tensor(v, device=gray.device).view(1, 3, 1, 1) for v in (recipe.mean, recipe.std))
    return ((gray - mean) / std).contiguous(memory_format=torch.channels_last)


def fold_batch_norm(network: Network) -> Network:
    """A copy for inference in which each batch normalisation is folded into its convolution."""
    folded = copy.deepcopy(network).eval()
    for module in list(folded.modules()):
        names = [name for name, _ in module.named_children()]
        for first, second in pairwise(names):
            convolution, norm = getattr(module, first), getattr(module, second)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, fuse_conv_bn_eval(convolution, norm))
                setattr(module, second, nn.Identity())
    return folded
