"""Sets apart: whole station-nights on one side each, and leakage refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, pairwise
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nightsift.archive.errors import ConfigurationError

NAMED: Final = 5
# What two sides must not share, and how a message calls it.
IDENTITIES: Final = {
    "digest": "the same file",
    "frame_key": "the same frame",
    "station-night": "the same station and night",
    "event": "the same event",
}


def groups(frames: pd.DataFrame) -> NDArray[np.int64]:
    """The group of each frame, (n,): frames that share a station-night or an event are never parted.

    Parameters
    ----------
    frames
        With ``station`` and ``night``, and where they are known ``event``, ``digest`` and ``frame_key``.

    >>> seen = pd.DataFrame({"station": ["A", "B", "B"], "night": [1, 1, 2], "event": ["x", "x", None]})
    >>> groups(seen).tolist()
    [0, 0, 1]
    """
    order = np.arange(len(frames))
    links = [pair for identity in _identities(frames).values() for pair in _chains(identity)]
    rows, columns = np.array(links, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(order), len(order)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def split(frames: pd.DataFrame, is_meteor: NDArray[np.bool_], share: float, seed: int) -> NDArray[np.bool_]:
    """Set a share of the groups apart, with that share of the meteors and of the other frames.

    Groups are shuffled, then dealt out in order of their meteors to the side that lacks most.

    Parameters
    ----------
    frames
        As for `groups`.
    is_meteor
        (n,).
    share
        Of the frames that are set apart, between 0 and 1.
    seed
        Of the shuffling.

    Returns
    -------
    (n,) bool array
        True for those set apart.
    """
    named = groups(frames)
    counts = np.stack(
        [np.bincount(named[rows], minlength=named.max() + 1) for rows in (is_meteor, ~is_meteor)]
    )
    shares = np.array([1 - share, share])
    dealt = np.zeros((2, 2))
    apart = np.zeros(counts.shape[1], bool)
    shuffled = np.random.default_rng(seed).permutation(counts.shape[1])
    for group in shuffled[np.argsort(-counts[0, shuffled], kind="stable")]:
        of = 0 if counts[0, group] else 1
        lacking = shares - dealt[of] / max(counts[of].sum(), 1)
        apart[group] = side = int(lacking[1] > lacking[0])
        dealt[:, side] += counts[:, group]
    return apart[named]


def refuse_leakage(parts: Mapping[str, pd.DataFrame]) -> None:
    """Refuse parts that share a file, a frame, a station-night or an event.

    Raises
    ------
    ConfigurationError
        Names both parts, what they share, and the first few of it.
    """
    for (first, left), (second, right) in combinations(parts.items(), 2):
        ours, theirs = _identities(left), _identities(right)
        for name in ours.keys() & theirs.keys():
            shared = sorted(set(ours[name].dropna()) & set(theirs[name].dropna()))
            if shared:
                raise ConfigurationError(
                    f"{first} and {second} share {IDENTITIES[name]}: {some(shared)}",
                    expected="no file, frame, event or station-night on both sides",
                    found=f"{len(shared)} on both"
                    + (f", such as {_where(left, ours[name], shared[0])}" if name == "digest" else ""),
                    mend="move whole nights of a station to one side, or let Nightsift split",
                )


def refuse_empty(parts: Mapping[str, pd.DataFrame], what: str) -> None:
    """Refuse a split that leaves a part without frames.

    Raises
    ------
    ConfigurationError
        Names the part, and how many groups there were.
    """
    for name, frames in parts.items():
        if not len(frames):
            found = pd.concat(list(parts.values()))
            raise ConfigurationError(
                f"{what}: the {name} part is empty",
                expected="at least one station-night in each part",
                found=f"{len(found)} frames of {len(set(groups(found)))} separate station-nights in all",
                mend="add nights, or change the shares",
            )


def some(names: list[str]) -> str:
    """The first few of many names, for a message.

    >>> some(["a", "b"])
    'a, b'
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more


def _identities(frames: pd.DataFrame) -> dict[str, pd.Series]:
    known = {name: frames[name] for name in ("digest", "frame_key", "event") if name in frames}
    joined = frames["station"].astype(str) + " " + frames["night"].astype(str)
    return {**known, "station-night": joined}


def _chains(identity: pd.Series) -> Iterator[tuple[int, int]]:
    known = identity.reset_index(drop=True).dropna()
    for rows in known.groupby(known).groups.values():
        yield from pairwise(rows.tolist())


def _where(frames: pd.DataFrame, identity: pd.Series, value: str) -> str:
    return str(frames.loc[identity == value, "frame_key"].iloc[0])
