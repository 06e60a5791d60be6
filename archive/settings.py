"""TOML files checked against a pydantic model, with every fault reported at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from nightsift.archive.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)


def parse_toml(model: type[Model], text: str, source: str) -> Model:
    """Check the text of a TOML file against ``model``.

    Raises
    ------
    ConfigurationError
        Naming every fault: unknown keys with the nearest known one, missing keys, values out of range.
    """
    return validate(model, read_toml(text, source), source)


def read_toml(text: str, source: str) -> dict[str, Any]:
    """The values of a TOML file, not checked yet; ``source`` names it in errors."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{source} is not TOML", found=str(error), mend="correct the line named above"
        ) from error


def validate(model: type[Model], values: Mapping[str, Any], source: str) -> Model:
    """Check parsed values against ``model``; ``source`` names the file in errors."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [_describe(model, fault) for fault in error.errors()]
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigurationError(
            f"{source} has {count}:\n" + "\n".join(f"  - {fault}" for fault in faults),
            mend=f"edit {source}",
        ) from None


def _describe(model: type[BaseModel], fault: Any) -> str:
    path, _ = _follow(model, fault["loc"])
    where = _dotted(path)
    if fault["type"] == "extra_forbidden":
        _, models = _follow(model, fault["loc"][:-1])
        known = [each.alias or name for found in models for name, each in found.model_fields.items()]
        near = get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"unknown key {where}: {hint}"
    if fault["type"] == "missing":
        return f"missing key {where}"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}, found {fault['input']!r}"


def _dotted(location: tuple[str | int, ...]) -> str:
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return parts.removeprefix(".")


def _follow(
    model: type[BaseModel], location: tuple[str | int, ...]
) -> tuple[tuple[str | int, ...], list[type[BaseModel]]]:
    """The keys of a place as the file has them, and the models that it could be read as.

    Of a choice of models pydantic's location holds the tag too, which stands in no file.
    """
    path: list[str | int] = []
    models = [model]
    for part in location:
        tagged = [found for found in models if part in _tags(found)]
        if len(models) > 1 and tagged:
            models = tagged
            continue
        path.append(part)
        if not isinstance(part, int):
            fields = [found.model_fields[part] for found in models if part in found.model_fields]
            models = [inner for each in fields for inner in _models_inside(each.annotation)]
    return tuple(path), models


def _tags(model: type[BaseModel]) -> set[Any]:
    return {value for each in model.model_fields.values() for value in get_args(each.annotation)}


def _models_inside(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_inside(argument)]
