"""``model.toml``: what a model package holds, with the digest of each of its files and of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.settings import read_toml, validate
from nightsift.models.recipe import FullSize, Recipe

WEIGHTS: Final = "model.safetensors"
CHECK: Final = "check.safetensors"
DESCRIPTION: Final = "model.toml"
CARD: Final = "README.md"
METEOR: Final = "meteor"
SEALED: Final = ("sha256", "files", "check")
"""What `nightsift.models.verify.seal` writes into a description, from all else."""


def _with_meteor(classes: tuple[str, ...]) -> tuple[str, ...]:
    if METEOR not in classes or len(set(classes)) < len(classes) or len(classes) < 2:
        raise ValueError(f"expected two or more different classes, {METEOR!r} among them")
    return classes


def _with_weights(files: Mapping[str, str]) -> Mapping[str, str]:
    if WEIGHTS not in files:
        raise ValueError(f"expected the digest of {WEIGHTS}")
    return files


Architecture = Literal["resnet18", "resnet34", "resnet50", "resnet101", "streaks"]
HeadName = Literal["mean-max", "average", "fastai", "galindo"]
Classes = Annotated[tuple[str, ...], AfterValidator(_with_meteor)]
Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Files = Annotated[
    Mapping[Literal["model.safetensors", "check.safetensors"], Sha256], AfterValidator(_with_weights)
]


class Check(BaseModel):
    """What ``check.safetensors`` was made with, and by how much scores may differ from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance: Annotated[float, Field(gt=0, lt=1)]
    classes: tuple[str, ...]
    versions: Mapping[str, str]


class Description(BaseModel):
    """A ``model.toml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    name: Name
    architecture: Architecture
    head: HeadName = "mean-max"
    classes: Classes
    threshold: Probability
    files: Files
    recipe: Recipe | FullSize
    check: Check | None = None

    @model_validator(mode="after")
    def _one_way_of_reading(self) -> Self:
        if (self.architecture == "streaks") != isinstance(self.recipe, FullSize):
            raise ValueError('architecture "streaks" goes with a recipe of kind "full-size", others do not')
        return self


def parse_description(data: bytes, source: str) -> Description:
    """Parse a ``model.toml`` that is what its own digest says.

    Raises
    ------
    ConfigurationError
        If it is not, or has faults; all are named.
    """
    values = read_toml(data.decode("utf-8", "replace"), source)
    if "files" not in values:
        raise ConfigurationError(
            f"{source} is not sealed: it names the digest of no file",
            expected=f"a table [files] with the SHA-256 of {WEIGHTS}",
            mend="run `nightsift model seal FOLDER`, if its scores are known to be right",
        )
    described = validate(Description, values, source)
    if described.sha256 != (found := digest(values)):
        raise refusal(source, described.sha256, found)
    if described.check and described.check.classes != described.classes:
        raise ConfigurationError(
            f"{source} names the classes in another order than its check was made with",
            expected=", ".join(described.check.classes),
            found=", ".join(described.classes),
            mend="restore the order in which the network gives its scores",
        )
    return described


def write_description(folder: Path, meaning: Mapping[str, Any]) -> None:
    """Write ``model.toml`` for the files that are in ``folder``; ``meaning`` is all but their digests."""
    present = [name for name in (WEIGHTS, CHECK) if (folder / name).exists()]
    files = {name: hashlib.sha256(read_file(folder, name)).hexdigest() for name in present}
    values = {**meaning, "files": files}
    described = {"sha256": digest(values), **values}
    (folder / DESCRIPTION).write_text(tomli_w.dumps(described), encoding="utf-8")


def read_file(folder: Path, name: str) -> bytes:
    """The bytes of one file of a package."""
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise missing_file(str(folder), name, str(error)) from error


def verified(data: bytes, expected: str, source: str) -> bytes:
    """The same bytes, if they have the digest that ``model.toml`` names."""
    if (found := hashlib.sha256(data).hexdigest()) != expected:
        raise refusal(source, expected, found)
    return data


def missing_file(package: str, name: str, found: str) -> ConfigurationError:
    """What to tell of a package that lacks one of its files."""
    return ConfigurationError(
        f"the model package {package} has no readable {name}",
        expected=f"{DESCRIPTION}, {CARD} and the files that {DESCRIPTION} names",
        found=found,
        mend="restore the file from where the package came from",
    )


def refusal(source: str, expected: str, found: str) -> ConfigurationError:
    """What to tell of a file that is not what a digest says."""
    return ConfigurationError(
        f"{source} changed: it is not what its digest says",
        expected=f"sha256 {expected}",
        found=f"sha256 {found}",
        mend="restore the package from where it came from, or remove its folder if it is a cached one; "
        "after a change of your own, `nightsift model seal FOLDER`",
    )


def digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of the values of a ``model.toml``, its own digest left out, as sorted JSON."""
    meaning = {name: value for name, value in values.items() if name != "sha256"}
    canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
