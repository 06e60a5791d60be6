"""Sets of real frames with labels: read from folders, or from a workspace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nightsift.archive.differences import Threshold
from nightsift.archive.errors import ConfigurationError, UsageError
from nightsift.archive.settings import validate
from nightsift.catalogs.verdicts import labelled_frames, read_corrections, read_verdicts
from nightsift.jobs.config import Configuration
from nightsift.models.dataset import DataConfig
from nightsift.models.judging import EVALUATION_SEED, SIMULATED, simulated_set
from nightsift.models.labelled import FolderData, LabelledFolder
from nightsift.models.origins import Draw, Parts, draw_labelled
from nightsift.models.recipe import Recipe
from nightsift.models.released import ReleaseData, released
from nightsift.models.shown import Shown

SETS = "simulated, folder:PATH, or release:NAME with CONFIG and --verdicts"


def shown_by(
    data: FolderData | ReleaseData, base: Path, threshold: Threshold, left_out: Counter[str]
) -> Iterator[Shown]:
    """The labelled differences of a folder or a release.

    Parameters
    ----------
    base
        Folder where relative paths in ``data`` start.
    threshold
        Of the differences.
    left_out
        Counts what is not given, by reason.
    """
    corrections = read_corrections(base / data.corrections) if data.corrections else {}
    if isinstance(data, FolderData):
        yield from LabelledFolder.read(data, base, corrections).shown(threshold, left_out)
        return
    workspace = Configuration.read(base / data.config).workspace
    verdicts = read_verdicts(base / data.verdicts)
    found = labelled_frames(workspace, data.release, verdicts, corrections, complete=data.complete)
    left_out.update(found.left_out)
    yield from released(workspace, found.frames, found.objects, threshold)


def draw_from(base: Path) -> Draw:
    """What draws the samples of a TRAIN file in ``base`` that names a folder or a release."""

    def draw(data: FolderData | ReleaseData, recipe: Recipe) -> Parts:
        name = data.path if isinstance(data, FolderData) else f"release {data.release or 'latest'}"
        return draw_labelled(
            lambda left_out: shown_by(data, base, recipe.threshold, left_out), data, recipe, name
        )

    return draw


def refuse_evaluation_seed(data: object) -> None:
    """The network that ``evaluate --set simulated`` takes must train no model.

    Raises
    ------
    ConfigurationError
        ``seed`` is that network's.
    """
    if isinstance(data, DataConfig) and data.seed == EVALUATION_SEED:
        raise ConfigurationError(
            f"[data] seed = {EVALUATION_SEED} is the network that `nightsift model evaluate` tests on",
            expected="another seed",
            mend="change it",
        )


@dataclass(frozen=True)
class NamedSet:
    """What a package is evaluated on; ``left_out`` fills while ``shown`` is read."""

    name: str
    real: bool
    shown: Iterator[Shown]
    left_out: Counter[str]


@dataclass(frozen=True)
class SetOptions:
    """What a set's name does not say."""

    config: Path | None = None
    verdicts: Path | None = None
    kind: str = "differences"
    groups: Path | None = None
    mixed_sizes: str = "refuse"
    complete: bool = False
    stations: int | None = None


def open_set(named: str, threshold: Threshold, options: SetOptions) -> NamedSet:
    """The set of a name.

    Raises
    ------
    UsageError
        There is no such set, or an option is missing.
    """
    source, _, rest = named.partition(":")
    left_out = Counter[str]()
    if named == "simulated":
        stations = options.stations or SIMULATED.test_stations
        data = SIMULATED.model_copy(update={"test_stations": stations})
        return NamedSet(named, False, simulated_set(data, threshold), left_out)
    if source == "folder" and rest:
        return NamedSet(named, True, _folder(rest, threshold, options, left_out), left_out)
    if source == "release" and rest and options.config and options.verdicts:
        return NamedSet(named, True, _release(rest, threshold, options, left_out), left_out)
    raise UsageError(f"{named!r} names no set", expected=SETS, mend="correct --set")


def _folder(path: str, threshold: Threshold, options: SetOptions, left_out: Counter[str]) -> Iterator[Shown]:
    values = {
        "source": "folder",
        "path": path,
        "kind": options.kind,
        "groups": options.groups and str(options.groups),
        "mixed_sizes": options.mixed_sizes,
        "corrections": options.verdicts and str(options.verdicts),
    }
    return shown_by(validate(FolderData, values, "the command line"), Path(), threshold, left_out)


def _release(name: str, threshold: Threshold, options: SetOptions, left_out: Counter[str]) -> Iterator[Shown]:
    data = ReleaseData(
        source="release",
        config=str(options.config),
        release=None if name == "latest" else name,
        verdicts=str(options.verdicts),
        complete=options.complete,
    )
    return shown_by(data, Path(), threshold, left_out)
