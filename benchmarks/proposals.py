"""How often captions and image circles are found, on simulated cameras whose captions and lenses are known.

    python benchmarks/proposals.py [STATIONS] [SEED]

Each station is sampled by 12 frames of three nights, as `nightsift plan` does. A caption is found if boxes
cover 95 % of its pixels; a box without any of them is false. A camera has an image circle if all four
corners of the frame lie outside of it.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta

import cv2
import numpy as np
import pandas as pd
import simplejpeg

from nightsift.archive.proposals import find_captions, find_circle
from nightsift.archive.simulator import SimulatedNight, draw_station, encode_frame
from nightsift.archive.simulator.output import watermark
from nightsift.archive.sun import dark_seconds

NIGHTS, FRAMES = 3, 4
FIRST = date(2021, 10, 30)


def measured(index: int, seed: int) -> dict[str, object]:
    cv2.setNumThreads(1)
    drawn = draw_station(index, seed)
    frames, ink = [], np.zeros(drawn.camera.shape, bool)
    for number in range(NIGHTS):
        day = FIRST + timedelta(days=7 * number)
        count = int(dark_seconds(drawn.station, day) // drawn.station.cadence_s)
        night = SimulatedNight(drawn, day, count + 1, seed)
        for chosen in np.linspace(0, count, FRAMES + 2).astype(int)[1:-1].tolist():
            data = encode_frame(night.render(chosen)[0], drawn.camera.jpeg_quality)
            frames.append(simplejpeg.decode_jpeg(data, colorspace="GRAY")[:, :, 0])
            text = np.zeros(drawn.camera.shape, np.uint8)
            watermark(text, drawn.camera, drawn.station, night.starts_utc[chosen], 1.0)
            ink |= text > 0
    return {"station": drawn.station.id, **captions(frames, ink), **circle(frames, drawn.camera)}


def captions(frames: list[np.ndarray], ink: np.ndarray) -> dict[str, object]:
    covered, false = np.zeros_like(ink), 0
    for x0, y0, x1, y1 in find_captions(frames):
        covered[y0:y1, x0:x1] = True
        false += not ink[y0:y1, x0:x1].any()
    found = bool((ink & covered).sum() >= 0.95 * ink.sum())
    return {"caption": bool(ink.any()), "caption_found": found and bool(ink.any()), "false_boxes": false}


def circle(frames: list[np.ndarray], camera: object) -> dict[str, object]:
    lens, (height, width) = camera.lens, camera.shape
    radius = lens.focal_px * np.radians(lens.edge_deg) if lens.kind == "equidistant" else np.inf
    corners = [np.hypot(x - lens.centre_x_px, y - lens.centre_y_px) for x in (0, width) for y in (0, height)]
    found = find_circle(frames)
    off = abs(found[2] / radius - 1) if found and np.isfinite(radius) else np.nan
    return {"circle": min(corners) > radius, "circle_found": found is not None, "radius_off": off}


def main() -> None:
    stations = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 301
    with ProcessPoolExecutor() as pool:
        told = pd.DataFrame(pool.map(measured, range(stations), [seed] * stations))
    shown, round_ = told[told["caption"]], told[told["circle"]]
    print(f"{stations} simulated stations, seed {seed}")
    print(f"captions: {shown['caption_found'].sum()} of {len(shown)} found whole", end="; ")
    print(f"{told['false_boxes'].sum()} false boxes at {(told['false_boxes'] > 0).sum()} stations")
    print(f"circles: {round_['circle_found'].sum()} of {len(round_)} found", end=", ")
    print(
        f"{told[~told['circle']]['circle_found'].sum()} of {len(told) - len(round_)} where there is none",
        end="; ",
    )
    off = round_["radius_off"].dropna()
    print(f"radius off by {off.median():.1%} in the middle, {off.max():.1%} at most")


if __name__ == "__main__":
    main()
