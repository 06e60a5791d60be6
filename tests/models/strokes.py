"""Samples without a simulator: noise, with a bright stroke where there is a meteor."""

import cv2
import numpy as np
import pandas as pd

from nightsift.models.dataset import OBJECT_COLUMNS
from nightsift.models.samples import Samples


def strokes(count=24, side=64, seed=0, meteors=0.5, nights=6):
    """``count`` samples, of which the share ``meteors`` shows one, dealt out to ``nights`` station-nights."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (count, side, side)).astype(np.uint8)
    rows = []
    for image in range(round(count * meteors)):
        begin, end = rng.uniform(0.2, 0.8, (2, 2))
        points = [tuple(int(v) for v in point * side) for point in (begin, end)]
        images[image] = cv2.line(images[image], *points, 255, 2)
        at = (*begin * side, *end * side, 30.0, 200.0, 10.0, *begin, *end, 20.0, True)
        rows.append((image, "meteor", *at))
    night = rng.permutation(count) % nights
    frames = pd.DataFrame({"station": night % 2, "night": night, "height": side, "width": side})
    objects = pd.DataFrame(rows, columns=["image", *OBJECT_COLUMNS])
    return Samples(images, frames, objects.astype({"image": int, "clear": bool}))
