"""How much of the decoder's speed an ingest reaches: a night from a real S3 server to its products there.

    python benchmarks/ingest.py [FRAMES] [ROUNDS]

The limit is gray decoding alone, of the same files in memory, by the same processes on the same cores: each
run lies between two measurements of it. One worker on core 0 with the server on core 1; two workers, a night
each, on both cores with the server on the same. The last lines are of a night three times as long.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median

import obstore
import s3fs
from night import DISTINCT, decode, frames, middle, s3_server
from obstore.store import S3Store

KEPT = {"jpeg": '"jpeg"', "zstd": '"zstd"', "lz4": '"lz4"', "not kept": "false"}
NIGHTS = (date(2021, 12, 20), date(2021, 12, 21))
LONG_NIGHT = date(2021, 12, 22)
LIMIT_FRAMES = 5 * DISTINCT
STATION = """
[[station]]
id = "BENCH"
network = "BENCH"
latitude_deg = 55.0
longitude_deg = 0.0
height_msl_m = 0.0
timezone = "UTC"
layout = "allsky"
cadence_s = 15
exposure_s = 15
"""


def upload(variables: dict[str, str], sizes: dict[date, int]) -> None:
    """Nights of as many frames as ``sizes`` says: fifty distinct ones, under a key each."""
    s3fs.S3FileSystem(endpoint_url=variables["AWS_ENDPOINT_URL"]).mkdir("archive")
    s3fs.S3FileSystem(endpoint_url=variables["AWS_ENDPOINT_URL"]).mkdir("products")
    store = S3Store("archive", virtual_hosted_style_request=False, client_options={"allow_http": True})
    files = frames()
    with ThreadPoolExecutor(4) as pool:
        for night, size in sizes.items():
            begin = datetime(night.year, night.month, night.day, 18)
            for number in range(size):
                start = begin + timedelta(seconds=15 * number)
                key = f"BENCH/{night:%Y%m%d}/image-{start:%Y%m%d%H%M%S}.jpg"
                pool.submit(obstore.put, store, key, files[number % DISTINCT])


class Worker:
    """A process of its own that decodes or ingests when it is told to."""

    def __init__(self, cores: Sequence[int], config: Path, night: date) -> None:
        command = [sys.executable, __file__, "work", json.dumps(list(cores)), str(config), night.isoformat()]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def answer(self) -> float:
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate()


def work(cores: list[int], config_path: Path, night: date) -> None:
    """What a worker does: answers each line with a number."""
    from nightsift.jobs.config import Configuration
    from nightsift.jobs.plan import Selection, make_plan
    from nightsift.jobs.runner import run_plan

    warnings.filterwarnings("ignore", module="zarr")
    os.sched_setaffinity(0, cores)
    files = frames()
    config = Configuration.read(config_path, cluster="serial")
    plan = make_plan(config, Selection(begin=night, end=night))

    def ingest() -> None:
        report = run_plan(config, plan, last_stage="differences")
        assert not report.failures, report.failures

    tasks = {"decode": lambda: [decode(files) for _ in range(LIMIT_FRAMES // DISTINCT)], "ingest": ingest}
    print(0, flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        if line.strip() in tasks:
            tasks[line.strip()]()
            print(time.perf_counter() - begin, flush=True)
        else:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, flush=True)


@dataclass(frozen=True)
class Outcome:
    """Milliseconds a frame and worker, decoding alone and ingesting, and the larger peak memory in GiB."""

    limit_ms: float
    ingest_ms: float
    peak_gib: float

    @property
    def share(self) -> float:
        """Of the limit, in percent."""
        return 100 * self.limit_ms / self.ingest_ms


def measure(config: Path, cores: Sequence[int], nights: Sequence[date], size: int) -> Outcome:
    workers = [Worker(cores, config, night) for night in nights]

    def all_do(word: str) -> float:
        for worker in workers:
            worker.tell(word)
        return max([worker.answer() for worker in workers])

    before, spent, after, peak = (all_do(word) for word in ("decode", "ingest", "decode", "memory"))
    for worker in workers:
        worker.end()
    return Outcome(1000 * (before + after) / (2 * LIMIT_FRAMES), 1000 * spent / size, peak)


def configure(folder: Path, kept: str, number: int) -> Path:
    """A configuration with a workspace of its own."""
    (folder / "stations.toml").write_text(STATION)
    path = folder / f"{number}.toml"
    path.write_text(
        f'[archive]\nurl = "s3://archive"\n[workspace]\nurl = "s3://products/{number}"\n'
        f"[frames]\nkeep_frames = {KEPT[kept]}\n"
    )
    return path


def scenario(
    server_core: int | None, cases: list[tuple[str, Sequence[int], Sequence[date], int]], rounds: int
) -> None:
    """Measure cases in turn, several times; each is what is kept, the cores, the nights and their frames."""
    found: dict[int, list[Outcome]] = defaultdict(list)
    sizes = {night: size for _, _, nights, size in cases for night in nights}
    numbers = count()
    with tempfile.TemporaryDirectory() as folder, s3_server(server_core) as variables:
        os.environ.update(variables)
        upload(variables, sizes)
        filesystem = s3fs.S3FileSystem(endpoint_url=variables["AWS_ENDPOINT_URL"])
        for _ in range(rounds):
            for case, (kept, cores, nights, size) in enumerate(cases):
                config = configure(Path(folder), kept, next(numbers))
                found[case].append(measure(config, cores, nights, size))
                filesystem.rm("products/*", recursive=True)
    for case, (kept, _, nights, size) in enumerate(cases):
        report(kept, len(nights), size, found[case])


def report(kept: str, workers: int, size: int, outcomes: list[Outcome]) -> None:
    shares = [outcome.share for outcome in outcomes]
    limits, spent = ([getattr(o, name) for o in outcomes] for name in ("limit_ms", "ingest_ms"))
    peak = max(outcome.peak_gib for outcome in outcomes)
    told = f"{median(shares):.0f} % ({min(shares):.0f}-{max(shares):.0f})"
    print(
        f"| {kept} | {workers} | {size} | {told} | {middle(limits)} | {middle(spent)} | {peak:.2f} |",
        flush=True,
    )


def main() -> None:
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    columns = (
        "frames kept as",
        "workers",
        "frames",
        "share of the limit",
        "decoding alone, ms",
        "ingest, ms",
    )
    print(f"| {' | '.join(columns)} | peak, GiB |")
    print("|---|---|---|---|---|---|---|")
    scenario(1, [(kept, [0], NIGHTS[:1], size) for kept in KEPT], rounds)
    scenario(None, [(kept, [0, 1], NIGHTS, size) for kept in ("jpeg", "not kept")], rounds)
    scenario(1, [(kept, [0], (LONG_NIGHT,), 3 * size) for kept in ("jpeg", "not kept")], 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(json.loads(sys.argv[2]), Path(sys.argv[3]), date.fromisoformat(sys.argv[4]))
    else:
        main()
