"""How much of the sky clouds hid, told from the stars that a station showed.

The share of the sky's cells that lost their stars, against the station's own clear sky (the method of
Shamir & Nemiroff 2005, PASP 117, 972, with counts in place of single stars). Moonlight hides stars too: a
frame is compared with those of like moonlight. What this measures is not the cover that a meteorologist
reports: a veil that takes a magnitude from every star counts as cloud in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.moon import moon
from nightsift.archive.stations import Station

Floats = NDArray[np.floating[Any]]

DARK_DEG = -12.0  # with a higher Sun twilight hides the stars
MOONLIGHT = (0.01, 0.1)  # of a full Moon in the zenith: a thin crescent, a Moon between half and full
_CLEAR_QUANTILE = 0.9
_CLEAR_SHARE = 0.9  # of that quantile: clear skies differ by a tenth, with the Milky Way and by chance
_LEAST_FRAMES = 20  # from which a clear sky is told
_LEAST_CELLS = 15.0  # in a clear sky: fewer, and chance decides
_LEAST_MOONLIT = 0.3  # of the moonless clear sky: below, the Moon hides the stars, or it was always cloudy
_LEAST_OF_NIGHT = 3


@dataclass(frozen=True, eq=False)
class Sightings:
    """The frames of one night whose stars were counted.

    Attributes
    ----------
    times_utc
        Their starts.
    star_cells
        (n,) cells that show a star; see `nightsift.archive.conditions`.
    sun_altitude_deg
        (n,) altitude of the Sun.
    """

    times_utc: tuple[datetime, ...]
    star_cells: Floats
    sun_altitude_deg: Floats


def cloud_fractions(station: Station, nights: Sequence[Sightings]) -> list[float | None]:
    """Mean cloud fraction of each night of one station, between 0 and 1.

    Parameters
    ----------
    nights
        All that the station has: a clear sky is the best tenth of its frames with the Sun below -12 degrees,
        apart for no, some and much moonlight.

    Returns
    -------
    list of float or None
        None where it cannot be told: fewer than 3 frames of the night with so low a Sun, fewer than 20 frames
        of such moonlight in all, or so few stars in the best of them that chance would decide. A station that
        never had a clear sky looks clearer than it was.
    """
    clouds = frame_clouds(station, nights)
    told = [values[np.isfinite(values)] for values in clouds]
    return [float(values.mean()) if len(values) >= _LEAST_OF_NIGHT else None for values in told]


def frame_clouds(station: Station, nights: Sequence[Sightings]) -> list[Floats]:
    """Cloud fraction of each frame of each night, NaN where it cannot be told; see `cloud_fractions`."""
    moonlights = [np.digitize(moon(station, night.times_utc).light, MOONLIGHT) for night in nights]
    clear = _clear_skies(nights, moonlights)
    return [
        np.where(
            night.sun_altitude_deg < DARK_DEG, np.clip(1 - night.star_cells / clear[moonlight], 0, 1), np.nan
        )
        for night, moonlight in zip(nights, moonlights, strict=True)
    ]


def _clear_skies(nights: Sequence[Sightings], moonlights: Sequence[NDArray[np.intp]]) -> Floats:
    """Cells with a star in a clear sky, for each class of moonlight; NaN where it cannot be told."""
    clear = np.full(len(MOONLIGHT) + 1, np.nan)
    if not nights:
        return clear
    cells, moonlight = np.concatenate([n.star_cells for n in nights]), np.concatenate(moonlights)
    dark = np.concatenate([n.sun_altitude_deg for n in nights]) < DARK_DEG
    for kind in range(len(clear)):
        like = cells[dark & (moonlight == kind)]
        if len(like) >= _LEAST_FRAMES:
            clear[kind] = _CLEAR_SHARE * np.quantile(like, _CLEAR_QUANTILE)
    least = max(_LEAST_CELLS, _LEAST_MOONLIT * np.nan_to_num(clear[0]))
    return np.where(clear >= least, clear, np.nan)
