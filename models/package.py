"""Model packages: a folder with ``model.toml``, ``model.safetensors`` and a card, ``README.md``.

Loading runs no code, and torch is imported only when the network itself is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from nightsift.archive.errors import ConfigurationError
from nightsift.models.description import (
    CARD,
    DESCRIPTION,
    METEOR,
    WEIGHTS,
    Architecture,
    Check,
    Classes,
    Description,
    HeadName,
    Probability,
    parse_description,
    read_file,
    verified,
)
from nightsift.models.recipe import FullSize, Recipe
from nightsift.models.sources import Source, packaged_names
from nightsift.models.weights import read_weights, refuse_non_finite

if TYPE_CHECKING:
    from torch import nn

    from nightsift.models.networks import Network
    from nightsift.models.streaks import StreakNetwork

    Module = TypeVar("Module", bound=nn.Module)

__all__ = [
    "CARD",
    "METEOR",
    "Architecture",
    "Classes",
    "HeadName",
    "ModelPackage",
    "Probability",
    "packaged_names",
    "save_package",
]

_SHOWN = tuple(name for name in Description.model_fields if name != "files")


@dataclass(frozen=True)
class ModelPackage:
    """A trained network with all that is needed to apply it.

    ``threshold`` is the recommended least score of a detection, ``recipe`` the preprocessing. ``sha256``
    is the digest of ``model.toml``, which names those of the other files: two packages that could give
    different scores have different digests. A package that is sent to another machine is found there by
    its ``source``; ``folder`` holds it on this one.
    """

    name: str
    architecture: Architecture
    head: HeadName
    classes: tuple[str, ...]
    threshold: float
    recipe: Recipe | FullSize
    sha256: str
    check: Check | None = field(hash=False)
    source: Source
    folder: Path

    @classmethod
    def load(cls, package: str, base: Path | None = None, options: Mapping[str, Any] | None = None) -> Self:
        """Read and verify a package.

        Parameters
        ----------
        package
            Name of a packaged model (``default``), a folder relative to ``base``, or ``https://…`` or
            ``s3://bucket/prefix``; each may end in ``#sha256=DIGEST``.
        base
            Folder of the file that names the package; the current folder by default.
        options
            ``endpoint_url`` and so on of the store of a URL; by default the environment's.

        Raises
        ------
        ConfigurationError
            If there is no such package, or it is not what its digest says.
        StorageError
            If its server cannot be reached.
        """
        return cls._of(Source.named(package, base or Path(), tuple((options or {}).items())))

    @classmethod
    def _of(cls, source: Source) -> Self:
        folder = source.folder()
        described = parse_description(read_file(folder, DESCRIPTION), str(folder / DESCRIPTION))
        source.refuse_other(described.sha256)
        for name, digest in described.files.items():
            verified(read_file(folder, name), digest, str(folder / name))
        values = {name: getattr(described, name) for name in _SHOWN}
        if source.is_remote:
            source = replace(source, sha256=described.sha256)
        return cls(**values, source=source, folder=folder)

    def network(self) -> Network:
        """The network, ready for inference, with float32 weights.

        Raises
        ------
        ConfigurationError
            If the weights are no safetensors file, do not fit the architecture, are not finite, or are not
            those that were loaded: a worker may find another file than the one that was planned with.
        """
        from nightsift.models.networks import build

        if self.architecture == "streaks":
            raise TypeError(f"{self.name} reads differences at full size: use `streaks`")
        return self._filled(build(self.architecture, len(self.classes), self.head))

    def streaks(self) -> StreakNetwork:
        """The network of a package that reads differences at full size; else as `network`."""
        from nightsift.models.streaks import StreakNetwork

        return self._filled(StreakNetwork(len(self.classes)))

    def _filled(self, network: Module) -> Module:
        found = self._of(self.source)
        if found.sha256 != self.sha256:
            raise ConfigurationError(
                f"{self.source} changed since the run was planned",
                expected=f"sha256 {self.sha256}",
                found=f"sha256 {found.sha256}",
                mend="run again: the new package makes the scores stale",
            )
        try:
            network.load_state_dict(read_weights(found.folder))
        except RuntimeError as error:
            raise ConfigurationError(
                f"{self.folder / WEIGHTS} does not fit its architecture",
                expected=f"weights of {self.architecture} with {len(self.classes)} classes under {self.head}",
                found=str(error),
                mend=f"name the right architecture and classes in {DESCRIPTION} and save the package anew",
            ) from error
        return network.eval()


def save_package(
    folder: Path,
    network: nn.Module,
    *,
    name: str,
    architecture: Architecture,
    classes: tuple[str, ...],
    threshold: float,
    recipe: Recipe | FullSize,
    card: str,
    head: HeadName = "mean-max",
) -> ModelPackage:
    """Write a model package and read it back.

    Convolutions and linear layers are stored in half precision, all else as it is. The package gets the
    check that `nightsift.models.verify.verify` replays.

    Raises
    ------
    ConfigurationError
        If weights are not finite, or leave the range of half precision.
    """
    from safetensors.torch import save

    from nightsift.models.verify import seal

    tensors = {
        key: (tensor.half() if tensor.ndim > 1 else tensor).contiguous().cpu()
        for key, tensor in network.state_dict().items()
    }
    refuse_non_finite(tensors, f"the network {name!r}")
    meaning = {
        "name": name,
        "architecture": architecture,
        "head": head,
        "classes": list(classes),
        "threshold": threshold,
        "recipe": recipe.model_dump(mode="json"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(save(tensors))
    (folder / CARD).write_text(card, encoding="utf-8")
    return seal(folder, meaning)
