"""Training and evaluation on real labelled frames, as a model owner types it."""

import csv
import doctest
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pandas as pd
import pytest

from nightsift.archive.errors import ConfigurationError, UsageError
from nightsift.archive.settings import parse_toml
from nightsift.catalogs.truth import write_truth
from nightsift.jobs.datasets import SetOptions, draw_from, open_set, refuse_evaluation_seed
from nightsift.models.judging import EVALUATION_SEED
from nightsift.models.train import TrainConfig, train
from tests.conftest import ROOT
from tests.jobs.test_model_cli import TINY
from tests.jobs.test_run import nightsift, run

MODEL = """
[model]
name = "tiny"
architecture = "resnet18"
classes = ["meteor", "nothing"]
[recipe]
size_px = 64
[training]
crop_px = 32
crops = { steps = 0 }
whole = { steps = 2, batch = 8, learning_rate = 0.001 }
[data]
"""


@pytest.fixture
def folder(tmp_path):
    """Ready-made differences of ten nights, two with a line and two without each."""
    rng = np.random.default_rng(1)
    for night in range(1, 11):
        for number in range(4):
            image = np.where(rng.random((80, 100)) > 0.98, 255, 0).astype(np.uint8)
            label = "meteor" if number < 2 else "no-meteor"
            if number < 2:
                cv2.line(image, (20, 20), (60, 50), 255, 2)
            path = tmp_path / "set" / label / f"image-202103{night:02d}230{number}05.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    return tmp_path / "set"


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.sources, self.keys, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in ("img", "script", "link"):
            self.sources.append(values.get("src") or values.get("href"))
        if "data-key" in values:
            self.keys.append(values["data-key"])
        if tag not in ("img", "meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag or tag == "html"


def said(*arguments):
    return json.loads(nightsift("model", *arguments, "--json").stdout)


def train_file(folder, extra=""):
    path = folder.parent / "TRAIN.toml"
    path.write_text(f'{MODEL}source = "folder"\npath = "{folder.name}"\n{extra}')
    return path


def drawn(folder, extra=""):
    path = train_file(folder, extra)
    config = parse_toml(TrainConfig, path.read_text(), str(path))
    return draw_from(path.parent)(config.data, config.recipe)


def test_mistakes_are_shown_corrected_and_trained_on(folder, package, tmp_path):
    # One label is wrong: the file has a line.
    wrong = "no-meteor/image-20210301230305.png"
    cv2.imwrite(str(folder / wrong), cv2.line(np.zeros((80, 100), np.uint8), (20, 20), (60, 50), 255, 2))
    page = tmp_path / "page"
    found = said(
        *("evaluate", "--package", package, "--set", f"folder:{folder}"),
        *("--page", page, "--top-losses", "40"),
    )
    assert found["real"] is True
    assert found["counts"]["meteors"] == found["counts"]["without a meteor"] == 20
    assert found["at_1_false_in_1000"]["supported"] is False
    html = Page((page / "index.html").read_text())
    assert all(source is None or source.startswith("data:image/png") for source in html.sources)
    rows = list(csv.DictReader((page / "verdicts.csv").open()))
    assert [row["frame_key"] for row in rows] == html.keys
    assert len(rows) == 40
    losses = [-np.log(abs((row["label"] != "meteor") - float(row["score"]))) for row in rows]
    assert losses == sorted(losses, reverse=True)

    text = (page / "verdicts.csv").read_text().replace(f"{wrong},no-meteor", f"{wrong},meteor")
    (page / "verdicts.csv").write_text(text)
    path = train_file(folder, 'corrections = "page/verdicts.csv"\n')
    nightsift("model", "train", path, "--output", tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "real differences of the labelled folder `set`" in card
    parts = drawn(folder, 'corrections = "page/verdicts.csv"\n')
    every = pd.concat([part.frames for part in (parts.training, parts.validation, parts.test)])
    assert every.set_index("frame_key")["verdict"].value_counts().to_dict() == {"meteor": 21, "no-meteor": 19}


def test_corrections_of_files_that_do_not_exist_are_refused(folder):
    (folder.parent / "verdicts.csv").write_text("frame_key,verdict\nmeteor/none.png,meteor\n")
    with pytest.raises(ConfigurationError, match=r"meteor/none\.png"):
        drawn(folder, 'corrections = "verdicts.csv"\n')


def test_a_folder_of_one_class_is_refused(folder):
    for path in (folder / "no-meteor").iterdir():
        path.unlink()
    path = train_file(folder)
    config = parse_toml(TrainConfig, path.read_text(), str(path))
    with pytest.raises(ConfigurationError, match=r"the training part shows no nothing(.|\n)*0 nothing"):
        train(config, folder.parent / "model", draw=draw_from(path.parent))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("[data]", "[data]\nseeds = 1", "unknown key data.seeds: did you mean 'seed'"),
        ('source = "folder"', 'source = "cloud"', "'folder'"),
        ('path = "set"', 'path = "set"\nkind = "films"', "data.kind"),
        ('path = "set"', "", "missing key data.path"),
    ],
)
def test_faults_of_a_data_table_are_named(folder, old, new, fault):
    text = train_file(folder).read_text().replace(old, new)
    with pytest.raises(ConfigurationError, match=fault):
        parse_toml(TrainConfig, text, "TRAIN.toml")


def test_a_release_is_evaluated_and_trained_on_with_verdicts(configure, simulated, package, tmp_path):
    config = configure(extra="threshold = 0\n")
    release = run(config)["release"]
    write_truth(tmp_path / "truth.parquet", simulated.truth)
    frames = pd.read_parquet(tmp_path / "workspace/releases" / release / "frames")
    scored = frames[frames["score"].notna()].set_index("frame_key")["score"]
    evaluate = ("evaluate", config, "--package", package, "--set", f"release:{release}", "--verdicts")
    found = said(*evaluate, tmp_path / "truth.parquet", "--complete")
    meteors = {row["frame_key"] for row in simulated.truth if row["kind"] == "meteor"} & set(scored.index)
    assert found["counts"]["meteors"] == len(meteors) > 0
    assert found["counts"]["without a meteor"] == len(scored) - len(meteors)
    # The package scores as it did in the run: recall counts the same frames.
    flagged = set(scored.index[scored >= np.float32(0.1)])
    assert found["recommended"]["recall"]["count"] == len(meteors & flagged)
    assert sum(found["left_out"].values()) == len(frames) - len(scored)

    keys = sorted(scored.index)
    train = tmp_path / "TRAIN.toml"
    words = [("meteor", "other", "unsure")[i % 3] for i in range(len(keys))]
    few = pd.DataFrame({"frame_key": keys, "verdict": words})
    few.to_csv(tmp_path / "verdicts.csv", index=False)
    train.write_text(f'{MODEL}source = "release"\nverdicts = "verdicts.csv"\nvalidation_share = 0.3\n')
    nightsift("model", "train", train, "--output", tmp_path / "model", "--json")
    assert f"{len(keys[2::3])} unsure" in (tmp_path / "model" / "README.md").read_text()
    few.replace({"frame_key": {keys[0]: "NORTH/none.jpg"}}).to_csv(tmp_path / "verdicts.csv", index=False)
    refused = nightsift("model", *evaluate, tmp_path / "verdicts.csv", code=3).stderr
    assert "NORTH/none.jpg" in refused


def test_the_network_of_the_evaluation_trains_no_model():
    config = parse_toml(TrainConfig, TINY.replace("\nseed = 1", f"\nseed = {EVALUATION_SEED}"), "TRAIN.toml")
    with pytest.raises(ConfigurationError, match="tests on"):
        refuse_evaluation_seed(config.data)


def test_the_page_on_data_sets(folder, monkeypatch):
    for label, name in (
        ("meteor/PUJALT", "image-20210310222605"),
        ("meteor/PUJALT", "image-20210311014436"),
        ("no-meteor/PUJALT", "image-20210311222605"),
        ("meteor", "tile_07"),
    ):
        path = folder.parent / "pictures" / label / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((8, 8), len(list(folder.parent.rglob("*.png"))), np.uint8))
    monkeypatch.chdir(folder.parent)
    page = ROOT / "docs" / "datasets.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted == 5
    assert result.failed == 0
    tables = re.findall("```toml\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(tables) == 3
    for table in tables:
        parse_toml(TrainConfig, MODEL.replace("[data]", table), "the page")


@pytest.mark.parametrize("named", ["nonsense", "folder:", "release:latest"])
def test_a_set_that_is_none_is_refused(named):
    with pytest.raises(UsageError, match="names no set"):
        open_set(named, 3.5, SetOptions())
