"""How long a plan will take, from what its stages took before."""

from __future__ import annotations

from collections.abc import Mapping

from nightsift.archive.receipts import list_receipts, read_receipt
from nightsift.jobs.config import Configuration
from nightsift.jobs.plan import STAGES, Plan

# CPU-seconds a frame of 960 x 720 px, the start of torch included: `python benchmarks/rates.py 60`, two cores
# of an AMD EPYC. Receipts of the workspace take their place.
DEFAULT_RATES_S: Mapping[str, float] = {"frames": 0.008, "differences": 0.0095, "scores": 0.0885}
RECEIPTS_READ = 20


def estimated_seconds(config: Configuration, plan: Plan) -> dict[str, float]:
    """CPU-seconds that each stage of the selected units would take.

    The rate is the mean over up to 20 receipts of the workspace; a measured default where there are none.
    """
    rates = _measured_rates(config, plan)
    return {stage: rates[stage] * sum(len(unit.refs) for unit in plan.stale(stage)) for stage in STAGES}


def _measured_rates(config: Configuration, plan: Plan) -> dict[str, float]:
    frames = {unit.unit: len(unit.refs) for unit in plan.units}
    rates = dict(DEFAULT_RATES_S)
    receipts = sorted(list_receipts(config.workspace), key=lambda name: name.key)
    for stage in STAGES:
        names = [name for name in receipts if name.stage == stage and not name.failed and name.unit in frames]
        sample = names[:: max(1, len(names) // RECEIPTS_READ)][:RECEIPTS_READ]
        total = sum(frames[name.unit] for name in sample)
        if total:
            rates[stage] = sum(read_receipt(config.workspace, name)["seconds"] for name in sample) / total
    return rates
