"""Optimisers and the course of the learning rate over a stage."""

from __future__ import annotations

from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingWarmRestarts,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
)

from nightsift.models.networks import Network
from nightsift.models.settings import StageConfig, TrainingConfig


def optimizer(network: Network, stage: StageConfig, settings: TrainingConfig, rate: float) -> Optimizer:
    """An optimiser of what is not frozen; the first layers, the last and the head have rates of their own."""
    body = network.body
    share = stage.first_layers_rate
    layers = (
        ([body.stem, body.first, body.rest[0]], share),
        ([body.rest[1], body.rest[2]], share**0.5),
        ([network.head], 1.0),
    )
    groups = [
        {
            "params": [p for layer in group for p in layer.parameters() if p.requires_grad],
            "lr": rate * of_rate,
        }
        for group, of_rate in layers
    ]
    kind: type[Adam] | type[AdamW] = {"adamw": AdamW, "adam": Adam}[settings.optimizer]
    return kind([group for group in groups if group["params"]], rate, weight_decay=settings.weight_decay)


def schedule(of: Optimizer, stage: StageConfig, epoch_steps: int) -> LRScheduler:
    """The course of the rates of an optimiser over the stage."""
    total = max(stage.total(epoch_steps), 1)
    if stage.schedule == "one-cycle":
        return OneCycleLR(of, [group["lr"] for group in of.param_groups], total, pct_start=stage.warm_up)
    if stage.schedule == "cosine-restarts":
        first = stage.length(stage.first_cycle, epoch_steps)
        return CosineAnnealingWarmRestarts(of, first, stage.cycle_growth)
    return LambdaLR(of, lambda step: 1.0)
