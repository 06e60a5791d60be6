"""Plain Zarr with receipts against Icechunk, a transactional Zarr store, for the products of a network.

    pip install icechunk  # not needed by Nightsift; 1.1.21 is the last for Python 3.11
    python benchmarks/icechunk_or_not.py [FRAMES] [NIGHTS]

One night of FRAMES frames with its differences; then NIGHTS small nights, one after the other and by two
writers. Icechunk holds all nights in one repository: only so does it commit more than one night at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import s3fs
import simplejpeg
import zarr
from night import DISTINCT, SHAPE, frames, s3_server

from nightsift.archive.jpeg_chunks import add_jpeg_array
from nightsift.archive.kernels import risen
from nightsift.archive.night_store import NightStore, ProductMissing
from nightsift.archive.shards import ChunkWriter, packed_bits
from nightsift.archive.stores import Workspace

SHARD = 20
SERIES = 10  # small arrays beside the pixels of a night: times, keys, digests, …


@dataclass(frozen=True)
class Plain:
    """Each night a Zarr store of its own; a receipt, written last, says that it is done."""

    url: str

    def open(self, night: str) -> tuple[zarr.Group, Callable[[], object]]:
        workspace = Workspace(self.url)
        store = NightStore(workspace, f"{night}.zarr")
        group = store.create({})

        def done() -> None:
            store.finish()
            workspace.write(f"receipts/{night}/0123456789abcdef.json", b"{}" * 500)

        return group, done

    def read(self, night: str) -> zarr.Group:
        return NightStore(Workspace(self.url), f"{night}.zarr").open()

    def state(self) -> int:
        return len(Workspace(self.url).names("receipts/small"))


@dataclass(frozen=True)
class Transactional:
    """Every night a group of one Icechunk repository; a commit says that it is done."""

    url: str

    def repository(self) -> icechunk.Repository:
        if not self.url.startswith("s3://"):
            return icechunk.Repository.open_or_create(icechunk.local_filesystem_storage(self.url))
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        where = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"], "region": "us-east-1", "allow_http": True}
        storage = icechunk.s3_storage(
            bucket=bucket, prefix=prefix, from_env=True, force_path_style=True, **where
        )
        return icechunk.Repository.open_or_create(storage)

    def open(self, night: str) -> tuple[zarr.Group, Callable[[], object]]:
        session = self.repository().writable_session("main")
        group = zarr.create_group(session.store, path=night)
        return group, lambda: session.commit(night, rebase_with=icechunk.ConflictDetector())

    def read(self, night: str) -> zarr.Group:
        return zarr.open_group(self.repository().readonly_session("main").store, path=night, mode="r")

    def state(self) -> int:
        return sum(1 for _ in self.read("small").group_keys())


Store = Plain | Transactional
KINDS: dict[str, Callable[[str], Store]] = {"plain": Plain, "Icechunk": Transactional}


def content() -> tuple[list[bytes], list[bytes]]:
    """Encoded frames and differences: what is measured is the store, not the encoding."""
    files = frames()
    gray = [simplejpeg.decode_jpeg(file, colorspace="GRAY")[:, :, 0] for file in files]
    encode = packed_bits().encode
    return files, [bytes(encode(risen(gray[i], gray[i - 1], 3.5).bits)) for i in range(len(gray))]


def write_night(store: Store, count: int, files: list[bytes], bits: list[bytes]) -> tuple[float, float]:
    """Seconds to write a night, and of these to complete it."""
    begin = time.perf_counter()
    group, done = store.open("frames/UK0006/2022-09-14")
    pixels = add_jpeg_array(group, "frame", length=count, frame_shape=SHAPE, shard=SHARD, attributes={})
    encoding = packed_bits()
    array = group.create_array(
        "difference",
        shape=(count, *SHAPE),
        chunks=(1, *SHAPE),
        shards=(SHARD, *SHAPE),
        dtype=bool,
        filters=encoding.filters,
        compressors=[encoding.compressor],
    )
    rose = ChunkWriter(array, SHARD)
    for number in range(count):
        pixels.append(files[number % DISTINCT])
        rose.append(bits[number % DISTINCT])
    pixels.close()
    rose.close()
    add_small_arrays(group, count)
    written = time.perf_counter()
    done()
    return time.perf_counter() - begin, time.perf_counter() - written


def add_small_arrays(group: zarr.Group, count: int) -> None:
    for number in range(SERIES):
        group.create_array(f"series_{number}", data=np.arange(count))


def read_night(store: Store, count: int) -> float:
    begin = time.perf_counter()
    array: Any = store.read("frames/UK0006/2022-09-14")["difference"]
    for first in range(0, count, SHARD):
        array[first : first + SHARD]
    return time.perf_counter() - begin


def small_nights(store: Store, names: list[str]) -> list[float]:
    """Milliseconds to write each night."""
    spent = []
    for name in names:
        begin = time.perf_counter()
        group, done = store.open(name)
        add_small_arrays(group, 10)
        done()
        spent.append(1000 * (time.perf_counter() - begin))
    return spent


def two_writers(store: Store, nights: int) -> str:
    """What became of as many nights of each of two processes."""
    small_nights(
        store, ["both/0/0000", "both/1/0000"]
    )  # or both would make, and so conflict in, the group above
    names = [[f"both/{writer}/{number:04d}" for number in range(1, nights + 1)] for writer in range(2)]
    with get_context("spawn").Pool(2) as pool:
        outcomes = pool.starmap(attempt, [(store, part) for part in names])
    spent = max(seconds for seconds, _ in outcomes)
    written = [name for _, part in outcomes for name in part]
    lost = sum(not is_there(store, name) for name in written)
    return f"{spent:.1f} s, {2 * nights - len(written)} refused, {lost} lost"


def attempt(store: Store, names: list[str]) -> tuple[float, list[str]]:
    """Seconds, and the nights that were completed without an error."""
    icechunk.set_logs_filter("error")
    begin, written = time.perf_counter(), []
    for name in names:
        try:
            small_nights(store, [name])
            written.append(name)
        except icechunk.IcechunkError:
            continue
    return time.perf_counter() - begin, written


def is_there(store: Store, name: str) -> bool:
    try:
        return "series_0" in store.read(name)
    except (FileNotFoundError, ProductMissing):
        return False


def abandoned(store: Store, files: list[bytes]) -> None:
    """What a killed run leaves: shards of a night that is never completed."""
    group, _ = store.open("frames/UK0006/2022-09-15")
    pixels = add_jpeg_array(group, "frame", length=60, frame_shape=SHAPE, shard=SHARD, attributes={})
    for number in range(60):
        pixels.append(files[number % DISTINCT])
    pixels.close()


class Meter:
    """Requests that the server answered, and what lies in a store."""

    def __init__(self, server: Path | None) -> None:
        self._server = server

    def requests(self) -> int:
        if self._server is None:
            return 0
        socket = next(self._server.glob("run/*rgw.asok"))
        told = subprocess.run(
            ["ceph", "--admin-daemon", socket, "perf", "dump"], check=True, capture_output=True, text=True
        ).stdout
        return int(json.loads(told)["rgw"]["req"])

    def objects(self, url: str) -> tuple[int, float]:
        names = Workspace(url).names("")
        return len(names), sum(len(Workspace(url).read(name)) for name in names) / 1e6


def measure(
    kind: str, url: str, meter: Meter, count: int, nights: int, encoded: tuple[list[bytes], list[bytes]]
) -> None:
    store = KINDS[kind](url)

    def row(what: str, value: str, before: int) -> None:
        place = "S3" if url.startswith("s3://") else "disk"
        asked = f"{meter.requests() - before}" if place == "S3" else ""
        print(f"| {kind} | {place} | {what} | {value} | {asked} |", flush=True)

    at = meter.requests()
    whole, last = write_night(store, count, *encoded)
    row(
        f"write a night of {count} frames; of this to complete it", f"{whole:.2f} s; {1000 * last:.0f} ms", at
    )
    at = meter.requests()
    row("read its differences", f"{read_night(store, count):.2f} s", at)
    objects, size = meter.objects(url)
    row("objects; MB", f"{objects}; {size:.1f}", meter.requests())
    abandoned(store, encoded[0])
    more, larger = meter.objects(url)
    row("left by a killed run: objects; MB", f"{more - objects}; {larger - size:.1f}", meter.requests())
    if isinstance(store, Transactional):
        at = meter.requests()
        begin = time.perf_counter()
        store.repository().garbage_collect(datetime.now(UTC))
        row("garbage collection", f"{time.perf_counter() - begin:.2f} s", at)
    at = meter.requests()
    spent = small_nights(store, [f"small/{number:04d}" for number in range(nights)])
    row(
        f"write a small night: first 10; last 10 of {nights}",
        f"{mean(spent[:10])}; {mean(spent[-10:])} ms",
        at,
    )
    at = meter.requests()
    begin = time.perf_counter()
    found = store.state()
    row(f"what is done, of {found} nights", f"{1000 * (time.perf_counter() - begin):.0f} ms", at)
    at = meter.requests()
    begin = time.perf_counter()
    small_nights(store, [f"one/{number:04d}" for number in range(nights // 2)])
    alone = time.perf_counter() - begin
    told = f"{alone:.1f} s; {two_writers(store, nights // 2)}"
    row(f"{nights // 2} nights by one writer; as many by each of two", told, at)


def mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.0f}"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    nights = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    warnings.filterwarnings("ignore", module="zarr")
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the writers
    icechunk.set_logs_filter("error")
    encoded = content()
    print(f"icechunk {icechunk.__version__}, zarr {zarr.__version__}, Python {sys.version.split()[0]}\n")
    print("| store | place | what | figure | requests |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            measure(kind, f"{folder}/{kind}", Meter(None), count, nights, encoded)
    with s3_server() as variables:
        os.environ.update(variables)
        s3fs.S3FileSystem(endpoint_url=variables["AWS_ENDPOINT_URL"]).mkdir("icechunk")
        for kind in KINDS:
            url = f"s3://icechunk/{kind.lower()}"
            measure(kind, url, Meter(Path(variables["AWS_SERVER_FOLDER"])), count, nights, encoded)


if __name__ == "__main__":
    main()
