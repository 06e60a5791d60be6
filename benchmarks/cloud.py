"""How well star counts tell clouds: simulated stations, whose clouds are known, and real frames.

    python benchmarks/cloud.py [../shared/data] [STATIONS] [SEED]

Simulated: so many stations, eight nights each, four days apart, so that every phase of the Moon is seen;
24 frames of a night from dusk to dawn. True cloud is what clouds take of the stars' light, mean over the sky
that the camera sees; cloud is what a release would say.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from scipy.stats import spearmanr

from nightsift.archive.conditions import StarCounter, find_stars
from nightsift.archive.moon import moon
from nightsift.archive.simulator import SimulatedNight, draw_station, encode_frame
from nightsift.archive.sun import dark_seconds, sun_altitude_deg
from nightsift.catalogs.clouds import DARK_DEG, MOONLIGHT, Sightings, frame_clouds

NIGHTS, FRAMES = 8, 24
FIRST = date(2021, 10, 30)


def measured(index: int, seed: int) -> pd.DataFrame:
    """Every frame of a simulated station: true cloud, the cloud told, stars, Sun and Moon."""
    cv2.setNumThreads(1)
    drawn = draw_station(index, seed)
    nights, rows = [], []
    for number in range(NIGHTS):
        day = FIRST + timedelta(days=4 * number)
        count = int(dark_seconds(drawn.station, day) // drawn.station.cadence_s)
        night, counter = SimulatedNight(drawn, day, count + 1, seed), StarCounter()
        chosen = np.linspace(0, count, FRAMES).astype(int).tolist()
        for frame in chosen:
            counter.look(as_decoded(night.render(frame)[0], drawn.camera.jpeg_quality))
        times = tuple(night.starts_utc[frame] for frame in chosen)
        said = counter.conditions()
        sun = sun_altitude_deg(drawn.station, times)
        nights.append(Sightings(times, said["star_cells"], sun))
        light = np.digitize(moon(drawn.station, times).light, MOONLIGHT)
        true = [night.cloud(frame) for frame in chosen]
        rows.append(pd.DataFrame({"night": day, "true": true, "sun": sun, "moonlight": light, **said}))
    told = np.concatenate(frame_clouds(drawn.station, nights))
    size = f"{drawn.camera.width} x {drawn.camera.height}"
    return pd.concat(rows).assign(station=drawn.station.id, size=size, cloud=told)


def as_decoded(image: np.ndarray, quality: int) -> np.ndarray:
    return simplejpeg.decode_jpeg(encode_frame(image, quality), colorspace="GRAY")[:, :, 0]


def line(label: str, rows: pd.DataFrame) -> str:
    told = rows.dropna(subset="cloud")
    error = told["cloud"] - told["true"]
    rank = spearmanr(told["true"], told["cloud"]).statistic if len(told) > 2 else np.nan
    clear, overcast = told[told["true"] < 0.1]["cloud"], told[told["true"] > 0.8]["cloud"]
    return (
        f"{label:24s}{len(rows):6d}{len(told) / len(rows):6.2f}{rank:7.2f}{error.abs().mean():7.2f}"
        f"{error.mean():+7.2f}{clear.mean():8.2f}{overcast.mean():9.2f}"
    )


def simulated(stations: int, seed: int) -> None:
    with ProcessPoolExecutor() as pool:
        frames = pd.concat(pool.map(measured, range(stations), [seed] * stations))
    dark = frames[frames["sun"] < DARK_DEG]
    print(f"{stations} simulated stations, seed {seed}\n")
    print(f"{'':24s}{'n':>6s}{'told':>6s}{'rank':>7s}{'|err|':>7s}{'bias':>7s}{'clear':>8s}{'overcast':>9s}")
    print(line("all frames", dark))
    for kind, label in enumerate(("no moonlight", "some moonlight", "much moonlight")):
        print(line(label, dark[dark["moonlight"] == kind]))
    nights = dark.groupby(["station", "night"], as_index=False)[["true", "cloud"]].mean()
    print(line("nights", nights))
    print()
    for station, rows in dark.groupby("station"):
        best = rows.loc[rows["moonlight"] == 0, "star_cells"].quantile(0.9)
        print(line(f"{station} {rows['size'].iloc[0]:12s}{best:4.0f}", rows))


def real(shared: Path) -> None:
    labels = pd.read_csv(shared / "nights" / "UK0006_20220914_frames.csv")
    labels["stars"] = [
        len(find_stars(gray(shared / "nights" / "UK0006" / "20220914" / name))) for name in labels["frame"]
    ]
    print("\nstars in the real night of UK0006, by what a person saw")
    print(labels.groupby("scene", sort=False)["stars"].describe()[["count", "min", "50%", "max"]].to_string())
    print("\nstars in stills of one real camera")
    for name in ("test_no_clouds", "test_transparent_clouds_plane", "test_moon"):
        print(f"{name:32s}{len(find_stars(gray(shared / 'indi_allsky' / f'{name}.jpg'))):5d}")


def gray(path: Path) -> np.ndarray:
    return simplejpeg.decode_jpeg(path.read_bytes(), colorspace="GRAY")[:, :, 0]


if __name__ == "__main__":
    simulated(int(sys.argv[2]) if len(sys.argv) > 2 else 16, int(sys.argv[3]) if len(sys.argv) > 3 else 211)
    real(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
