"""CPU-seconds a frame of each stage, on simulated frames; the defaults of `nightsift plan` come from here.

    python benchmarks/rates.py [FRAMES]

Figures are of this machine: compare them with others only when they were measured in one run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    frames = sys.argv[1] if len(sys.argv) > 1 else "100"
    nightsift = [sys.executable, "-m", "nightsift"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "archive"
        made = ["--stations", "1", "--nights", "3", "--frames", frames]
        subprocess.run([*nightsift, "simulate", folder, *made], check=True, stdout=subprocess.DEVNULL)
        config = folder / "nightsift.toml"
        run = [*nightsift, "run", config, "--cluster", "serial", "--json"]
        said = json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
        for stage, done in said["stages"].items():
            print(f"{stage:12} {1000 * done['seconds'] / said['frames']:6.1f} ms a frame")


if __name__ == "__main__":
    main()
