"""The work itself: one stage of one station-night, and its receipt.

Steps receive references and small settings; data crosses from stage to stage through the workspace.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightsift import __version__
from nightsift.archive.conditions import CONDITIONS
from nightsift.archive.differences import (
    DifferenceSettings,
    Threshold,
    difference_night,
    peak_along,
)
from nightsift.archive.errors import NightsiftError, StorageError
from nightsift.archive.exclusions import Exclusion
from nightsift.archive.faults import storage_errors
from nightsift.archive.frames import FrameSettings, Ingested, Night, ingest_night
from nightsift.archive.layouts import FrameRef
from nightsift.archive.night_store import NightStore, ProductMissing, differences_path
from nightsift.archive.receipts import (
    ReceiptName,
    begin_product,
    fingerprint,
    write_objects,
    write_receipt,
)
from nightsift.archive.retries import Retries
from nightsift.archive.stations import Station
from nightsift.archive.stores import Archive, Workspace
from nightsift.archive.sun import dark_seconds
from nightsift.catalogs.scores import scores_table, write_scores
from nightsift.jobs.second_look import SecondLook
from nightsift.models.package import ModelPackage
from nightsift.models.vetting.package import VettingPackage

# Trails are fitted from this score on, whatever the threshold, so that a release can lower it.
FIT_FLOOR = 0.05
# Those whose versions could change a product.
LIBRARIES = ("numpy", "opencv-python-headless", "pyarrow", "simplejpeg", "torch", "torchvision", "zarr")


Receipts = Mapping[ReceiptName, Mapping[str, Any]]  # what a step has to say, in the order it is written


@dataclass(frozen=True)
class Step:
    """One stage of one station-night, small enough to send to a worker.

    ``refs`` is empty but for a stage that reads the archive; ``count`` counts them for every stage.
    ``made_from`` is the fingerprint of the stage before. ``along`` is the receipt of the next stage, where
    its product is made in the same pass over the archive.
    """

    name: ReceiptName
    station: Station
    refs: tuple[FrameRef, ...]
    count: int
    made_from: str
    archive: Archive
    workspace: Workspace
    frames: FrameSettings
    difference: DifferenceSettings
    exclusion: Exclusion
    package: ModelPackage
    vetting: VettingPackage | None = None
    along: ReceiptName | None = None

    @property
    def night(self) -> Night:
        """The station-night between its archive and the workspace."""
        return Night(self.archive, self.workspace, self.station, self.name.unit, self.refs, self.exclusion)


@dataclass(frozen=True)
class StepResult:
    """What became of a step.

    Attributes
    ----------
    outcome
        ``done``; ``failed`` with the reason in ``detail``; ``blocked`` behind a step that failed.
    frames
        Frames of the station-night in the archive.
    """

    name: ReceiptName
    outcome: str
    frames: int
    seconds: float = 0.0
    detail: str = ""


def run_step(step: Step, before: StepResult | None = None) -> StepResult:
    """Carry out a step and write its receipt; never raises for a fault of the night itself.

    Parameters
    ----------
    before
        The result of the stage before in the same run, if it ran.

    Raises
    ------
    StorageError
        A store failed: no other night would fare better, so the run has to stop.
    """
    if before is not None and before.outcome != "done":
        return StepResult(step.name, "blocked", step.count, detail=before.detail)
    begin = time.perf_counter()
    retries = Retries()
    step = replace(step, archive=step.archive.counted(retries), workspace=step.workspace.counted(retries))
    if not begin_product(step.workspace, step.name):
        return StepResult(step.name, "done", step.count)
    try:
        content = _WORK[step.name.stage](step)
    except StorageError:
        raise
    except ProductMissing as error:
        # Without its receipt the next run makes the product anew.
        unit = f"receipts/{error.stage}/{step.name.unit}"
        step.workspace.delete(step.workspace.names(unit))
        return _failed(step, error, begin)
    except Exception as error:
        # Whatever a night does to us is written down as its failure; the other nights go on.
        return _failed(step, error, begin)
    seconds = time.perf_counter() - begin
    for name, said in content.items():
        common = {
            "outcome": "done",
            "seconds": round(seconds, 3),
            "retries": retries.number,
            "versions": _versions(),
        }
        write_receipt(step.workspace, name, {**common, **said})
    return StepResult(step.name, "done", step.count, seconds)


def _failed(step: Step, error: Exception, begin: float) -> StepResult:
    detail = str(error) if isinstance(error, NightsiftError) else f"{type(error).__name__}: {error}"
    write_failure(step, detail, "".join(traceback.format_exception(error)))
    return StepResult(step.name, "failed", step.count, time.perf_counter() - begin, detail)


def write_failure(step: Step, detail: str, trace: str = "") -> None:
    """Write the receipt of a failure: a release counts its frames, the next run tries again."""
    failed = ReceiptName(step.name.stage, step.name.unit, step.name.fingerprint, failed=True)
    write_receipt(step.workspace, failed, {"outcome": "failed", "detail": detail, "traceback": trace})


@lru_cache(maxsize=1)
def _versions() -> Mapping[str, str]:
    return {"nightsift": __version__, **{name: version(name) for name in LIBRARIES}}


def _ingest(step: Step) -> Receipts:
    along = step.along if step.along and begin_product(step.workspace, step.along) else None
    found = ingest_night(step.night, step.frames, step.difference if along else None)
    unread = {item.key for item in found.rejected if item.reason == "unreadable"}
    write_objects(step.workspace, step.name.unit, [ref for ref in step.refs if ref.key not in unread])
    said = {"made_from": step.made_from, "settings": asdict(step.frames), **_said_of_frames(found)}
    if along is None:
        return {step.name: said}
    seconds = found.difference_seconds
    return {
        step.name: said,
        along: {**_said_of_differences(step, found.pairs, step.name), "seconds": seconds},
    }


def _said_of_frames(found: Ingested) -> Mapping[str, Any]:
    content = asdict(found)
    del content["pairs"], content["difference_seconds"]
    return content


def _said_of_differences(
    step: Step, pairs: Mapping[str, int], made_from: ReceiptName | None
) -> Mapping[str, Any]:
    return {
        "made_from": made_from.fingerprint if made_from else step.made_from,
        "settings": asdict(step.difference),
        "exclusion": step.exclusion.content,
        "counts": dict(pairs),
        "dark_s": dark_seconds(step.station, step.name.unit.night),
    }


def _difference(step: Step) -> Receipts:
    if step.refs:
        pairs = ingest_night(step.night, None, step.difference).pairs
    else:
        unit = step.name.unit
        pairs = difference_night(step.station, unit, step.workspace, step.difference, step.exclusion)
    return {step.name: _said_of_differences(step, pairs, None)}


def _classify(step: Step) -> Receipts:
    with storage_errors(step.workspace.url):
        group = NightStore(step.workspace, differences_path(step.name.unit)).open()
        night = _Night.read(group)
        rows = _score_rows(night, step)
        look = SecondLook(step.archive, step.workspace, step.station, step.name.unit, step.vetting)
        vetted = look.complete(rows, night.series)
        table = scores_table(rows, step.package.classes)
        write_scores(step.workspace, step.name.unit, table)
    said = {
        "made_from": step.made_from,
        "rows": table.num_rows,
        "model": step.package.name,
        "model_sha256": step.package.sha256,
        "device": str(_classifier(step.package).device),
        "vetting_sha256": step.vetting.sha256 if step.vetting else None,
        "vetted": vetted,
    }
    return {step.name: said}


_WORK = {"frames": _ingest, "differences": _difference, "scores": _classify}


@dataclass(frozen=True)
class _Night:
    """A night's differences: the arrays on disk, the series in memory."""

    difference: Any
    rise: Any
    series: Mapping[str, NDArray[Any]]
    threshold: Threshold
    excluded: Mapping[str, Any]

    @classmethod
    def read(cls, group: Any) -> _Night:
        names = (name for name, array in group.arrays() if array.ndim == 1)
        series = {name: group[name][:] for name in names}
        excluded = group.attrs.get("excluded", {})
        return cls(group["difference"], group["rise"], series, group.attrs["threshold"], excluded)

    def usable_differences(self) -> Iterator[NDArray[np.bool_]]:
        """The differences of usable pairs in order, read a shard at a time."""
        return self._usable(self.difference)

    def usable_rises(self) -> Iterator[NDArray[np.float32]]:
        """The largest rises of their blocks, in units of the pair's noise."""
        from nightsift.models.streaks import in_noise

        noise = self.series["noise"][self.series["usable"]]
        return (
            in_noise(rise, float(level)) for rise, level in zip(self._usable(self.rise), noise, strict=True)
        )

    def _usable(self, array: Any) -> Iterator[NDArray[Any]]:
        step, usable = array.shards[0], self.series["usable"]
        for begin in range(0, len(usable), step):
            wanted = usable[begin : begin + step]
            if wanted.any():
                yield from array[begin : begin + step][wanted]


@lru_cache(maxsize=2)
def _classifier(package: ModelPackage) -> Any:
    # torch takes seconds to import: only workers that classify pay for it.
    from nightsift.models.classify import Classifier

    return Classifier(package)


def _score_rows(night: _Night, step: Step) -> list[dict[str, Any]]:
    package = step.package
    rows = [_known(night, i, step) for i in range(len(night.series["time"]))]
    usable = np.flatnonzero(night.series["usable"])
    shape = night.difference.shape[1:]
    scores = _classifier(package).classify_stream(night.usable_differences(), shape, night.usable_rises())
    for k, i in enumerate(usable.tolist()):
        named = zip(scores.classes, scores.score[k], strict=True)
        rows[i].update({f"score_{name}": float(score) for name, score in named})
        score, place = float(scores.meteor[k]), (scores.x_px[k], scores.y_px[k], scores.region[k])
        rows[i].update(_placed(night, i, score, *place))
        rows[i]["more"] = [
            {"score": other.score, **_placed(night, i, other.score, other.x_px, other.y_px, other.region)}
            for other in scores.more[k]
        ]
    return rows


def _known(night: _Night, i: int, step: Step) -> dict[str, Any]:
    """What a row holds before the network looks at it."""
    series = night.series
    row = {
        "start_utc": int(series["time"][i]),
        "exposure_s": float(series["exposure_s"][i]),
        "frame_key": str(series["key"][i]),
        "gap_s": _finite(series["gap_s"][i]),
        "reason": str(series["reason"][i]) or None,
        "noise": _finite(series["noise"][i]),
        "sky_brightness": float(series["sky_brightness"][i]),
        **{name: _finite(series[name][i]) for name in CONDITIONS},
        "sun_altitude_deg": float(series["sun_altitude_deg"][i]),
    }
    if not series["usable"][i]:
        return row
    package, earlier = step.package, int(series["previous"][i])
    lineage = fingerprint(
        frame=str(series["digest"][i]),
        previous=str(series["digest"][earlier]),
        threshold=night.threshold,
        model=package.sha256,
        **({"vetting": step.vetting.sha256} if step.vetting else {}),
        **night.excluded,
    )
    return {
        **row,
        "previous_key": str(series["key"][earlier]),
        "model": package.name,
        "model_sha256": package.sha256,
        "lineage": lineage,
        "version": __version__,
    }


def _placed(
    night: _Night, i: int, score: float, x_px: float, y_px: float, region: Any
) -> dict[str, float | None]:
    """Where a meteor was seen: the trail fitted there and its middle, else what the network says."""
    seen = {"x_px": _finite(x_px), "y_px": _finite(y_px)}
    if score < FIT_FLOOR or seen["x_px"] is None:
        return seen
    return {**seen, **_trail(night, i, float(x_px), float(y_px), region)}


def _trail(night: _Night, i: int, x_px: float, y_px: float, region: Any) -> dict[str, float]:
    """The trail fitted on the full-size difference, with its peak; empty where nothing line-like is there."""
    from nightsift.models.trails import fit_trail

    trail = fit_trail(night.difference[i], x_px, y_px, np.asarray(region))
    if trail is None:
        return {}
    begin, end = (trail.x_begin_px, trail.y_begin_px), (trail.x_end_px, trail.y_end_px)
    peak = peak_along(night.rise[i], begin, end)
    noise = float(night.series["noise"][i])
    middle = {"x_px": (begin[0] + end[0]) / 2, "y_px": (begin[1] + end[1]) / 2}
    return {**asdict(trail), **middle, "peak": peak, **({"snr": peak / noise} if noise > 0 else {})}


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
