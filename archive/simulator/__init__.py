"""Archives of cameras that do not exist, written from a seed, with the truth about every frame."""

from nightsift.archive.simulator.archives import FIRST_NIGHT, encode_frame, write_archive
from nightsift.archive.simulator.cameras import Camera, Lens, SimulatedStation, draw_station
from nightsift.archive.simulator.nights import SimulatedNight
from nightsift.archive.simulator.objects import Rates, TrueObject

__all__ = [
    "FIRST_NIGHT",
    "Camera",
    "Lens",
    "Rates",
    "SimulatedNight",
    "SimulatedStation",
    "TrueObject",
    "draw_station",
    "encode_frame",
    "write_archive",
]
