"""Replaying a package's check: does it still give the scores that it gave where it was made?

``check.safetensors`` holds a few differences of unlike sizes, packed to bits, with the scores and positions
that the package gave them. Another machine, device or library version shows itself by other scores.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nightsift import __version__
from nightsift.archive.errors import ConfigurationError
from nightsift.archive.settings import read_toml
from nightsift.models.classify import Classifier
from nightsift.models.description import CHECK, DESCRIPTION, SEALED, read_file, write_description
from nightsift.models.package import ModelPackage

TOLERANCE: Final = 0.01
"""By how much a score may differ."""

_SIZES: Final = (
    *((180, 320), (240, 320), (640, 360), (480, 480)),
    *((480, 640), (480, 720), (576, 720), (540, 960)),
)
_SEED: Final = 20211030

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Verification:
    """What a replay of a check found.

    Attributes
    ----------
    deviation
        Largest difference of a score, of any class.
    deviation_px
        Largest difference of a position, in pixels; nan where a position came or went.
    then, now
        Versions where the package was made, and here.
    """

    package: ModelPackage
    differences: int
    deviation: float
    deviation_px: float
    tolerance: float
    then: Mapping[str, str]
    now: Mapping[str, str]

    @property
    def within(self) -> bool:
        """Whether every score is within the tolerance; one that is no number is not."""
        return self.deviation <= self.tolerance


def verify(package: ModelPackage, device: str = "auto") -> Verification:
    """Replay a package's check.

    Raises
    ------
    ConfigurationError
        If the package holds none.
    """
    if package.check is None:
        raise ConfigurationError(
            f"model package {package.name!r} holds no check",
            expected=f"stored differences and their scores in {CHECK}",
            mend=f"run `nightsift model seal {package.source}` where its scores are known to be right",
        )
    differences, score, position_px = _read(package)
    classifier = Classifier(package, device, batch=1)
    found_score, found_px = _scored(classifier, differences)
    apart = np.abs(found_px - position_px)
    apart[np.isnan(found_px) & np.isnan(position_px)] = 0
    return Verification(
        package,
        len(differences),
        float(np.abs(found_score - score).max()),
        float(apart.max()),
        package.check.tolerance,
        package.check.versions,
        versions(classifier),
    )


def seal(folder: Path, meaning: Mapping[str, Any] | None = None) -> ModelPackage:
    """Give a package its check and its digests, from what is in its folder now.

    Parameters
    ----------
    meaning
        What ``model.toml`` has to say besides; by default what it says already.

    Raises
    ------
    ConfigurationError
        If the folder is no package, or its weights are refused.
    """
    if meaning is None:
        source = str(folder / DESCRIPTION)
        values = read_toml(read_file(folder, DESCRIPTION).decode("utf-8", "replace"), source)
        meaning = {name: value for name, value in values.items() if name not in SEALED}
    (folder / CHECK).unlink(missing_ok=True)
    write_description(folder, meaning)
    classifier = Classifier(ModelPackage.load(str(folder.absolute())), batch=1)
    (folder / CHECK).write_bytes(_made(classifier))
    classes = list(classifier.package.classes)
    check = {"tolerance": TOLERANCE, "classes": classes, "versions": versions(classifier)}
    write_description(folder, {**meaning, "check": check})
    return ModelPackage.load(str(folder.absolute()))


def versions(classifier: Classifier) -> dict[str, str]:
    """What may change a score besides the package."""
    return {
        "nightsift": __version__,
        "torch": str(torch.__version__),
        "torchvision": version("torchvision"),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": str(classifier.device),
    }


def draw_differences(seed: int = _SEED) -> list[Bits]:
    """Differences of unlike sizes: noise, trails from broken to bright, and edges of clouds.

    They are no test of a model: they have to be various, so that scores lie between the extremes too.

    Returns
    -------
    list of numpy.ndarray
        Boolean, (height, width) each.
    """
    rng = np.random.default_rng(seed)
    shares = np.linspace(0.15, 1, len(_SIZES))
    return [
        _drawn(rng, size, share, cloudy=i % 3 == 2)
        for i, (size, share) in enumerate(zip(_SIZES, shares, strict=True))
    ]


def _drawn(rng: np.random.Generator, size: tuple[int, int], share: float, *, cloudy: bool) -> Bits:
    height, width = size
    risen = rng.random(size) < 10 ** rng.uniform(-3.5, -2)
    ends = rng.uniform(0.1, 0.9, (2, 2)) * (width, height)
    trail = np.zeros(size, np.uint8)
    begin, end = ends.astype(int).tolist()
    cv2.line(trail, begin, end, 1, int(rng.integers(1, 4)))
    risen |= (trail > 0) & (rng.random(size) < share)
    if cloudy:
        coarse = cv2.resize(rng.random((6, 8)), (width, height), interpolation=cv2.INTER_CUBIC)
        risen |= (np.abs(coarse - 0.6) < 0.05) & (rng.random(size) < 0.4)
    return risen


def _made(classifier: Classifier) -> bytes:
    differences = draw_differences()
    score, position_px = _scored(classifier, differences)
    packed = {f"difference_{i}": np.packbits(risen, axis=1) for i, risen in enumerate(differences)}
    widths = np.array([risen.shape[1] for risen in differences], np.int32)
    return save({**packed, "width": widths, "score": score, "position_px": position_px})


def _read(package: ModelPackage) -> tuple[list[Bits], NDArray[np.float32], NDArray[np.float32]]:
    try:
        held = load(read_file(package.folder, CHECK))
        packed = [held[f"difference_{i}"] for i in range(len(held["width"]))]
        pairs = zip(packed, held["width"].tolist(), strict=True)
        risen = [np.unpackbits(bits, axis=1, count=width).astype(bool) for bits, width in pairs]
        return risen, held["score"], held["position_px"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise ConfigurationError(
            f"{package.folder / CHECK} holds no check",
            expected="differences with their scores and positions, as `nightsift model seal` writes them",
            found=f"{type(error).__name__}: {error}",
            mend=f"run `nightsift model seal {package.source}` where its scores are known to be right",
        ) from error


def _scored(
    classifier: Classifier, differences: Sequence[Bits]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores (n, classes), and x_px, y_px (n, 2)."""
    seen = [classifier.classify(risen[None]) for risen in differences]
    position_px = [np.stack([found.x_px, found.y_px], axis=1) for found in seen]
    return np.concatenate([found.score for found in seen]), np.concatenate(position_px)
