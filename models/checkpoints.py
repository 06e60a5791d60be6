"""Checkpoints of a training: one safetensors file each, whose header holds the rest as JSON; no pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nightsift.archive.errors import ConfigurationError

_HEADER: Final = "nightsift"


@dataclass
class Position:
    """How far a training has come.

    Attributes
    ----------
    stage, step
        Place of the stage at hand, and its steps that are done.
    rows
        Rows of the history.
    best
        Best average precision on validation so far.
    stale_rounds
        Validations of the stage since the best one.
    rates
        Learning rate of each stage that has begun.
    seconds
        Time spent.
    """

    stage: int = 0
    step: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: float = -1.0
    stale_rounds: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    """A position, the weights at hand, the best weights, and the state of optimiser and schedule."""

    position: Position
    network: dict[str, Tensor]
    best: dict[str, Tensor]
    moments: dict[str, Tensor]
    optimizer: dict[str, Any]

    @classmethod
    def of(
        cls,
        position: Position,
        network: torch.nn.Module,
        best: Mapping[str, Tensor],
        optimizer: Optimizer,
        schedule: LRScheduler,
    ) -> Checkpoint:
        """What is at hand now."""
        state = optimizer.state_dict()
        moments = {
            f"{index}.{name}": value
            for index, values in state["state"].items()
            for name, value in values.items()
        }
        said = {"groups": state["param_groups"], "schedule": schedule.state_dict()}
        return cls(position, network.state_dict(), dict(best), moments, said)

    def save(self, path: Path, meaning: Mapping[str, Any]) -> None:
        """Write the file, there whole or not at all.

        Parameters
        ----------
        path
            The file.
        meaning
            What must be the same where the training goes on.
        """
        tensors = {f"{part}/{key}": value for part in _PARTS for key, value in getattr(self, part).items()}
        plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        said = {"meaning": meaning, "position": asdict(self.position), "optimizer": self.optimizer}
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        save_file(plain, part, {_HEADER: json.dumps(said)})
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path, meaning: Mapping[str, Any]) -> Checkpoint:
        """Read what `save` wrote.

        Raises
        ------
        ConfigurationError
            If it is no checkpoint, or that of another configuration or of other samples.
        """
        try:
            with safe_open(path, "pt") as file:
                said = json.loads((file.metadata() or {})[_HEADER])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
        except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
            raise ConfigurationError(
                f"{path} is not a checkpoint", found=str(error), mend="delete it and train from the start"
            ) from error
        _refuse_other(path, said["meaning"], json.loads(json.dumps(meaning)))
        parts = {
            part: {k.removeprefix(f"{part}/"): v for k, v in tensors.items() if k.startswith(f"{part}/")}
            for part in _PARTS
        }
        return cls(Position(**said["position"]), **parts, optimizer=said["optimizer"])

    def restore(self, optimizer: Optimizer, schedule: LRScheduler) -> None:
        """Put optimiser and schedule where they were; the optimiser has to hold the same parameters."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in self.moments.items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": self.optimizer["groups"]})
        # As they were made: elementwise sums run in the order of memory.
        for parameter, values in optimizer.state.items():
            for name, value in values.items():
                if value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter).copy_(value).detach()
        schedule.load_state_dict(self.optimizer["schedule"])


_PARTS: Final = ("network", "best", "moments")


def _refuse_other(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    flat_found, flat_expected = _flat(found), _flat(expected)
    changed = [
        key for key in sorted({*flat_found, *flat_expected}) if flat_found.get(key) != flat_expected.get(key)
    ]
    if changed:
        raise ConfigurationError(
            f"{path} is the checkpoint of another training",
            expected=", ".join(f"{key} = {flat_expected.get(key)!r}" for key in changed),
            found=", ".join(f"{key} = {flat_found.get(key)!r}" for key in changed),
            mend="restore the TRAIN file and the samples, or train into another --output",
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
