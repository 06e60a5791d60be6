import numpy as np
import pandas as pd
import pytest

from nightsift.archive.errors import ConfigurationError
from nightsift.models.splits import groups, refuse_leakage, split


def seen(stations=4, nights=5, frames=20):
    rows = [
        (f"S{s}", f"2022-01-{n + 1:02d}", f"S{s}/{n}/{f}.jpg", f"{s}-{n}-{f}")
        for s in range(stations)
        for n in range(nights)
        for f in range(frames)
    ]
    return pd.DataFrame(rows, columns=["station", "night", "frame_key", "digest"])


@pytest.mark.parametrize("seed", range(5))
def test_a_split_keeps_station_nights_whole_and_both_shares(seed):
    frames = seen()
    is_meteor = np.random.default_rng(seed).random(len(frames)) < 0.1
    apart = split(frames, is_meteor, 0.3, seed)
    refuse_leakage({"training": frames[~apart], "test": frames[apart]})
    assert frames[apart].groupby(["station", "night"]).size().eq(20).all()
    assert apart.mean() == pytest.approx(0.3, abs=0.1)
    assert is_meteor[apart].sum() / is_meteor.sum() == pytest.approx(0.3, abs=0.1)


def test_frames_of_one_event_or_one_file_stay_together():
    frames = pd.DataFrame(
        {
            "station": ["A", "B", "C", "D"],
            "night": ["1", "1", "2", "3"],
            "event": ["x", "x", None, None],
            "digest": ["p", "q", "q", "r"],
        }
    )
    assert groups(frames).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("digest", "0-0-3", r"the same file: 0-0-3(.|\n)*S0/0/3\.jpg"),
        ("frame_key", "S0/0/3.jpg", r"the same frame: S0/0/3\.jpg"),
        ("night", "2022-01-01", "the same station and night: S0 2022-01-01"),
    ],
)
def test_leakage_is_refused_by_name(column, value, named):
    frames = seen(stations=1, nights=2)
    first, second = frames.iloc[:20], frames.iloc[20:].copy()
    second.loc[second.index[0], column] = value
    with pytest.raises(ConfigurationError, match=f"training and test share {named}"):
        refuse_leakage({"training": first, "test": second})
