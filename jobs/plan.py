"""What a run would do: every station-night, the fingerprints of its stages, and which of them are stale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date

from nightsift.archive import differences, frames
from nightsift.archive.errors import ConfigurationError, UsageError
from nightsift.archive.layouts import LAYOUTS, FrameRef, Inventory, Unclaimed, explain, inventory, readable
from nightsift.archive.nights import StationNight
from nightsift.archive.receipts import (
    ReceiptName,
    fingerprint,
    list_objects,
    list_receipts,
    objects_digest,
    read_objects,
)
from nightsift.archive.rms_stations import complete_stations
from nightsift.archive.stations import Station, Stations
from nightsift.archive.stores import StoredObject
from nightsift.catalogs.release import SCHEMA_VERSION
from nightsift.jobs.config import Configuration

STAGES = ("frames", "differences", "scores")
SCORES_VERSION = 4


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
    vanished
        Keys that its frames were made from and that the archive does not hold any more. Until that is
        accepted the night is held as it was recorded: ``refs`` are those that were read.
    waiting
        Number of new or replaced files that wait until then.
    reads_for_differences
        Whether differences are made from the archive, because frames are not kept.
    """

    station: Station
    unit: StationNight
    refs: tuple[FrameRef, ...]
    wanted: tuple[ReceiptName, ...]
    stale: tuple[str, ...]
    failed: tuple[ReceiptName, ...]
    selected: bool
    vanished: tuple[str, ...] = ()
    waiting: int = 0
    reads_for_differences: bool = False

    def reads_archive(self, stage: str) -> bool:
        """Whether a stage reads the archive."""
        return stage == "frames" or (stage == "differences" and self.reads_for_differences)

    @property
    def blocked(self) -> bool:
        """Whether it cannot be made anew because files that it was made from vanished."""
        return bool(self.vanished) and any(self.reads_archive(stage) for stage in self.stale)

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
    """Every station-night of the archive, sorted, and the objects that no station claims.

    Attributes
    ----------
    stations
        With what the archive told of them.
    notes
        What a person should know of how the stations were filled.
    dropped
        Nights that vanished from the archive, and whose loss is accepted.
    """

    units: tuple[UnitPlan, ...]
    unclaimed: Unclaimed
    stations: Stations
    notes: tuple[str, ...] = ()
    dropped: tuple[StationNight, ...] = ()

    @property
    def selected(self) -> tuple[UnitPlan, ...]:
        """The units that the run is asked for."""
        return tuple(unit for unit in self.units if unit.selected)

    def stale(self, stage: str) -> tuple[UnitPlan, ...]:
        """The selected units in which a stage has to run."""
        return tuple(unit for unit in self.selected if stage in unit.stale)


def make_plan(
    config: Configuration, selection: Selection = Selection(), *, accept_missing: bool = False
) -> Plan:
    """List the archive and the receipts, and compare.

    Parameters
    ----------
    accept_missing
        Take the archive as it is now: nights lose the frames that vanished from it.

    Raises
    ------
    ConfigurationError
        The archive is empty, nothing in it has a layout's names, or a station is not described.
    UsageError
        The selection names a station without frames, or no night.
    StorageError
        A store cannot be listed.
    """
    objects: Iterable[StoredObject] = config.archive.objects()
    if config.stations.incomplete:
        objects = tuple(objects)  # read twice
    stations, notes = complete_stations(config.stations, config.archive, objects)
    found = inventory(objects, stations)
    _refuse_nothing(found, stations, config.archive.url)
    receipts = list_receipts(config.workspace)
    planner = _Planner(config, stations, selection, receipts, accept_missing)
    units = tuple(planner.units(found))
    dropped = planner.dropped(found)
    if not dropped and not any(unit.selected for unit in units):
        nights = sorted(u.unit.night for u in units)
        raise UsageError(
            "the selection holds no night",
            expected=f"a station of {', '.join(sorted({u.unit.station for u in units}))}, "
            f"a night from {nights[0]} to {nights[-1]}",
            found=f"station {selection.station or 'any'}, from {selection.begin} to {selection.end}",
            mend="change --station, --from or --to",
        )
    return Plan(units, found.unclaimed, stations, notes, dropped)


def _refuse_nothing(found: Inventory, stations: Stations, url: str) -> None:
    if found.nights:
        return
    shapes = {LAYOUTS[station.layout].shape for station in stations.values()}
    examples = list(found.unclaimed.examples)
    # What can be explained comes first: notes and tables lie beside the frames of every network.
    told = {key: why for key in examples if (why := explain(key, stations))}
    named = [*told, *(key for key in examples if key not in told)][:3]
    lines = [
        f"\n    {readable(key)}" + "".join(f"\n      {why}" for why in told.get(key, ())) for key in named
    ]
    raise ConfigurationError(
        f"{url} holds no frames",
        expected=f"objects named {' or '.join(sorted(shapes))}",
        found=f"{found.unclaimed.count} objects, such as{''.join(lines)}" if examples else "no object at all",
        mend="set [archive] url to the folder or prefix that holds the stations' folders, "
        "and each station's layout to the one that names its frames",
    )


class _Planner:
    """Compares station-nights with the receipts that are there."""

    def __init__(
        self,
        config: Configuration,
        stations: Stations,
        selection: Selection,
        receipts: set[ReceiptName],
        accept_missing: bool,
    ) -> None:
        self._config, self._stations, self._selection = config, stations, selection
        self._receipts, self._accept_missing = receipts, accept_missing
        self._recorded = list_objects(config.workspace)

    def units(self, found: Inventory) -> Iterator[UnitPlan]:
        """Every night of the archive, and those that vanished from it, sorted."""
        gone = (unit for unit in self._recorded if unit not in found.nights)
        known = (unit for unit in gone if unit.station in self._stations and not self._accepted(unit))
        for unit in sorted({*found.nights, *known}, key=lambda u: (u.station, u.night)):
            yield self._unit(unit, found.nights.get(unit, ()))

    def dropped(self, found: Inventory) -> tuple[StationNight, ...]:
        """Nights that vanished from the archive, and whose loss is accepted."""
        return tuple(u for u in self._recorded if u not in found.nights and self._accepted(u))

    def _accepted(self, unit: StationNight) -> bool:
        return self._accept_missing and unit in self._selection

    def _unit(self, unit: StationNight, refs: tuple[FrameRef, ...]) -> UnitPlan:
        if self._accepted(unit) or self._recorded.get(unit) in (None, objects_digest(refs)):
            return self._compared(unit, refs)
        recorded = read_objects(self._config.workspace, unit)
        before = {ref.key: ref.etag for ref in recorded}
        vanished = before.keys() - {ref.key for ref in refs}
        if not vanished:
            return self._compared(unit, refs)
        waiting = sum(before.get(ref.key) != ref.etag for ref in refs)
        held = self._compared(unit, recorded)
        return replace(held, vanished=tuple(sorted(vanished)), waiting=waiting)

    def _compared(self, unit: StationNight, refs: tuple[FrameRef, ...]) -> UnitPlan:
        config = self._config
        station = self._stations[unit.station]
        digests = fingerprints(config, station, refs)
        wanted = tuple(ReceiptName(stage, unit, digests[stage]) for stage in STAGES)
        selected, from_archive = unit in self._selection, not config.frames.keep_frames
        plan = UnitPlan(station, unit, refs, wanted, (), (), selected, reads_for_differences=from_archive)
        return _against(plan, self._receipts)


def fingerprints(config: Configuration, station: Station, refs: tuple[FrameRef, ...]) -> Mapping[str, str]:
    """The fingerprint of each stage: of its inputs, its parameters and its version.

    Only what changes a product counts: the place of a station is part of its differences (through the Sun),
    not of its frames; how frames are kept is not part of the differences; the score from which a frame is a
    candidate is part of neither.
    """
    read = fingerprint(
        version=frames.STAGE_VERSION,
        objects=[(ref.key, ref.size, ref.etag, ref.start_utc, ref.reason) for ref in refs],
        exposure_s=station.exposure_s,
        fits=(station.fits_time, station.fits_clock),
        zone=station.timezone,
    )
    exclusion = config.exclusions[station.id]
    subtract = fingerprint(
        version=differences.STAGE_VERSION,
        read=read,
        settings=asdict(config.difference),
        place=(station.latitude_deg, station.longitude_deg),
        exclusion=exclusion.content,
    )
    return {
        "frames": fingerprint(read=read, settings=asdict(config.frames)),
        "differences": subtract,
        "scores": fingerprint(
            version=SCORES_VERSION,
            differences=subtract,
            model=config.package.sha256,
            vetting=config.vetting.sha256 if config.vetting else None,
        ),
    }


def refreshed(plan: Plan, config: Configuration) -> Plan:
    """The same plan against the receipts as they are now."""
    receipts = list_receipts(config.workspace)
    return replace(plan, units=tuple(_against(unit, receipts) for unit in plan.units))


def _against(unit: UnitPlan, receipts: set[ReceiptName]) -> UnitPlan:
    failures = {replace(name, failed=True) for name in unit.wanted}
    stale = tuple(name.stage for name in unit.wanted if name not in receipts)
    return replace(unit, stale=stale, failed=tuple(failures & receipts))


def release_state(plan: Plan, config: Configuration) -> str:
    """Digest of everything that a release of the plan's units would be made from."""
    return fingerprint(
        nights=[(unit.wanted[-1].fingerprint, unit.outcome) for unit in plan.units],
        stations=[station.model_dump(mode="json") for station in plan.stations.values()],
        threshold=config.threshold,
        model=config.package.sha256,
        version=SCHEMA_VERSION,
    )
