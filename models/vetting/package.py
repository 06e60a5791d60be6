"""Packages of vetting models: the same three files as other packages, another recipe.

Loading runs no code, and torch is imported only when the network itself is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, field_validator

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.settings import read_toml, validate
from nightsift.models.description import (
    CARD,
    DESCRIPTION,
    WEIGHTS,
    Files,
    Name,
    Sha256,
    digest,
    read_file,
    refusal,
    verified,
    write_description,
)
from nightsift.models.sources import Source, packaged_names
from nightsift.models.vetting.stamps import StampRecipe
from nightsift.models.weights import read_weights, refuse_non_finite

if TYPE_CHECKING:
    from nightsift.models.vetting.network import StampsGru

ARCHITECTURE: Final = "stamps-gru"
KINDS: Final = ("meteor", "satellite", "aircraft", "other")
DEFAULT: Final = "vetting"


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    architecture: Literal["stamps-gru"]
    classes: tuple[str, ...]
    paired: bool
    sha256: Sha256
    files: Files
    recipe: StampRecipe

    @field_validator("classes")
    @classmethod
    def _kinds(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if classes != KINDS:
            raise ValueError(f"expected {', '.join(KINDS)}, in this order")
        return classes


@dataclass(frozen=True)
class VettingPackage:
    """A network that tells what a candidate is, with all that is needed to apply it.

    ``paired`` as in `nightsift.models.vetting.network.StampsGru`. ``sha256`` is the digest of the weights and
    of everything in ``model.toml``.
    """

    name: str
    architecture: str
    classes: tuple[str, ...]
    paired: bool
    recipe: StampRecipe
    sha256: str
    folder: Path

    @classmethod
    def load(cls, package: str = DEFAULT, base: Path | None = None) -> Self:
        """Read and verify a package.

        Parameters
        ----------
        package
            Name of a packaged model, or a folder relative to ``base``; each may end in ``#sha256=DIGEST``.
        base
            Folder of the file that names the package; the current folder by default.

        Raises
        ------
        ConfigurationError
            If there is no such package, it is of another kind, or it is not what its digests say.
        """
        source = Source.named(package, base or Path())
        if source.is_remote:
            raise ConfigurationError(
                f"the vetting package {source} is on a server",
                expected=f"{DEFAULT!r}, a folder, or false for none",
                mend="copy it to a folder and name that under [model] vetting",
            )
        folder = source.folder()
        described = _described(folder)
        source.refuse_other(described.sha256)
        verified(read_file(folder, WEIGHTS), described.files[WEIGHTS], str(folder / WEIGHTS))
        shown = (name for name in _Description.model_fields if name != "files")
        return cls(**{name: getattr(described, name) for name in shown}, folder=folder)

    def network(self) -> StampsGru:
        """The network, ready for inference, with float32 weights.

        Raises
        ------
        ConfigurationError
            If the weights do not fit, are not finite, or changed since the package was loaded.
        """
        from nightsift.models.vetting.network import StampsGru

        if VettingPackage.load(str(self.folder.absolute())).sha256 != self.sha256:
            raise ConfigurationError(
                f"{self.folder} changed since the run was planned",
                expected=f"sha256 {self.sha256}",
                mend="run again: the new package makes the scores stale",
            )
        network = StampsGru(len(self.classes), self.recipe.before, paired=self.paired)
        try:
            network.load_state_dict(read_weights(self.folder))
        except RuntimeError as error:
            raise ConfigurationError(
                f"{self.folder / WEIGHTS} does not fit its architecture",
                expected=f"the weights of {ARCHITECTURE} with {len(self.classes)} classes",
                found=str(error),
                mend=f"restore {WEIGHTS}, or save the package anew",
            ) from error
        return network.eval()


def is_vetting(package: str) -> bool:
    """Whether a packaged name or a folder is a vetting package; false of a URL, or where nothing is."""
    source = Source.named(package, Path())
    if source.is_remote or (not Path(source.place).is_dir() and source.place not in packaged_names()):
        return False
    path = source.folder() / DESCRIPTION
    return path.is_file() and f'architecture = "{ARCHITECTURE}"' in path.read_text(errors="replace")


def save_vetting_package(
    folder: Path, network: StampsGru, *, name: str, recipe: StampRecipe, card: str
) -> VettingPackage:
    """Write a vetting package, weights in half precision, and read it back.

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
    refuse_non_finite(tensors, f"the network {name!r}")
    meaning = {
        "name": name,
        "architecture": ARCHITECTURE,
        "classes": list(KINDS),
        "paired": network.paired,
        "recipe": recipe.model_dump(mode="json"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(save(tensors))
    (folder / CARD).write_text(card, encoding="utf-8")
    write_description(folder, meaning)
    return VettingPackage.load(str(folder.absolute()))


def _described(folder: Path) -> _Description:
    source = str(folder / DESCRIPTION)
    values = read_toml(read_file(folder, DESCRIPTION).decode("utf-8", "replace"), source)
    if (found := values.get("architecture")) != ARCHITECTURE:
        raise ConfigurationError(
            f"{folder} is not a vetting package",
            expected=f"architecture {ARCHITECTURE!r}",
            found=repr(found),
            mend="name it under [model] package, or another under [model] vetting",
        )
    described = validate(_Description, values, source)
    if described.sha256 != (found := digest(values)):
        raise refusal(source, described.sha256, found)
    return described
