"""Model packages: a folder with ``model.toml``, ``model.safetensors`` and a card, ``README.md``.

Loading runs no code, and torch is imported only when the network itself is asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.settings import parse_toml
from nightsift.models.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from nightsift.models.networks import Network

WEIGHTS: Final = "model.safetensors"
DESCRIPTION: Final = "model.toml"
CARD: Final = "README.md"
METEOR: Final = "meteor"


def _with_meteor(classes: tuple[str, ...]) -> tuple[str, ...]:
    if METEOR not in classes or len(set(classes)) < len(classes) or len(classes) < 2:
        raise ValueError(f"expected two or more different classes, {METEOR!r} among them")
    return classes


Architecture = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
HeadName = Literal["mean-max", "average", "fastai", "galindo"]
Classes = Annotated[tuple[str, ...], AfterValidator(_with_meteor)]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    architecture: Architecture
    head: HeadName = "mean-max"
    classes: Classes
    threshold: Probability
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    recipe: Recipe


@dataclass(frozen=True)
class ModelPackage:
    """A trained network with all that is needed to apply it.

    ``threshold`` is the recommended least score of a detection, ``recipe`` the preprocessing. ``sha256``
    is the digest of the weights and of everything in ``model.toml``: two packages that could give
    different scores have different digests.
    """

    name: str
    architecture: Architecture
    classes: tuple[str, ...]
    threshold: float
    recipe: Recipe
    sha256: str
    folder: Path
    head: HeadName = "mean-max"

    @classmethod
    def load(cls, package: str, base: Path | None = None) -> Self:
        """Read and verify a package.

        Parameters
        ----------
        package
            Name of a packaged model (``default``), or a folder, relative to ``base``.
        base
            Folder of the file that names the package; the current folder by default.

        Raises
        ------
        ConfigurationError
            If there is no such package, or it is not what its digest says.
        """
        folder = _find(package, base or Path())
        source = str(folder / DESCRIPTION)
        described = parse_toml(_Description, _read(folder / DESCRIPTION).decode("utf-8", "replace"), source)
        meaning = _meaning(described.model_dump(mode="json", exclude={"sha256"}))
        digest = _digest(meaning, _read(folder / WEIGHTS))
        if digest != described.sha256:
            raise ConfigurationError(
                f"{folder} is not the model package that its digest names",
                expected=f"sha256 {described.sha256}, as {DESCRIPTION} says",
                found=f"sha256 {digest} of {WEIGHTS} and {DESCRIPTION}",
                mend="restore both files from where the package came from, or save the package anew",
            )
        values = {name: getattr(described, name) for name in _Description.model_fields}
        return cls(**values, folder=folder)

    def network(self) -> Network:
        """The network, ready for inference, with float32 weights.

        Raises
        ------
        ConfigurationError
            If the weights are no safetensors file, do not fit the architecture, are not finite, or are not
            those that were loaded: a worker may find another file than the one that was planned with.
        """
        from nightsift.models.networks import build

        found = ModelPackage.load(str(self.folder.absolute())).sha256
        if found != self.sha256:
            raise ConfigurationError(
                f"{self.folder} changed since the run was planned",
                expected=f"sha256 {self.sha256}",
                found=f"sha256 {found}",
                mend="run again: the new package makes the scores stale",
            )
        tensors = self._tensors()
        network = build(self.architecture, len(self.classes), self.head)
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise ConfigurationError(
                f"{self.folder / WEIGHTS} does not fit its architecture",
                expected=f"weights of {self.architecture} with {len(self.classes)} classes under {self.head}",
                found=str(error),
                mend=f"name the right architecture and classes in {DESCRIPTION} and save the package anew",
            ) from error
        return network.eval()

    def _tensors(self) -> dict[str, Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = self.folder / WEIGHTS
        try:
            tensors = load(_read(path))
        except SafetensorError as error:
            raise ConfigurationError(
                f"{path} is not a safetensors file",
                expected="weights in the safetensors format; pickled weights are never read",
                found=str(error),
                mend="convert the weights with safetensors.torch.save_file where they were made",
            ) from error
        _refuse_non_finite(tensors, str(path))
        return tensors


def save_package(
    folder: Path,
    network: Network,
    *,
    name: str,
    architecture: Architecture,
    classes: tuple[str, ...],
    threshold: float,
    recipe: Recipe,
    card: str,
    head: HeadName = "mean-max",
) -> ModelPackage:
    """Write a model package and read it back.

    Convolutions and linear layers are stored in half precision, all else as it is.

    Raises
    ------
    ConfigurationError
        If weights are not finite, or leave the range of half precision.
    """
    from safetensors.torch import save

    tensors = {
        key: (tensor.half() if tensor.ndim > 1 else tensor).contiguous().cpu()
        for key, tensor in network.state_dict().items()
    }
    _refuse_non_finite(tensors, f"the network {name!r}")
    weights = save(tensors)
    values = {
        "name": name,
        "architecture": architecture,
        "head": head,
        "classes": list(classes),
        "threshold": threshold,
        "recipe": recipe.model_dump(mode="json"),
    }
    meaning = _meaning(values)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(weights)
    described = {"sha256": _digest(meaning, weights), **meaning}
    (folder / DESCRIPTION).write_text(tomli_w.dumps(described), encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")
    return ModelPackage.load(str(folder.absolute()))


def packaged_names() -> list[str]:
    """Names of the models that come with Nightsift."""
    return sorted(path.name for path in _packages().iterdir() if (path / DESCRIPTION).is_file())


def _packages() -> Path:
    return Path(str(files("nightsift.models"))) / "packages"


def _find(package: str, base: Path) -> Path:
    if package in packaged_names():
        return _packages() / package
    folder = base / package
    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no model package {package!r}",
            expected=f"one of {', '.join(packaged_names()) or 'none'}, or a folder",
            found=f"no folder {folder}",
            mend="correct the name or the path",
        )
    return folder


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the model package {path.parent} has no readable {path.name}",
            expected=f"{DESCRIPTION}, {WEIGHTS} and {CARD}",
            found=str(error),
            mend="restore the file from where the package came from",
        ) from error


def _meaning(values: Mapping[str, Any]) -> dict[str, Any]:
    # Packages from before there was a choice of heads keep their digest.
    return {key: value for key, value in values.items() if (key, value) != ("head", "mean-max")}


def _digest(meaning: Mapping[str, Any], weights: bytes) -> str:
    canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    both = f"{hashlib.sha256(weights).hexdigest()}\n{canonical}"
    return hashlib.sha256(both.encode()).hexdigest()


def _refuse_non_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    bad = [key for key, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise ConfigurationError(
            f"{source} holds weights that are not finite",
            expected="finite numbers only",
            found=f"nan or infinity in {', '.join(bad)}",
            mend="train again with a lower learning rate, or restore the file",
        )
