"""``nightsift.toml``: what to process, with what, to where."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nightsift.archive.differences import DifferenceSettings, Threshold, sigmas
from nightsift.archive.errors import ConfigurationError
from nightsift.archive.exclusions import Exclusion, read_exclusion
from nightsift.archive.frames import FrameSettings, KeepFrames
from nightsift.archive.settings import parse_toml, validate
from nightsift.archive.stations import Station, Stations
from nightsift.archive.stores import Archive, Workspace, refuse_secrets
from nightsift.models.package import ModelPackage
from nightsift.models.vetting.package import DEFAULT as DEFAULT_VETTING
from nightsift.models.vetting.package import VettingPackage

Checked = TypeVar("Checked")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArchiveSection(_Section):
    """The network's archive; ``storage_options`` are passed to fsspec."""

    url: str
    stations: str = "stations.toml"
    storage_options: Mapping[str, Any] = {}


class WorkspaceOptions(_Section):
    """Where a bucket's server is, and how long it may be silent."""

    endpoint_url: str | None = None
    region: str | None = None
    read_timeout_s: Annotated[float, Field(gt=0)] | None = None


class WorkspaceSection(_Section):
    """Where products go; on the archive's server unless ``storage_options`` name another.

    ``storage_options`` are `WorkspaceOptions` for a bucket; for another store they are passed to fsspec.
    """

    url: str
    storage_options: Mapping[str, Any] | None = None


class FramesSection(_Section):
    """How frames are kept; see `nightsift.archive.frames.FrameSettings`."""

    keep_frames: KeepFrames = "jpeg"
    keep_colour: bool = False


def _threshold(value: Threshold) -> Threshold:
    if sigmas(value) is None and not 0 <= float(value) < math.inf:
        raise ValueError("expected gray levels from 0 on, or such as '5 sigma'")
    return value


class DifferenceSection(_Section):
    """How differences are made; see `nightsift.archive.differences.DifferenceSettings`."""

    threshold: Annotated[Threshold, AfterValidator(_threshold)] = 3.5
    max_gap_s: Annotated[float, Field(gt=0)] = 120.0
    max_sun_altitude_deg: Annotated[float, Field(ge=-90, le=90)] = 0.0


class ModelSection(_Section):
    """The model package, and the score from which a frame is a candidate (the package's own by default).

    ``storage_options`` are `WorkspaceOptions` of the server of an ``s3://`` package: the archive's unless
    they name another.
    ``vetting`` is the package that tells the kinds of candidates, or false for none.
    """

    package: str = "default"
    storage_options: Mapping[str, Any] | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    vetting: str | Literal[False] = DEFAULT_VETTING


class RunSection(_Section):
    """How a run is carried out; none of it changes the products."""

    cluster: Annotated[str, Field(pattern=r"^(local|serial|tcp://.+)$")] = "local"
    workers: Annotated[int, Field(ge=1)] | None = None


class _File(_Section):
    archive: ArchiveSection
    workspace: WorkspaceSection
    frames: FramesSection = FramesSection()
    difference: DifferenceSection = DifferenceSection()
    model: ModelSection = ModelSection()
    run: RunSection = RunSection()


class Configuration:
    """A configuration that was read and found whole.

    Attributes
    ----------
    archive, workspace
        The two stores, not opened yet.
    stations
        The stations, read.
    package
        The model package, its digest verified.
    vetting
        The package that tells the kinds of candidates, its digest verified; None for none.
    frames, difference, threshold
        How frames are kept and differences made; the score from which a frame is a candidate.
    exclusions
        The pixels of each station that do not count.
    """

    def __init__(self, sections: _File, folder: Path) -> None:
        faults: list[ConfigurationError] = []

        def checked(check: Callable[[], Checked]) -> Checked | None:
            try:
                return check()
            except ConfigurationError as fault:
                faults.append(fault)
                return None

        archive = sections.archive
        checked(lambda: refuse_secrets(archive.url, archive.storage_options, "[archive]"))
        placed = sections.workspace
        checked(lambda: refuse_secrets(placed.url, placed.storage_options or {}, "[workspace]"))
        options = checked(lambda: _server_options("workspace", placed.url, placed.storage_options, archive))
        stations = checked(lambda: _read_stations(folder / archive.stations))
        package = checked(lambda: _read_package(sections, folder))
        if package is not None:
            checked(lambda: _refuse_other_threshold(package, sections.difference.threshold))
        wanted = sections.model.vetting
        vetting = checked(lambda: VettingPackage.load(wanted, folder)) if wanted else None
        entries = {} if stations is None else stations.entries
        exclusions = checked(lambda: _read_exclusions(entries, (folder / archive.stations).parent))
        if stations is None or package is None or exclusions is None or options is None or faults:
            raise _all_in_one(faults)
        self.run = sections.run
        self.archive = Archive(_resolved(archive.url, folder), tuple(archive.storage_options.items()))
        self.workspace = Workspace(_resolved(placed.url, folder), tuple(options.items()))
        self.frames = FrameSettings(**sections.frames.model_dump())
        self.difference = DifferenceSettings(**sections.difference.model_dump())
        self.stations, self.exclusions, self.package = stations, exclusions, package
        self.vetting = vetting
        named = sections.model.threshold
        self.threshold = package.threshold if named is None else named

    @classmethod
    def read(cls, path: Path, *, cluster: str | None = None) -> Configuration:
        """Read ``nightsift.toml``; relative paths in it start at its own folder.

        ``cluster`` takes the place of ``[run] cluster``.

        Raises
        ------
        ConfigurationError
            Naming every fault of the file, or the stations file or package that it names.
        """
        text = _read_text(path, "write one, or let `nightsift simulate DEST` write an example")
        sections = parse_toml(_File, text, str(path))
        if cluster is not None:
            run = validate(RunSection, {**sections.run.model_dump(), "cluster": cluster}, "the command line")
            sections = sections.model_copy(update={"run": run})
        return cls(sections, path.resolve().parent)


def _all_in_one(faults: Sequence[ConfigurationError]) -> ConfigurationError:
    if len(faults) == 1:
        return faults[0]
    listed = "\n".join(str(fault) for fault in faults)
    return ConfigurationError(f"the configuration has {len(faults)} faults:\n{listed}", mend="mend each")


def _read_exclusions(stations: Mapping[str, Station], folder: Path) -> dict[str, Exclusion]:
    return {station.id: read_exclusion(station, folder) for station in stations.values()}


def _refuse_other_threshold(package: ModelPackage, threshold: Threshold) -> None:
    if package.recipe.threshold not in ("any", threshold):
        raise ConfigurationError(
            f"model package {package.name!r} does not fit these differences",
            expected=f"[difference] threshold = {package.recipe.threshold!r}, as it was trained on",
            found=f"threshold = {threshold!r}",
            mend="set that threshold, or name another package",
        )


def _read_package(sections: _File, folder: Path) -> ModelPackage:
    model = sections.model
    options = _server_options("model", model.package, model.storage_options, sections.archive)
    return ModelPackage.load(model.package, folder, options)


def _server_options(
    section: str, url: str, named: Mapping[str, Any] | None, archive: ArchiveSection
) -> dict[str, Any]:
    scheme, archive_scheme = (
        place.partition("://")[0] if "://" in place else "" for place in (url, archive.url)
    )
    if named is None:
        named = archive.storage_options if scheme == archive_scheme else {}
        if scheme == "s3":
            named = {name: value for name, value in named.items() if name in WorkspaceOptions.model_fields}
    if scheme not in ("s3", "", "file"):
        return dict(named)
    checked = validate(WorkspaceOptions, named, f"[{section}.storage_options]")
    return checked.model_dump(exclude_none=True)


def _resolved(url: str, folder: Path) -> str:
    return url if "://" in url else str((folder / url).resolve())


def _read_stations(path: Path) -> Stations:
    text = _read_text(path, "set [archive] stations to the file that describes the stations")
    return Stations.parse(text, str(path))


def _read_text(path: Path, mend: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read", found=str(error), mend=mend) from error
