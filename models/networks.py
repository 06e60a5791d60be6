"""Networks: ResNet bodies (He et al. 2016) under one of several heads."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import ResNet, resnet18, resnet34, resnet50, resnet101

from nightsift.models.heads import HEADS, Head
from nightsift.models.recipe import Recipe

_RESNETS: Final = {"resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50, "resnet101": resnet101}

Module = TypeVar("Module", bound=nn.Module)


class Body(nn.Module):
    """The convolutions of a ResNet; yields the maps after the first and after the last block."""

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.first = resnet.layer1
        self.rest = nn.Sequential(resnet.layer2, resnet.layer3, resnet.layer4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of shape (n, c, size/4, size/4) and (n, 8 c, size/32, size/32).

        c is 64; 256 of ``resnet50`` and ``resnet101``.
        """
        first = self.first(self.stem(images))
        return first, self.rest(first)


class Network(nn.Module):
    """A body and a head; called on images (n, 3, size, size) it gives logits (n, classes)."""

    def __init__(self, body: Body, head: Head) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (n, classes)."""
        logits: Tensor = self.head(self.body(images)[1])
        return logits


def build(architecture: str, classes: int, head: str = "mean-max") -> Network:
    """An untrained network: He initialisation.

    Parameters
    ----------
    architecture
        ``resnet18``, ``resnet34``, ``resnet50`` or ``resnet101``.
    classes
        Number of classes.
    head
        A name of `heads.HEADS`.
    """
    return on_body(untrained(architecture), classes, head)


def untrained(architecture: str) -> ResNet:
    """A ResNet of torchvision, before training."""
    return _RESNETS[architecture](weights=None)


def on_body(resnet: ResNet, classes: int, head: str) -> Network:
    """The body of torchvision's ResNet under a new head."""
    return Network(Body(resnet), HEADS[head](resnet.fc.in_features, classes))


def normalise(gray: Tensor, recipe: Recipe) -> Tensor:
    """Gray pictures (n, 1, h, w) in 0 to 1 as three equal channels, normalised, channels last."""
    mean, std = (torch.tensor(v, device=gray.device).view(1, 3, 1, 1) for v in (recipe.mean, recipe.std))
    return ((gray - mean) / std).contiguous(memory_format=torch.channels_last)


def fold_batch_norm(network: Module) -> Module:
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
