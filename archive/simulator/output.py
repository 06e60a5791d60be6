"""From gray levels to the picture that a camera's software writes: colour and watermark."""

from __future__ import annotations

from datetime import datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from nightsift.archive.simulator.cameras import Camera
from nightsift.archive.simulator.scenery import Scenery
from nightsift.archive.stations import Station

_COLOURS = ((255, 255, 255), (60, 60, 230), (255, 255, 255), (60, 220, 240))


def coloured(
    rng: np.random.Generator, gray: NDArray[np.uint8], maps: Scenery, camera: Camera
) -> NDArray[np.uint8]:
    """A BGR picture whose luma is ``gray``; colour is coarse, as JPEG keeps it."""
    tint = np.random.default_rng([camera.scene, 9]).uniform((-6, -3), (4, 7))
    size = (camera.width // 4, camera.height // 4)
    level = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    warm = cv2.resize(np.maximum(maps.glow - 1.2, 0), size)
    strength = np.minimum(level, 255 - level) / 60
    planes = [gray]
    for shift, towards in zip(tint, (5.0, -7.0), strict=True):  # red up, blue down towards the towns
        speckle = cv2.resize(rng.normal(0, camera.noise * 0.7, (size[1] // 2, size[0] // 2)), size)
        chroma = 128 + strength * (shift + towards * warm + speckle)
        planes.append(cv2.resize(cv2.convertScaleAbs(chroma), (camera.width, camera.height)))
    return np.asarray(cv2.cvtColor(cv2.merge(planes), cv2.COLOR_YCrCb2BGR))


def watermark(
    picture: NDArray[np.uint8], camera: Camera, station: Station, start: datetime, gain: float
) -> None:
    """Write time and settings into the top left corner of a picture, in place."""
    local = start.astimezone(station.zone)
    exposure_s = station.exposure_s * gain
    warmth = 12 + 6 * np.cos((local.hour + local.minute / 60 - 15) * np.pi / 12)
    style = np.random.default_rng([camera.scene, 8])
    stamp = local.strftime(str(style.choice(["%Y%m%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S"])))
    lines = (stamp, f"Exposure {exposure_s:.3f}", f"Gain {style.integers(1, 300)}", f"Sensor {warmth:.1f}C")
    scale = camera.width / 1304 * style.uniform(0.6, 1.0)
    first = _COLOURS[style.integers(len(_COLOURS))]
    for number, line in enumerate(lines[: camera.watermark_lines]):
        place = (int(12 * scale), int((number + 1) * 34 * scale))
        colour = first if number == 0 else _COLOURS[1] if camera.colour else first
        thickness = 2 if scale > 0.8 else 1
        cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
