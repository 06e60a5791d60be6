"""Engines: the same steps one after the other, or on a Dask cluster. The only place that knows Dask."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from nightsift.archive.errors import StorageError
from nightsift.jobs.steps import Step, StepResult, run_step, write_failure

# The profiler looks at all threads, which can block a worker for good until Python 3.12 (CPython 106883).
_LOCAL = {"distributed.scheduler.worker-saturation": 1.0, "distributed.worker.profile.enabled": False}
Chain = tuple[Step, ...]  # the stale stages of one station-night, in order
CHAINS_PER_WORKER = 2  # keeps workers busy without a graph that grows with the archive


class Engine(Protocol):
    """Carries out chains of steps and yields each result as it comes."""

    def run(self, chains: Iterable[Chain]) -> Iterator[StepResult]:
        """Carry out every chain; the steps of one chain run in order.

        Raises
        ------
        StorageError
            A store failed; what was not begun is not begun any more.
        """
        ...


class SerialEngine:
    """Everything in this process, in the order given."""

    def run(self, chains: Iterable[Chain]) -> Iterator[StepResult]:
        """See `Engine.run`."""
        for chain in chains:
            before = None
            for step in chain:
                before = run_step(step, before)
                yield before


class DaskEngine:
    """Steps as Dask futures; a bounded number of station-nights is under way at any time."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, chains: Iterable[Chain]) -> Iterator[StepResult]:
        """See `Engine.run`."""
        from distributed import as_completed

        waiting = iter(chains)
        window = CHAINS_PER_WORKER * max(1, len(self._client.scheduler_info()["workers"]))
        under_way = as_completed()
        last_of_chain: set[str] = set()
        steps: dict[str, Step] = {}

        def submit_next() -> None:
            chain = next(waiting, None)
            if chain is None:
                return
            future = None
            for step in chain:
                # A step writes to the workspace: its result is only a report, never to be taken from a cache.
                future = self._client.submit(_attempt, step, future, key=_key(step), pure=False)
                steps[future.key] = step
                under_way.add(future)
            if future is not None:
                last_of_chain.add(future.key)

        for _ in range(window):
            submit_next()
        for future in under_way:
            step = steps.pop(future.key)
            error = future.exception()
            result = future.result() if error is None else _lost(step, error)
            if isinstance(result, StorageError):
                raise result
            if future.key in last_of_chain:
                last_of_chain.discard(future.key)
                submit_next()
            yield result


def _attempt(step: Step, before: StepResult | StorageError | None) -> StepResult | StorageError:
    # Returned, not raised: a worker would log a traceback, and the fault is no worker's.
    if isinstance(before, StorageError):
        return before
    try:
        return run_step(step, before)
    except StorageError as error:
        return error


def _lost(step: Step, error: BaseException) -> StepResult:
    """What to make of a step that no worker brought back: it took every worker that tried it down."""
    from distributed.scheduler import KilledWorker

    if not isinstance(error, KilledWorker):
        raise error
    if error.task != _key(step):
        return StepResult(step.name, "blocked", step.count, detail=f"{error.task} was lost")
    detail = f"took {error.allowed_failures + 1} workers down, perhaps for want of memory"
    write_failure(step, detail)
    return StepResult(step.name, "failed", step.count, detail=detail)


def _key(step: Step) -> str:
    return f"{step.name.stage}-{step.name.unit}-{step.name.fingerprint}"


def open_engine(cluster: str, workers: int | None) -> AbstractContextManager[Engine]:
    """The engine that ``--cluster`` names: ``serial``, ``local``, or the address of a Dask scheduler.

    Parameters
    ----------
    workers
        Processes of a local cluster; the number of cores by default.
    """
    if cluster == "serial":
        return _serial()
    return _dask(cluster, workers or os.cpu_count() or 1)


@contextmanager
def _serial() -> Iterator[Engine]:
    yield SerialEngine()


@contextmanager
def _dask(cluster: str, workers: int) -> Iterator[Engine]:
    from dask import config as dask_config
    from distributed import Client, LocalCluster

    if cluster == "local":
        # One step at a time on a worker: when it dies, no other step is suspected. One thread a process: a
        # classifier gives the same bytes only when it works with one thread.
        with (
            dask_config.set(_LOCAL),
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
            ) as local,
            Client(local) as client,
        ):
            yield DaskEngine(client)
        return
    try:
        client = Client(cluster, timeout="10s")
    except OSError as error:
        raise StorageError(
            f"no Dask scheduler answers at {cluster}",
            expected="a running scheduler",
            found=str(error),
            mend="start `dask scheduler` and workers there, or use --cluster local",
        ) from error
    with client:
        yield DaskEngine(client)
