"""What it costs to keep a night's frames: as JPEG files, as gray levels (zstd, lz4), or not at all.

    python benchmarks/keep_frames.py [FRAMES] [ROUNDS]

Milliseconds and bytes a frame to write and to read again in order, on a disk and on a real S3 server, beside
the gray decoding of the same files in the same run. This process keeps to one core, the server to another.
The processor's time is what an ingest pays: it does not wait for a store, it decodes meanwhile.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import simplejpeg
import zarr
from night import DISTINCT, SHAPE, decode, frames, middle, s3_server

from nightsift.archive.jpeg_chunks import add_jpeg_array
from nightsift.archive.shards import LZ4, ZSTD, ChunkWriter, Encoding, FrameWriter
from nightsift.archive.stores import Workspace

SHARD = 20


def jpeg_writer(group: zarr.Group, count: int) -> Any:
    return add_jpeg_array(group, "frame", length=count, frame_shape=SHAPE, shard=SHARD, attributes={})


def gray_writer(encoding: Encoding) -> Callable[[zarr.Group, int], Any]:
    def make(group: zarr.Group, count: int) -> Any:
        array = group.create_array(
            "frame",
            shape=(count, *SHAPE),
            chunks=(1, *SHAPE),
            shards=(SHARD, *SHAPE),
            dtype=np.uint8,
            compressors=[encoding.compressor],
        )
        return FrameWriter(ChunkWriter(array, SHARD), encoding.encode)

    return make


WAYS = {"jpeg": jpeg_writer, "zstd": gray_writer(ZSTD), "lz4": gray_writer(LZ4)}


def write(workspace: Workspace, way: str, content: list[Any], count: int) -> tuple[float, float]:
    """Milliseconds a frame that passed, and that the processor was busy."""
    workspace.delete_tree("night.zarr")
    begin, busy = time.perf_counter(), time.process_time()
    writer = WAYS[way](zarr.create_group(workspace.zarr("night.zarr")), count)
    for number in range(count):
        writer.append(content[number % DISTINCT])
    writer.close()
    passed, worked = time.perf_counter() - begin, time.process_time() - busy
    return 1000 * passed / count, 1000 * worked / count


def read(workspace: Workspace, count: int) -> float:
    begin = time.perf_counter()
    array: Any = zarr.open_group(workspace.zarr("night.zarr", read_only=True), mode="r")["frame"]
    for first in range(0, count, SHARD):
        array[first : first + SHARD]
    return 1000 * (time.perf_counter() - begin) / count


def kept_bytes(workspace: Workspace, count: int) -> float:
    return sum(len(workspace.read(key)) for key in workspace.names("night.zarr/frame/c")) / count


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    warnings.filterwarnings("ignore", module="zarr")
    files = frames()
    gray = [simplejpeg.decode_jpeg(file, colorspace="GRAY")[:, :, 0] for file in files]
    spent: dict[tuple[str, ...], list[float]] = defaultdict(list)
    sizes = {}
    os.sched_setaffinity(0, {0})
    with tempfile.TemporaryDirectory() as folder, s3_server(core=1) as variables:
        os.environ.update(variables)
        make_bucket(variables)
        stores = {"disk": Workspace(folder), "S3": Workspace("s3://keep-frames/products")}
        for _ in range(rounds):
            begin = time.perf_counter()
            decode(files)
            spent["decode",].append(1000 * (time.perf_counter() - begin) / DISTINCT)
            for place, workspace in stores.items():
                for way in WAYS:
                    content = files if way == "jpeg" else gray
                    passed, busy = write(workspace, way, content, count)
                    spent[way, place, "write"].append(passed)
                    spent[way, place, "busy"].append(busy)
                    spent[way, place, "read"].append(read(workspace, count))
                    sizes[way] = kept_bytes(workspace, count)
    report(spent, sizes, sum(map(len, files)) / len(files))


def make_bucket(variables: dict[str, str]) -> None:
    import s3fs

    s3fs.S3FileSystem(endpoint_url=variables["AWS_ENDPOINT_URL"]).mkdir("keep-frames")


def report(spent: dict[tuple[str, ...], list[float]], sizes: dict[str, float], file_bytes: float) -> None:
    limit = median(spent["decode",])
    print(
        f"gray decoding alone: {middle(spent['decode',])} ms a frame; files of {file_bytes / 1000:.0f} kB\n"
    )
    columns = ("write, ms", "processor, ms", "of decoding", "read, ms", "of decoding")
    print(f"| kept as | kB a frame | of the files | place | {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("| not kept | 0 | 0 | | 0 | 0 | 0 | | |")
    for way, size in sizes.items():
        for place in ("disk", "S3"):
            wrote, busy, reread = (spent[way, place, what] for what in ("write", "busy", "read"))
            print(
                f"| {way} | {size / 1000:.0f} | {size / file_bytes:.2f} | {place} | {middle(wrote)} "
                f"| {middle(busy)} | {median(busy) / limit:.2f} "
                f"| {middle(reread)} | {median(reread) / limit:.2f} |"
            )


if __name__ == "__main__":
    main()
