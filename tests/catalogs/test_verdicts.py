import pandas as pd
import pytest

from nightsift.archive.errors import ConfigurationError
from nightsift.catalogs.verdicts import read_corrections, read_verdicts


def written(tmp_path, text):
    path = tmp_path / "verdicts.csv"
    path.write_text(text)
    return path


def test_verdicts_are_read_without_those_that_are_blank(tmp_path):
    path = written(tmp_path, "frame_key,verdict,note\na.jpg,Meteor,x\nb.jpg,,\nc.jpg,unsure,\n")
    table = read_verdicts(path)
    assert table.to_dict("list") == {"frame_key": ["a.jpg", "c.jpg"], "verdict": ["meteor", "unsure"]}


def test_a_truth_table_is_a_verdict_file(tmp_path):
    path = tmp_path / "truth.parquet"
    pd.DataFrame({"frame_key": ["a"], "kind": ["meteor"], "snr": [7.0]}).to_parquet(path)
    assert read_verdicts(path).to_dict("records") == [{"frame_key": "a", "verdict": "meteor", "snr": 7.0}]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("frame_key,verdict\na.jpg,plane\n", r"'plane' of a\.jpg"),
        ("file,verdict\na.jpg,meteor\n", "columns file, verdict"),
        ("", "is not a verdict file"),
    ],
)
def test_what_is_no_verdict_file_is_refused(tmp_path, text, fault):
    with pytest.raises(ConfigurationError, match=fault):
        read_verdicts(written(tmp_path, text))


def test_corrections_give_one_verdict_a_frame(tmp_path):
    path = written(tmp_path, "frame_key,verdict\na.jpg,meteor\na.jpg,other\n")
    with pytest.raises(ConfigurationError, match=r"1 frames twice, such as 'a\.jpg'"):
        read_corrections(path)
