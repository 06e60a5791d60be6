"""What the benchmarks share: frames of a night, a real S3 server, and a core to run on."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median

import cv2
import simplejpeg

from nightsift.archive.simulator.cameras import draw_station
from nightsift.archive.simulator.nights import SimulatedNight

ROOT = Path(__file__).parents[1]
DISTINCT = 50
SHAPE = (976, 1304)
_CACHE = Path(tempfile.gettempdir()) / "nightsift-benchmark-frames"
# A colour camera of 1304 x 976 pixels whose files have 600 to 765 kB, as real ones of that size have.
_SEED, _CAMERA, _NOISE, _QUALITY = 18, 5, 0.9, 100


def frames() -> list[bytes]:
    """Fifty consecutive frames of a simulated night as JPEG files, simulated once on a machine."""
    paths = [_CACHE / f"{number:02d}.jpg" for number in range(DISTINCT)]
    if not all(path.exists() for path in paths):
        _CACHE.mkdir(exist_ok=True)
        drawn = draw_station(_CAMERA, _SEED)
        camera = replace(drawn.camera, noise=drawn.camera.noise * _NOISE)
        night = SimulatedNight(replace(drawn, camera=camera), date(2021, 10, 31), 300, _SEED)
        for number, path in enumerate(paths):
            picture = night.render(120 + number)[0]
            path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())
    files = [path.read_bytes() for path in paths]
    assert all(600_000 <= len(file) <= 765_000 for file in files)
    return files


def decode(files: Sequence[bytes]) -> None:
    """The limit of every ingest: gray decoding alone, of files in memory."""
    for file in files:
        simplejpeg.decode_jpeg(file, colorspace="GRAY")


@contextmanager
def s3_server(core: int | None = None) -> Iterator[dict[str, str]]:
    """Ceph's radosgw in memory, pinned to one core if it is given; yields the variables that lead to it."""
    script = ROOT / "tests" / "servers" / "radosgw.sh"
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    with tempfile.TemporaryDirectory() as folder:
        settings = {**os.environ, "MEMSTORE_BYTES": str(12 * 2**30)}
        subprocess.run([*pinned, script, "up", folder, str(_free_port())], check=True, env=settings)
        shown = subprocess.run(
            ["bash", "-c", f". {folder}/env.sh && env -0"], check=True, capture_output=True, text=True
        ).stdout
        try:
            variables = dict(line.split("=", 1) for line in shown.split("\0") if line.startswith("AWS_"))
            yield {**variables, "AWS_SERVER_FOLDER": folder}
        finally:
            subprocess.run([script, "down", folder], check=True)


def _free_port() -> int:
    # The monitor takes the two ports above the server's.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1]) // 10 * 10


def middle(values: Sequence[float]) -> str:
    """Median with the range of the measurements."""
    return f"{median(values):6.2f} ({min(values):.2f}-{max(values):.2f})"
