"""Weights of other programs into model packages, and networks of packages into ONNX."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from nightsift.archive.errors import ConfigurationError
from nightsift.archive.settings import validate
from nightsift.models.classify import Classifier
from nightsift.models.networks import Network, build, fold_batch_norm, normalise
from nightsift.models.package import (
    Architecture,
    Classes,
    HeadName,
    ModelPackage,
    Probability,
    save_package,
)
from nightsift.models.recipe import FullSize, Recipe
from nightsift.models.streaks import StreakNetwork, StreakReader
from nightsift.models.verify import draw_differences

ONNX_TOLERANCE: Final = 1e-3
"""By how much a score of the exported network may differ from the classifier's."""

_OPSET: Final = 18
_BODY: Final = ("stem.0.", "stem.1.", "first.", "rest.0.", "rest.1.", "rest.2.")
_TORCHVISION: Final = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")
_FASTAI: Final = ("0.0.", "0.1.", "0.4.", "0.5.", "0.6.", "0.7.")
_FASTAI_HEAD: Final = {"1.2.": "layers.0.", "1.4.": "layers.2.", "1.6.": "layers.4.", "1.8.": "layers.6."}
# In the head's own names: what reads the pooled maps.
_POOLED: Final = ("weight", "bias", "running_mean", "running_var")

State = Mapping[str, Tensor]


class Imported(BaseModel):
    """What weights do not say of themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    architecture: Architecture
    classes: Classes
    threshold: Probability = 0.85
    recipe: Recipe


def import_weights(path: Path, output: Path, settings: Mapping[str, Any]) -> ModelPackage:
    """Make a package of the weights of a torchvision ResNet or of a fastai learner's model.

    Parameters
    ----------
    path
        A state dict that torch.save wrote, plain or under ``model`` or ``state_dict``, or safetensors.
    output
        Folder of the package.
    settings
        As `Imported` takes them; the classes in the order of the network's outputs.

    Raises
    ------
    ConfigurationError
        If the file holds anything but tensors (nothing of it is run), or they do not fit the settings.
    """
    wanted = validate(Imported, settings, "what the weights are imported as")
    head, state = renamed(read_state(path), str(path))
    network = build(wanted.architecture, len(wanted.classes), head)
    counts = {
        name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")
    }
    try:
        network.load_state_dict({**counts, **state})
    except RuntimeError as error:
        raise ConfigurationError(
            f"{path} does not fit",
            expected=f"weights of {wanted.architecture} with {len(wanted.classes)} classes under {head}",
            found=str(error),
            mend="name the architecture and all classes that the network was trained with",
        ) from error
    values = {name: getattr(wanted, name) for name in Imported.model_fields}
    return save_package(output, network.eval(), **values, head=head, card=_card(path, wanted, head))


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file, by name; nothing of the file is run.

    Raises
    ------
    ConfigurationError
        If it holds anything else.
    """
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read", found=str(error), mend="name another file"
        ) from error
    except SafetensorError:
        return _read_saved(path)


def _read_saved(path: Path) -> dict[str, Tensor]:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise whatever their bytes lead to
        raise _no_state(path, f"{type(error).__name__}: {error}".splitlines()[0]) from error
    for name in ("model", "state_dict"):
        if isinstance(held, dict) and isinstance(held.get(name), dict):
            held = held[name]
    if not isinstance(held, dict):
        raise _no_state(path, f"a {type(held).__name__}")
    other = [str(name) for name, value in held.items() if not isinstance(value, Tensor)]
    if other or not held:
        raise _no_state(path, f"no tensor under {', '.join(other[:5]) or 'any name'}")
    return {str(name): value for name, value in held.items()}


def _no_state(path: Path, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is no plain state dict; nothing in it was run",
        expected="tensors by name, as torch.save(model.state_dict(), …) or safetensors write them",
        found=found,
        mend="save the state dict of the model alone where it was made: of a fastai learner `learn.model`",
    )


def renamed(state: State, source: str) -> tuple[HeadName, dict[str, Tensor]]:
    """The head that foreign weights have, and the weights by our names, as float32.

    Raises
    ------
    ConfigurationError
        If the names are neither torchvision's nor fastai's.
    """
    if "fc.weight" in state:
        return "average", _with_prefixes(
            state, dict(zip(_TORCHVISION, _BODY, strict=True)), {"fc.": "linear."}
        )
    if "0.0.weight" in state and "1.8.weight" in state:
        named = _with_prefixes(state, dict(zip(_FASTAI, _BODY, strict=True)), _FASTAI_HEAD)
        return "fastai", _mean_first(named)
    raise ConfigurationError(
        f"{source} holds the weights of an unknown model",
        expected="a ResNet of torchvision (conv1.weight … fc.bias) or of fastai 2 (0.0.weight … 1.8.weight)",
        found=", ".join(sorted(state)[:5]) + " …",
        mend="give its weights these names",
    )


def _with_prefixes(state: State, body: Mapping[str, str], head: Mapping[str, str]) -> dict[str, Tensor]:
    prefixes = {old: f"body.{new}" for old, new in body.items()}
    prefixes |= {old: f"head.{new}" for old, new in head.items()}
    found = {}
    for name, tensor in state.items():
        old = next((old for old in prefixes if name.startswith(old)), "")
        value = tensor.float() if tensor.is_floating_point() else tensor
        found[prefixes.get(old, "") + name.removeprefix(old)] = value
    return found


def _mean_first(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Fastai's AdaptiveConcatPool2d puts the maxima before the means; our head has them after."""
    pooled = [f"head.layers.0.{name}" for name in _POOLED]
    swapped = {name: torch.cat(state[name].chunk(2)[::-1]) for name in pooled if name in state}
    linear = "head.layers.2.weight"
    swapped[linear] = torch.cat(state[linear].chunk(2, dim=1)[::-1], dim=1)
    return {**state, **swapped}


def _card(path: Path, settings: Imported, head: HeadName) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    classes = ", ".join(f"`{name}`" for name in settings.classes)
    return f"""# {settings.name}

{settings.architecture} under the head `{head}`, classes {classes}.

Imported from `{path.name}` (SHA-256 {digest}), in half precision.

## Measured

Nothing yet: `nightsift model evaluate` measures it.
"""


@dataclass(frozen=True)
class Exported:
    """What an export was found to give: the largest deviation of a score on ``inputs`` pictures."""

    path: Path
    inputs: int
    deviation: float
    tolerance: float
    opset: int


class _Standalone(nn.Module):
    """A network with its normalisation before it and its softmax behind it."""

    def __init__(self, network: Network, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(normalise(images.float() / 255, self.recipe))
        return logits.softmax(1)


def export_onnx(package: ModelPackage, path: Path) -> Exported:
    """Write a package's network as ONNX and compare it with the classifier.

    Its input ``images`` is uint8, (n, 1, size, size): what the recipe makes of differences. Its output
    ``scores`` is float32, (n, classes), each row of sum one. The resizing stays outside: OpenCV's
    INTER_AREA has no counterpart in ONNX.

    Of a package that reads differences at full size the inputs are ``images``, float32 (1, 1, H, W), and
    ``rises``, float32 (1, 1, H / 16, W / 16), as `nightsift.models.streaks.read` makes them, and ``scores``
    are those of cells, (1, classes, H / 32, W / 32).

    Raises
    ------
    ConfigurationError
        If ONNX is not installed, or ONNX Runtime gives other scores than the classifier.
    """
    _require_onnx()
    if isinstance(package.recipe, FullSize):
        deviation, count = _export_streaks(package, path)
    else:
        deviation, count = _export_pictures(package, package.recipe, path)
    if not deviation <= ONNX_TOLERANCE:
        path.unlink()
        raise ConfigurationError(
            f"{path} gave other scores than the package that it was made of, and was removed",
            expected=f"scores within {ONNX_TOLERANCE:g}",
            found=f"a deviation of {deviation:.2g}",
            mend="try other versions of torch, onnx and onnxruntime",
        )
    return Exported(path, count, deviation, ONNX_TOLERANCE, _OPSET)


def _export_pictures(package: ModelPackage, recipe: Recipe, path: Path) -> tuple[float, int]:
    """Largest deviation, and of how many."""
    network = _Standalone(fold_batch_norm(package.network()), recipe).eval()
    example = torch.zeros(2, 1, recipe.size_px, recipe.size_px, dtype=torch.uint8)
    _write_onnx(network, path, {"images": example}, {"images": {0: torch.export.Dim("n")}})
    images = np.stack([recipe.resize(risen) for risen in draw_differences()])
    expected = Classifier(package, "cpu").classify_inputs(images)[:, : len(package.classes)]
    return float(np.abs(_run_onnx(path, {"images": images[:, None]}) - expected).max()), len(images)


def _export_streaks(package: ModelPackage, path: Path) -> tuple[float, int]:
    reader = StreakReader(package, torch.device("cpu"))
    example = {"images": torch.zeros(1, 1, 128, 192), "rises": torch.zeros(1, 1, 8, 12)}
    rows, columns = torch.export.Dim("rows"), torch.export.Dim("columns")
    sizes = {name: {2: side * rows, 3: side * columns} for name, side in (("images", 32), ("rises", 2))}
    _write_onnx(_CellScores(fold_batch_norm(package.streaks())).eval(), path, example, sizes)
    differences = draw_differences()
    return max(_deviation(reader, path, risen) for risen in differences), len(differences)


def _deviation(reader: StreakReader, path: Path, risen: NDArray[np.bool_]) -> float:
    image, rises = reader.inputs(risen, None)
    found = _run_onnx(path, {"images": image[None, None], "rises": rises[None, None]})[0]
    return float(np.abs(found - reader.cells(risen, None)).max())


class _CellScores(nn.Module):
    """A network for differences at full size with its softmax behind it."""

    def __init__(self, network: StreakNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, rises: Tensor) -> Tensor:
        logits: Tensor = self.network(images, rises)
        return logits.softmax(1)


def _write_onnx(
    network: nn.Module, path: Path, example: Mapping[str, Tensor], sizes: Mapping[str, Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter warns of torch's own code
        torch.onnx.export(
            network,
            tuple(example.values()),
            path,
            input_names=list(example),
            output_names=["scores"],
            dynamic_shapes=dict(sizes),
            opset_version=_OPSET,
            external_data=False,
            verbose=False,
        )


def _run_onnx(path: Path, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], dict(inputs))
    return np.asarray(scores, np.float32)


def _require_onnx() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            "an export to ONNX needs packages that are not installed",
            expected="onnx, onnxscript and onnxruntime",
            found=f"no {', '.join(missing)}",
            mend="pip install 'nightsift[onnx]'",
        )
