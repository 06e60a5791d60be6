# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "ai-edge-litert", "astropy", "numpy", "opencv-python-headless", "pandas", "pyarrow", "scipy",
# ]
# ///
"""RMS's published crop classifier on real cases, as a peer of vetting; no part of Nightsift.

    uv run --no-project benchmarks/vetting_peer.py [../shared/data] [CANDIDATES]

It reads maximum - average around a detection with 10 px on each side, squared with black, 60 x 60, / 255, and
calls a meteor what scores .85 or more. Cases that are no FF file have no average: a frame of the night is the
maximum of 51 s, and the median of its neighbours stands for the average; the box is what RMS itself
detected there, and the frame is enlarged four times to the size that the classifier was made for.
CANDIDATES is the folder `candidates` of a release of that night (`nightsift run`): the fitted trails are
scored too.
All of these files are listed as test; nothing is trained or chosen on them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from ai_edge_litert.interpreter import Interpreter
from astropy.io import fits
from numpy.typing import NDArray
from scipy.stats import binomtest

THRESHOLD = 0.85
PADDING_PX = 10
ENLARGED = 4  # from the night's 320 x 180 to 1280 x 720
NEIGHBOURS = 3  # frames on each side
DRAWN = 500  # boxes without a meteor in the FF file

Image = NDArray[np.uint8]
Ends = tuple[float, float, float, float]


class Peer:
    """The classifier."""

    def __init__(self, path: Path) -> None:
        self._interpreter = Interpreter(str(path))
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def score(self, above: Image, ends: Ends) -> float:
        """Score of the detection from x, y to x, y in an image of maximum - average."""
        small = cv2.resize(
            square(above, ends), tuple(self._input["shape"][1:3]), interpolation=cv2.INTER_AREA
        )
        self._interpreter.set_tensor(self._input["index"], small[None, :, :, None].astype(np.float32) / 255)
        self._interpreter.invoke()
        return float(self._interpreter.get_tensor(self._output)[0, 0])


def square(above: Image, ends: Ends) -> Image:
    """The crop around a detection, black where the frame ends, and beside the longer side."""
    x, y = sorted(ends[::2]), sorted(ends[1::2])
    left, top = int(np.floor(x[0])) - PADDING_PX, int(np.floor(y[0])) - PADDING_PX
    width, height = (int(np.ceil(v[1])) + 1 + PADDING_PX - low for v, low in ((x, left), (y, top)))
    side = max(width, height)
    found = np.zeros((side, side), np.uint8)
    x0, y0 = max(left, 0), max(top, 0)
    cut = above[y0 : top + height, x0 : left + width]
    row, column = (side - height) // 2 + y0 - top, (side - width) // 2 + x0 - left
    found[row : row + cut.shape[0], column : column + cut.shape[1]] = cut
    return found


def ff_file(folder: Path) -> tuple[dict[str, NDArray[np.uint8]], Ends, tuple[float, float]]:
    """Planes of the FF file; first and last position, and first and last frame, of RMS's detection."""
    with fits.open(next(folder.glob("FF_*.fits"))) as opened:
        planes = {unit.name: np.asarray(unit.data) for unit in opened if unit.data is not None}
    lines = next(folder.glob("FTPdetectinfo_*EXCERPT.txt")).read_text().splitlines()
    rows = [line.split() for line in lines if len(line.split()) == 9 and line[0].isdigit()]
    first, last = ([float(value) for value in row[:3]] for row in (rows[0], rows[-1]))
    return planes, (*first[1:], *last[1:]), (first[0], last[0])


def during(planes: dict[str, Image], frames: tuple[float, float]) -> Image:
    """Maximum - average, black where the maximum was reached outside ``frames``."""
    above = cv2.subtract(planes["MAXPIXEL"], planes["AVEPIXEL"])
    when = planes["MAXFRAME"]
    return np.where((when >= frames[0]) & (when <= frames[1]), above, 0).astype(np.uint8)


def elsewhere(planes: dict[str, Image], ends: Ends, seed: int = 0) -> Iterator[tuple[Image, Ends]]:
    """Drawn boxes of the meteor's length and duration that do not touch it."""
    rng = np.random.default_rng(seed)
    height, width = planes["MAXPIXEL"].shape
    length = np.hypot(ends[2] - ends[0], ends[3] - ends[1])
    keep_out = cv2.boundingRect(np.array(ends, np.float32).reshape(2, 1, 2))
    while True:
        x, y, angle = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, 2 * np.pi)
        end = x + length * np.cos(angle), y + length * np.sin(angle)
        box = cv2.boundingRect(np.array([[(x, y)], [end]], np.float32))
        begins = rng.integers(0, 236)
        if 0 <= end[0] < width and 0 <= end[1] < height and not overlap(box, keep_out, 2 * PADDING_PX):
            yield during(planes, (begins, begins + 20)), (x, y, *end)


def overlap(one: Sequence[int], two: Sequence[int], margin: int) -> bool:
    """Whether two boxes (x, y, width, height) come closer than ``margin``."""
    apart = (max(one[i], two[i]) - min(one[i] + one[i + 2], two[i] + two[i + 2]) >= margin for i in (0, 1))
    return not any(apart)


class Night:
    """The frames of the night, each above the median of its neighbours, enlarged."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.rglob("image-*.jpg"))
        self._index = {path.name: i for i, path in enumerate(self._paths)}

    def above(self, name: str) -> Image:
        i = self._index[name]
        near = [j for j in range(i - NEIGHBOURS, i + NEIGHBOURS + 1) if 0 <= j < len(self._paths) and j != i]
        usual = np.median([self._read(j) for j in near], axis=0).astype(np.uint8)
        risen = cv2.subtract(self._read(i), usual)
        return np.asarray(cv2.resize(risen, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_LINEAR))

    def _read(self, i: int) -> Image:
        return np.asarray(cv2.imread(str(self._paths[i]), cv2.IMREAD_GRAYSCALE), np.uint8)


def detections(nights: Path) -> Iterator[tuple[str, str, Ends]]:
    """Frame, label by eye and box of what RMS detected in the night."""
    table = pd.read_csv(nights / "UK0006_20220914_frames.csv").dropna(subset=["label_by_eye"])
    for frame, boxes, label in table[["frame", "rms_boxes_px", "label_by_eye"]].itertuples(index=False):
        for box in dict.fromkeys(boxes.split(";")):
            x0, y0, x1, y1 = (ENLARGED * float(value) for value in box.split(","))
            yield frame, label, (x0, y0, x1, y1)


def show(what: str, score: float) -> None:
    print(f"{score:6.3f}  {'meteor' if score >= THRESHOLD else '-':8}{what}")


def share(what: str, scores: Sequence[float]) -> None:
    called = sum(score >= THRESHOLD for score in scores)
    interval = binomtest(called, len(scores)).proportion_ci(method="wilson")
    print(f"{what}: {called} of {len(scores)} called meteor (95 % {interval.low:.3f} to {interval.high:.3f})")


def candidates(peer: Peer, night: Night, nights: Path, folder: Path) -> None:
    """Nightsift's candidates of the night, by the fitted trail."""
    table = pd.read_parquet(folder).dropna(subset=["x_begin_px"])
    labels = pd.read_csv(nights / "UK0006_20220914_frames.csv").set_index("frame")["label_by_eye"].dropna()
    columns = ["frame_key", "x_begin_px", "y_begin_px", "x_end_px", "y_end_px"]
    others = []
    for key, *ends in table[columns].itertuples(index=False):
        name = key.rpartition("/")[2]
        x0, y0, x1, y1 = (ENLARGED * value for value in ends)
        score = peer.score(night.above(name), (x0, y0, x1, y1))
        if name in labels:
            show(f"{name} {labels[name]}, by the fitted trail of the candidate", score)
        else:
            others.append(score)
    share("candidates in frames that nobody examined", others)


def main() -> None:
    shared = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    peer = Peer(shared / "peer_models" / "hyper_model.tflite")
    planes, ends, frames = ff_file(shared / "rms_UK0006_20220914")
    show("FF file, meteor, its frames only", peer.score(during(planes, frames), ends))
    show("FF file, meteor, all frames", peer.score(during(planes, (0, 255)), ends))
    drawn = elsewhere(planes, ends)
    share("FF file, drawn boxes elsewhere", [peer.score(*next(drawn)) for _ in range(DRAWN)])
    night = Night(shared / "nights" / "UK0006")
    for frame, label, box in detections(shared / "nights"):
        show(f"{frame} {label}", peer.score(night.above(frame), box))
    if len(sys.argv) > 2:
        candidates(peer, night, shared / "nights", Path(sys.argv[2]))


if __name__ == "__main__":
    main()
