"""The default model on the real night of station UK0006: which meteors it finds, what else it flags.

    python benchmarks/real_night.py [../shared/data] [MODEL]

The night is listed as test: nothing was trained, tuned or chosen on it. Labels were given by eye to frames in
which the station's own software had detected something; other frames were not examined, and many of them
show satellites and aircraft.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

STATIONS = """
[[station]]
id = "UK0006"
network = "UKMON"
latitude_deg = 51.9
longitude_deg = -1.3
height_msl_m = 80.0
timezone = "UTC"
layout = "allsky"
cadence_s = 51
exposure_s = 51
"""


def truth(nights: Path) -> pd.DataFrame:
    """The night's labels as a truth table."""
    labels = pd.read_csv(nights / "UK0006_20220914_frames.csv")
    meteor = labels["label_by_eye"].fillna("").str.startswith("meteor")
    shown = labels["label_by_eye"].fillna(labels["scene"] + ", not examined")
    return pd.DataFrame(
        {"frame_key": "UK0006/20220914/" + labels["frame"], "kind": shown.where(~meteor, "meteor")}
    )


def main() -> None:
    shared = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data").resolve()
    model = sys.argv[2] if len(sys.argv) > 2 else "default"
    package = str(Path(model).resolve()) if Path(model).is_dir() else model
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stations.toml").write_text(STATIONS)
        truth(shared / "nights").to_csv(folder / "truth.csv", index=False)
        config = folder / "nightsift.toml"
        config.write_text(
            f'[archive]\nurl = "{shared}/nights"\n'
            f'[workspace]\nurl = "workspace"\n'
            f'[model]\npackage = "{package}"\n'
        )
        nightsift = [sys.executable, "-m", "nightsift"]
        subprocess.run([*nightsift, "run", config], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*nightsift, "model", "evaluate", config, "--truth", folder / "truth.csv"], check=True)
        show_meteors(folder)


def show_meteors(folder: Path) -> None:
    """Score of each labelled meteor."""
    (release,) = (folder / "workspace/releases").glob("*/frames")
    told = pd.read_csv(folder / "truth.csv").rename(columns={"kind": "truth"})
    frames = pd.read_parquet(release).merge(told, on="frame_key")
    meteors = frames[frames["truth"] == "meteor"]
    columns = ["start_utc", "score", "kind", "kind_score", "x_px", "y_px", "length_px"]
    print(meteors[columns].to_string(index=False))


if __name__ == "__main__":
    main()
