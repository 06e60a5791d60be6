import pandas as pd
import pytest

from nightsift.archive.errors import ConfigurationError
from nightsift.catalogs.truth import Share, evaluate_frames, read_truth


def test_frames_are_compared_with_the_truth():
    frames = pd.DataFrame(
        {
            "frame_key": ["found", "missed", "false", "quiet", "unscored"],
            "score": [0.9, 0.2, 0.95, 0.1, None],
            "reason": [None, None, None, None, "gap"],
            "x_px": [13.0, 0, 0, 0, None],
            "y_px": [24.0, 0, 0, 0, None],
        }
    )
    truth = pd.DataFrame(
        {
            "frame_key": ["found", "found", "missed", "false", "unscored", "elsewhere"],
            "kind": ["meteor", "satellite", "meteor", "satellite", "meteor", "meteor"],
            "x_begin_px": [0.0, 0, 0, 0, 0, 0],
            "x_end_px": [20.0, 0, 0, 0, 0, 0],
            "y_begin_px": [10.0, 0, 0, 0, 0, 0],
            "y_end_px": [30.0, 0, 0, 0, 0, 0],
        }
    )
    measured = evaluate_frames(frames, truth, 0.85)
    assert measured.recall == Share(1, 2)
    assert measured.false_frames == Share(1, 2)
    assert measured.precision == Share(1, 2)
    assert measured.unscored_meteors == {"gap": 1}
    assert measured.flagged == {"satellite": 1}
    assert measured.distance_px == 5


def test_a_share_gives_its_wilson_interval():
    assert Share(5, 10).interval == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert Share(0, 0).interval == (0, 1)


def test_a_truth_table_without_its_columns_is_refused(tmp_path):
    (tmp_path / "truth.csv").write_text("frame,label\na,meteor\n")
    with pytest.raises(ConfigurationError, match="columns frame, label"):
        read_truth(tmp_path / "truth.csv")
    (tmp_path / "truth.parquet").write_text("no Parquet")
    with pytest.raises(ConfigurationError, match="is not a truth table"):
        read_truth(tmp_path / "truth.parquet")
