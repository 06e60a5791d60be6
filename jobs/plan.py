"""What a run would do: every station-night, the fingerprints of its stages, and which of them are stale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date

from nightsift.archive import differences, frames
from nightsift.archive.errors import ConfigurationError, UsageError
from nightsift.archive.layouts import LAYOUTS, FrameRef, Inventory, Unclaimed, inventory
from nightsift.archive.nights import StationNight
from nightsift.archive.receipts import ReceiptName, fingerprint, list_receipts
from nightsift.archive.stations import Station
from nightsift.catalogs.release import SCHEMA_VERSION
from nightsift.jobs.config import Configuration

STAGES = ("frames", "differences", "scores")
SCORES_VERSION = 1


@dataclass(frozen=True)
class Selection:
    """Which station-nights a run is asked for; None means no limit. ``to`` is included."""

    station: str | None = None
    begin: date | None = None
    end: date | None = None

    def __contains__(self, unit: StationNight) -> bool:
        return (
            self.station in (None, unit.station)
            and (self.begin is None or self.begin <= unit.night)
            and (self.end is None or unit.night <= self.end)
        )


@dataclass(frozen=True)
class UnitPlan:
    """One station-night: its frames, the receipt that each stage should have, and those that are there.

    Attributes
    ----------
    wanted
        The receipt of each stage, in order.
    stale
        Stages without their receipt, in order.
    failed
        Stages whose last try, with these very inputs, failed.
    selected
        Whether the run is asked for it.
    """

    station: Station
    unit: StationNight
    refs: tuple[FrameRef, ...]
    wanted: tuple[ReceiptName, ...]
    stale: tuple[str, ...]
    failed: tuple[ReceiptName, ...]
    selected: bool

    @property
    def outcome(self) -> str:
        """``done``, ``failed`` or ``unprocessed``, as a release takes it."""
        if not self.stale:
            return "done"
        return "failed" if self.failed else "unprocessed"

    def made_from(self, stage: str) -> str:
        """The fingerprint of the stage before; empty for the first, which is made from the archive."""
        before = [name.fingerprint for name in self.wanted[: STAGES.index(stage)]]
        return before[-1] if before else ""

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(ref.size for ref in self.refs)


@dataclass(frozen=True)
class Plan:
    """Every station-night of the archive, sorted, and the objects that no layout claims."""

    units: tuple[UnitPlan, ...]
    unclaimed: Unclaimed

    @property
    def selected(self) -> tuple[UnitPlan, ...]:
        """The units that the run is asked for."""
        return tuple(unit for unit in self.units if unit.selected)

    def stale(self, stage: str) -> tuple[UnitPlan, ...]:
        """The selected units in which a stage has to run."""
        return tuple(unit for unit in self.selected if stage in unit.stale)


def make_plan(config: Configuration, selection: Selection = Selection()) -> Plan:
    """List the archive and the receipts, and compare.

    Raises
    ------
    ConfigurationError
        The archive is empty, nothing in it has the layout's names, or a station is not described.
    UsageError
        The selection names a station without frames, or no night.
    StorageError
        A store cannot be listed.
    """
    found = inventory(config.archive.objects(), config.stations)
    _refuse_nothing(found, config)
    receipts = list_receipts(config.workspace)
    units = tuple(
        _unit_plan(config, unit, refs, receipts, unit in selection) for unit, refs in found.nights.items()
    )
    if not any(unit.selected for unit in units):
        nights = sorted(u.unit.night for u in units)
        raise UsageError(
            "the selection holds no night",
            expected=f"a station of {', '.join(sorted({u.unit.station for u in units}))}, "
            f"a night from {nights[0]} to {nights[-1]}",
            found=f"station {selection.station or 'any'}, from {selection.begin} to {selection.end}",
            mend="change --station, --from or --to",
        )
    return Plan(units, found.unclaimed)


def _refuse_nothing(found: Inventory, config: Configuration) -> None:
    if found.nights:
        return
    objects, examples = found.unclaimed.count, list(found.unclaimed.examples)
    shapes = {LAYOUTS[station.layout].shape for station in config.stations.values()}
    raise ConfigurationError(
        f"{config.archive.url} holds no frames",
        expected=f"objects named {' or '.join(sorted(shapes))}",
        found=f"{objects} objects, such as {', '.join(examples[:3])}" if objects else "no object at all",
        mend="set [archive] url to the folder or prefix that holds the stations' folders",
    )


def _unit_plan(
    config: Configuration,
    unit: StationNight,
    refs: tuple[FrameRef, ...],
    receipts: set[ReceiptName],
    selected: bool,
) -> UnitPlan:
    station = config.stations[unit.station]
    digests = fingerprints(config, station, refs)
    wanted = tuple(ReceiptName(stage, unit, digests[stage]) for stage in STAGES)
    failures = {ReceiptName(name.stage, name.unit, name.fingerprint, failed=True) for name in wanted}
    stale = tuple(name.stage for name in wanted if name not in receipts)
    return UnitPlan(station, unit, refs, wanted, stale, tuple(failures & receipts), selected)


def fingerprints(config: Configuration, station: Station, refs: tuple[FrameRef, ...]) -> Mapping[str, str]:
    """The fingerprint of each stage: of its inputs, its parameters and its version.

    Only what changes a product counts: the place of a station is part of its differences (through the Sun),
    not of its frames; the score from which a frame is a candidate is part of neither.
    """
    ingest = fingerprint(
        version=frames.STAGE_VERSION,
        objects=[(ref.key, ref.size, ref.etag, ref.start_utc, ref.reason) for ref in refs],
        exposure_s=station.exposure_s,
    )
    subtract = fingerprint(
        version=differences.STAGE_VERSION,
        frames=ingest,
        settings=asdict(config.difference),
        place=(station.latitude_deg, station.longitude_deg, station.timezone),
    )
    classify = fingerprint(version=SCORES_VERSION, differences=subtract, model=config.package.sha256)
    return {"frames": ingest, "differences": subtract, "scores": classify}


def refreshed(plan: Plan, config: Configuration) -> Plan:
    """The same plan against the receipts as they are now."""
    receipts = list_receipts(config.workspace)
    units = (_unit_plan(config, unit.unit, unit.refs, receipts, unit.selected) for unit in plan.units)
    return Plan(tuple(units), plan.unclaimed)


def release_state(plan: Plan, config: Configuration) -> str:
    """Digest of everything that a release of the plan's units would be made from."""
    return fingerprint(
        nights=[(unit.wanted[-1].fingerprint, unit.outcome) for unit in plan.units],
        stations=[station.model_dump(mode="json") for station in config.stations.values()],
        threshold=config.threshold,
        model=config.package.sha256,
        version=SCHEMA_VERSION,
    )
