"""What it costs to fetch frames: CPU-seconds of the client, and its elapsed time, by library.

    python benchmarks/fetch.py [OBJECTS] [ROUNDS]

Objects of 700 kB from Ceph's radosgw on loopback and from a folder, in blocks of sixteen as an ingest asks
for them; and a listing of them. Rounds take turns, so that what else the machine does meets all alike.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import obstore
from night import middle, s3_server
from obstore.store import S3Store

from nightsift.archive.stores import Archive

SIZE = 700_000
BLOCK = 16
BUCKET = "archive"


def upload(keys: Sequence[str], folder: Path) -> None:
    data = os.urandom(SIZE)
    fsspec.filesystem("s3").mkdir(BUCKET)
    store = S3Store(BUCKET, virtual_hosted_style_request=False, client_options={"allow_http": True})
    for key in keys:
        obstore.put(store, key, data)
        (folder / key).write_bytes(data)


def in_blocks(fetch: Callable[[Sequence[str]], Sequence[bytes]], keys: Sequence[str]) -> None:
    for begin in range(0, len(keys), BLOCK):
        assert all(len(data) == SIZE for data in fetch(keys[begin : begin + BLOCK]))


def ways(folder: Path, keys: Sequence[str]) -> dict[str, Callable[[], object]]:
    s3, local = fsspec.filesystem("s3"), fsspec.filesystem("file")
    archive, files = Archive(f"s3://{BUCKET}"), Archive(str(folder))
    store = S3Store(BUCKET, virtual_hosted_style_request=False, client_options={"allow_http": True})
    pool = ThreadPoolExecutor(BLOCK)

    def one(key: str) -> bytes:
        return bytes(obstore.get(store, key).bytes())

    def listed() -> None:
        s3.invalidate_cache()
        assert len(s3.find(BUCKET, detail=True)) == len(keys)

    return {
        "S3: s3fs cat_ranges": lambda: in_blocks(
            lambda k: s3.cat_ranges([f"{BUCKET}/{key}" for key in k], None, None), keys
        ),
        "S3: obstore in threads": lambda: in_blocks(lambda k: list(pool.map(one, k)), keys),
        "S3: Archive.fetch": lambda: in_blocks(archive.fetch, keys),
        "folder: fsspec cat_ranges": lambda: in_blocks(
            lambda k: local.cat_ranges([f"{folder}/{key}" for key in k], None, None), keys
        ),
        "folder: Archive.fetch": lambda: in_blocks(files.fetch, keys),
        "S3 listing: s3fs find": listed,
        "S3 listing: Archive.objects": lambda: list(archive.objects()),
    }


def main(count: int, rounds: int) -> None:
    keys = [f"{number:05d}.jpg" for number in range(count)]
    with s3_server() as variables, tempfile.TemporaryDirectory() as folder:
        os.environ.update(variables)
        upload(keys, Path(folder))
        tried = ways(Path(folder), keys)
        cpu: dict[str, list[float]] = {name: [] for name in tried}
        elapsed: dict[str, list[float]] = {name: [] for name in tried}
        for _ in range(rounds + 1):
            for name, work in tried.items():
                began = time.process_time(), time.perf_counter()
                work()
                cpu[name].append((time.process_time() - began[0]) / count * 1000)
                elapsed[name].append((time.perf_counter() - began[1]) / count * 1000)
    print(f"ms per object of {SIZE:,} bytes: median (range) of {rounds} rounds after one to warm up")
    for name in tried:
        print(f"{name:28} CPU {middle(cpu[name][1:])}  elapsed {middle(elapsed[name][1:])}")


if __name__ == "__main__":
    main(*map(int, (sys.argv[1:] + ["1000", "7"][len(sys.argv) - 1 :])))
