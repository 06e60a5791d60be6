"""First weights of a body: ImageNet, Fashion-MNIST, or another package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final
from urllib.error import URLError

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.datasets import FashionMNIST
from torchvision.models import (
    ResNet18_Weights,
    ResNet34_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
)

from nightsift.archive.errors import ConfigurationError
from nightsift.models.batches import Batch, drawn
from nightsift.models.fitting import Fitting, Progress, Stage
from nightsift.models.networks import Body, build, untrained
from nightsift.models.package import ModelPackage
from nightsift.models.recipe import Recipe
from nightsift.models.schedules import optimizer, schedule
from nightsift.models.settings import PretrainingConfig, TrainingConfig

Weights = dict[str, Tensor]

# Those of the papers' time: torchvision's second version came later.
_IMAGENET: Final = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
    "resnet101": ResNet101_Weights.IMAGENET1K_V1,
}


def first_weights(
    config: PretrainingConfig,
    architecture: str,
    settings: TrainingConfig,
    recipe: Recipe,
    cache: Path,
    progress: Progress,
    device: torch.device,
) -> Weights | None:
    """Weights of a body before training; None for He initialisation.

    Parameters
    ----------
    config
        From the TRAIN file.
    architecture
        The body they are for.
    settings, recipe
        Precision, optimiser and normalisation of a pre-training that is done here.
    cache
        Folder that keeps what was downloaded or trained.
    progress, device
        As in `train.train`.

    Raises
    ------
    ConfigurationError
        If there are no such weights, they are of another architecture, or cannot be downloaded.
    """
    if config.source == "imagenet":
        return imagenet(architecture, config.path, cache)
    if config.source == "package":
        return of_package(str(config.path), architecture)
    if config.source == "fashion-mnist":
        return _fashion_mnist(config, architecture, settings, recipe, cache, progress, device)
    return None


def imagenet(architecture: str, path: Path | None, cache: Path) -> Weights:
    """Torchvision's ImageNet weights of a body, from a file or from where torchvision has them."""
    state = _download(architecture, cache) if path is None else _state_dict(path)
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    resnet = untrained(architecture)
    try:
        missing, unexpected = resnet.load_state_dict(state, strict=False)
        problem = ", ".join([*(set(missing) - {"fc.weight", "fc.bias"}), *unexpected])
    except RuntimeError as error:
        problem = str(error)
    if problem:
        raise ConfigurationError(
            f"{path or 'the download'} does not hold torchvision's weights of {architecture}",
            expected=f"the names and shapes of torchvision.models.{architecture}",
            found=problem if len(problem) < 500 else f"{problem[:500]} …",
            mend="name the file of the same architecture under [pretraining] path",
        )
    return Body(resnet).state_dict()


def of_package(folder: str, architecture: str) -> Weights:
    """The body of another package."""
    package = ModelPackage.load(folder)
    if package.architecture != architecture:
        raise ConfigurationError(
            f"the package {folder} cannot lend its body",
            expected=architecture,
            found=package.architecture,
            mend="set [model] architecture to that of the package",
        )
    return package.network().body.state_dict()


def fashion_mnist(folder: Path | None, cache: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, 28, 28) and classes (n,) of Fashion-MNIST's training set (Xiao et al. 2017)."""
    root = folder or cache
    try:
        found = FashionMNIST(root, train=True, download=folder is None)
    except (RuntimeError, OSError, ValueError) as error:
        raise ConfigurationError(
            f"there is no Fashion-MNIST in {root}",
            expected="FashionMNIST/raw/train-images-idx3-ubyte and the three files beside it, unpacked",
            found=str(error).strip(),
            mend=f"download it from {FashionMNIST.mirrors[0]} and name the folder under [pretraining] path",
        ) from error
    return found.data.numpy(), found.targets.numpy()


def _fashion_mnist(
    config: PretrainingConfig,
    architecture: str,
    settings: TrainingConfig,
    recipe: Recipe,
    cache: Path,
    progress: Progress,
    device: torch.device,
) -> Weights:
    kept = cache / f"fashion-mnist-{_key(config, architecture, settings, recipe)}.safetensors"
    if kept.exists():
        return load_file(kept)
    images, labels = fashion_mnist(config.path, cache)
    torch.manual_seed(settings.seed)
    network = build(architecture, 10, "average").to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs
    stage, how = config.stage, settings.model_copy(update={"augmentation": (), "frozen_convolutions": 0})
    epoch_steps = max(1, len(images) // stage.batch)
    batch_of = drawn(_draw(images, labels, config.size_px), stage.batch, (settings.seed, 0))
    plan = Stage("pretraining", 0, stage, batch_of, epoch_steps, np.ones(10, np.float32), rest=0)
    moving = optimizer(network, stage, how, float(stage.learning_rate))
    fitting = Fitting(plan, how, recipe, network, moving, schedule(moving, stage, epoch_steps))
    for steps in stage.rounds(epoch_steps):
        fitting.steps(steps)
        progress("pretraining", steps[-1] + 1, stage.total(epoch_steps))
    weights = {key: value.cpu().contiguous() for key, value in network.body.state_dict().items()}
    kept.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, kept.with_suffix(".part"))
    kept.with_suffix(".part").replace(kept)
    return weights


def _draw(
    images: NDArray[np.uint8], labels: NDArray[np.int64], size_px: int
) -> Callable[[int, np.random.Generator], Batch]:
    def draw(count: int, rng: np.random.Generator) -> Batch:
        rows = rng.choice(len(images), count)
        small = torch.from_numpy(images[rows])[:, None].float()
        large = interpolate(small, size=(size_px, size_px), mode="bilinear", antialias=True)
        cells = np.full((count, size_px // 32, size_px // 32), -1)
        return Batch(large[:, 0].round().byte().numpy(), labels[rows], cells)

    return draw


def _key(config: PretrainingConfig, *meaning: Any) -> str:
    import hashlib

    said = [config.model_dump_json(exclude={"path"}), *map(str, meaning)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _download(architecture: str, cache: Path) -> Mapping[str, Tensor]:
    weights = _IMAGENET[architecture]
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(
            model_dir=str(cache), progress=False, check_hash=True, weights_only=True
        )
    except (URLError, OSError, RuntimeError) as error:
        raise ConfigurationError(
            f"the ImageNet weights of {architecture} could not be downloaded",
            expected=weights.url,
            found=str(error),
            mend="download that file elsewhere and name it under [pretraining] path",
        ) from error
    return state


def _state_dict(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ConfigurationError(
            f"{path} holds no weights that can be read without running code",
            expected="a state dict of torchvision, .pth or .safetensors",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            mend="name another file under [pretraining] path",
        ) from error
    if not (isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())):
        raise ConfigurationError(
            f"{path} is not a state dict",
            expected="names with tensors",
            found=type(state).__name__,
            mend="save model.state_dict() alone",
        )
    return state
