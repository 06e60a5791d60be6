"""Where in the picture the network saw a meteor: Grad-CAM and first-block activations, in batches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

from nightsift.models.heads import Head, LinearHead


def heat_map(head: Head, last: Tensor, class_index: int) -> Tensor:
    """Heat map of a class, from the maps that the body already gave: the body is never run twice.

    The weights are the closed form of a linear head; of another head, the gradient through that head alone.
    Both work in inference mode.

    Parameters
    ----------
    head
        What stands on the body, in evaluation mode.
    last
        Maps of the last convolution, (n, channels, height, width).
    class_index
        The class whose logit is explained.

    Returns
    -------
    torch.Tensor
        (n, height, width), zero where the maps speak against the class.
    """
    if isinstance(head, LinearHead):
        return grad_cam(last, head.grad_cam_weights(class_index, last[0, 0].numel()))
    with torch.inference_mode(False), torch.enable_grad():
        maps = last.detach().clone().requires_grad_()
        # Pictures do not speak to each other in evaluation mode: the sum gives each its own gradient.
        (gradient,) = torch.autograd.grad(head(maps)[:, class_index].sum(), maps)
    return grad_cam(last, gradient.mean((2, 3)))


def grad_cam(last: Tensor, weights: Tensor) -> Tensor:
    """Heat map of Grad-CAM (Selvaraju et al. 2017, equation 2).

    Parameters
    ----------
    last
        Maps of the last convolution, (n, channels, height, width).
    weights
        Mean gradient of the class's logit with respect to each map, (channels,) or (n, channels).

    Returns
    -------
    torch.Tensor
        (n, height, width), zero where the maps speak against the class.
    """
    return relu(torch.einsum("nchw,nc->nhw", last, weights.expand(len(last), -1)))


def strongest(heat: Tensor) -> Tensor:
    """The heat map with nothing left but its strongest cell, (n, height, width)."""
    return heat * (heat == heat.amax((1, 2), keepdim=True))


def peak_position(first: Tensor, heat: Tensor) -> tuple[Tensor, Tensor]:
    """Mean position of the cells of greatest first-block activation where the heat map is not zero.

    Peña-Asensio et al. 2023, §3.2.

    Parameters
    ----------
    first
        Maps after the first block, (n, channels, H, W).
    heat
        Heat map, (n, h, w), with H and W multiples of h and w.

    Returns
    -------
    tuple of torch.Tensor
        x and y, (n,), as fractions of the picture's width and height; nan where the heat map is all zero.
    """
    activation = first.mean(1)
    kept = _enlarge(heat > 0, activation.shape[1:])
    activation = activation.masked_fill(~kept, -torch.inf)
    greatest = kept & (activation == activation.amax((1, 2), keepdim=True))
    return _mean_position(greatest)


def bounding_box(kept: Tensor) -> Tensor:
    """x0, y0, x1, y1 of the True cells, (n, 4), as fractions of the picture; nan where none is True."""
    edges = [edge for axis in (1, 2) for edge in _extent(kept.any(axis))]
    box = torch.stack(edges, dim=1)
    return torch.where(kept.any(2).any(1)[:, None], box, torch.nan)[:, [0, 2, 1, 3]]


def _extent(any_along: Tensor) -> tuple[Tensor, Tensor]:
    size = any_along.shape[1]
    cells = torch.arange(size, device=any_along.device)
    low = torch.where(any_along, cells, size).amin(1)
    high = torch.where(any_along, cells, -1).amax(1) + 1
    return low / size, high / size


def _enlarge(mask: Tensor, shape: torch.Size) -> Tensor:
    rows, columns = shape[0] // mask.shape[1], shape[1] // mask.shape[2]
    return mask.repeat_interleave(rows, dim=1).repeat_interleave(columns, dim=2)


def _mean_position(mask: Tensor) -> tuple[Tensor, Tensor]:
    height, width = mask.shape[1:]
    count = mask.sum((1, 2))
    x = (torch.arange(width, device=mask.device) + 0.5) / width
    y = (torch.arange(height, device=mask.device) + 0.5) / height
    return (mask.sum(1) * x).sum(1) / count, (mask.sum(2) * y).sum(1) / count
