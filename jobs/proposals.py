"""What `nightsift plan` finds in some frames of a station, for a person to put into ``stations.toml``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from nightsift.archive.errors import NightsiftError
from nightsift.archive.exposures import FETCH_BYTES, NightReader
from nightsift.archive.layouts import FrameRef, is_container
from nightsift.archive.proposals import Frame, find_captions, find_circle
from nightsift.archive.stations import Box, Circle, Station
from nightsift.jobs.config import Configuration
from nightsift.jobs.plan import Plan, UnitPlan

SAMPLE = 12
NIGHTS = 4
WITHIN_S = 20.0


@dataclass(frozen=True)
class Proposal:
    """What a station might exclude.

    Attributes
    ----------
    frames
        How many frames were looked at.
    exclude_px, circle_px
        As in ``stations.toml``; empty and None where nothing was found.
    fault
        Why no frames were looked at; empty if some were.
    """

    station: str
    frames: int = 0
    exclude_px: tuple[Box, ...] = ()
    circle_px: Circle | None = None
    fault: str = ""

    def lines(self) -> list[str]:
        """Ready lines for the station's entry.

        >>> Proposal("UK0006", 12, ((0, 0, 310, 42),)).lines()
        ['exclude_px = [[0, 0, 310, 42]]']
        """
        boxes = [list(box) for box in self.exclude_px]
        found = [f"exclude_px = {boxes}"] if boxes else []
        return found + ([f"circle_px = {list(self.circle_px)}"] if self.circle_px else [])

    def values(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "lines": self.lines()}


def propose(config: Configuration, plan: Plan, within_s: float = WITHIN_S) -> list[Proposal]:
    """Look at some frames of each selected station that excludes nothing yet.

    Parameters
    ----------
    within_s
        No station is begun later, in seconds; those left out are named with their `Proposal.fault`.

    Returns
    -------
    list of Proposal
        One a station that was looked at or should have been. No fault of its frames raises.
    """
    begin = time.monotonic()
    return [
        _proposal(config, station, units)
        if time.monotonic() - begin < within_s
        else Proposal(station.id, fault="no time left: name it with --station")
        for station, units in _without_exclusion(plan)
    ]


def _without_exclusion(plan: Plan) -> Iterator[tuple[Station, list[UnitPlan]]]:
    for station, units in groupby(plan.selected, lambda unit: unit.station):
        if station.mask is None and station.circle_px is None and not station.exclude_px:
            yield station, list(units)


def _proposal(config: Configuration, station: Station, units: Sequence[UnitPlan]) -> Proposal:
    frames: list[Frame] = []
    nights = units[:: -(-len(units) // NIGHTS)]
    try:
        for unit in nights:
            reader = NightReader(config.archive, station, _sampled(unit.refs, -(-SAMPLE // len(nights))))
            frames += [picture.gray for picture in reader.sample(SAMPLE)]
        alike = _alike(frames)
        found = find_captions(alike), find_circle(alike)
    except NightsiftError as error:
        return Proposal(station.id, fault=error.what)
    except Exception as error:
        # A plan is needed most where frames are odd: whatever they do is told, and the plan goes on.
        return Proposal(station.id, fault=f"{type(error).__name__}: {error}")
    return Proposal(station.id, len(alike), *found, fault="" if alike else _nothing_seen(units))


def _nothing_seen(units: Sequence[UnitPlan]) -> str:
    if all(is_container(ref.key) for unit in units for ref in unit.refs):
        return "its frames lie in archives; proposals need loose files"
    return "none of its frames could be looked at"


def _sampled(refs: Sequence[FrameRef], count: int) -> tuple[FrameRef, ...]:
    """Single files of moderate size, spread over a night: archives of a night would be read whole."""
    usable = [
        ref for ref in refs if ref.reason is None and ref.size <= FETCH_BYTES and not is_container(ref.key)
    ]
    return tuple(
        usable[int((number + 0.5) * len(usable) / count)] for number in range(min(count, len(usable)))
    )


def _alike(frames: Sequence[Frame]) -> list[Frame]:
    """Those of the commonest size and depth."""
    kinds = Counter((frame.shape, frame.dtype) for frame in frames)
    commonest = [kind for kind, _ in kinds.most_common(1)]
    return [frame for frame in frames if (frame.shape, frame.dtype) in commonest]
