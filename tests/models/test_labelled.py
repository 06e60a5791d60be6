"""Labelled folders, as a user of AllSky or guAIta has them."""

from collections import Counter

import cv2
import numpy as np
import pandas as pd
import pytest

from nightsift.archive.errors import ConfigurationError
from nightsift.models.labelled import FolderData, LabelledFolder
from nightsift.models.origins import draw_labelled
from nightsift.models.recipe import Recipe
from nightsift.models.shown import refuse_contradictions, refuse_missing_classes

RECIPE = Recipe(size_px=64)


def picture(seed, size=(100, 80), line=False):
    rng = np.random.default_rng(seed)
    image = np.where(rng.random(size[::-1]) > 0.98, 255, 0).astype(np.uint8)
    if line:
        cv2.line(image, (20, 20), (60, 50), 255, 2)
    return image


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture
def folder(tmp_path):
    """Two stations, five nights each, with two meteors and three other frames a night."""
    for night in range(1, 6):
        for station in ("NORTH", "SOUTH"):
            for number in range(5):
                label = "meteor" if number < 2 else "no-meteor"
                name = f"image-202103{night:02d}23{number:02d}05.png"
                image = picture(hash((night, station, number)) % 2**31, line=number < 2)
                write(tmp_path / "set" / label / station / name, image)
    return tmp_path / "set"


def read(folder, corrections=None, **settings):
    return LabelledFolder.read(
        FolderData(source="folder", path=folder.name, **settings), folder.parent, corrections
    )


def parts(folder, corrections=None, **settings):
    data = FolderData(source="folder", path=folder.name, **settings)
    found = LabelledFolder.read(data, folder.parent, corrections)
    return draw_labelled(lambda left: found.shown(3.5, left), data, RECIPE, "the folder")


def nights(samples):
    return set(map(tuple, samples.frames[["station", "night"]].to_numpy().tolist()))


def test_a_folder_is_split_by_station_night_into_samples(folder):
    found = parts(folder, test_share=0.3, validation_share=0.3)
    drawn = (found.training, found.validation, found.test)
    assert sum(map(len, drawn)) == 50
    assert [nights(a) & nights(b) for a, b in ((drawn[0], drawn[1]), (drawn[0], drawn[2]), drawn[1:])] == [
        set()
    ] * 3
    for samples in drawn:
        assert samples.images.shape[1:] == (64, 64)
        labels = samples.labels(("meteor", "nothing"))
        assert np.array_equal(labels == 0, samples.frames["frame_key"].str.startswith("meteor/"))
        cells = samples.cell_labels(("meteor", "nothing"), 2)
        assert (cells[labels == 0] == -1).all()
        assert (cells[labels == 1] == 1).all()


def test_a_split_that_folders_name_is_kept(tmp_path):
    for part, night in (("train", 10), ("train", 11), ("test", 12)):
        for label in ("meteor", "no-meteor"):
            name = f"image-202103{night}2{int(label == 'meteor')}0000.png"
            write(tmp_path / "set" / part / label / name, picture(night + len(label)))
    found = parts(tmp_path / "set", validation_share=0.5)
    assert nights(found.test) == {("unnamed", "2021-03-12")}
    assert nights(found.training) | nights(found.validation) == {
        ("unnamed", "2021-03-10"),
        ("unnamed", "2021-03-11"),
    }


def test_folders_that_share_a_night_are_refused_by_name_or_dealt_out_anew(folder):
    for part, hour in (("train", "01"), ("test", "02")):
        for label in ("meteor", "no-meteor"):
            name = f"image-20210411{hour}00{len(label):02d}.png"
            write(folder.parent / "both" / part / label / name, picture(int(hour) + len(label)))
    with pytest.raises(ConfigurationError, match="share the same station and night: unnamed 2021-04-10"):
        parts(folder.parent / "both", validation_share=0.5)
    assert set(read(folder.parent / "both", parts="drawn").frames["part"]) == {""}


def test_one_night_cannot_be_split(tmp_path):
    for label in ("meteor", "no-meteor"):
        write(tmp_path / "set" / label / f"image-202103102201{len(label):02d}.png", picture(len(label)))
    with pytest.raises(ConfigurationError, match=r"part is empty(.|\n)*2 frames of 1 separate"):
        parts(tmp_path / "set")


def test_a_set_of_one_class_is_refused(folder):
    only = parts(folder, test_share=0.3).training
    labels = only.labels(("meteor", "satellite", "nothing"))
    with pytest.raises(ConfigurationError, match=r"shows no satellite(.|\n)*0 satellite"):
        refuse_missing_classes(labels, ("meteor", "satellite", "nothing"), "the training set")


def test_the_same_name_or_the_same_file_with_both_labels_is_refused(folder):
    name = "NORTH/image-20210301230005.png"
    write(folder / "no-meteor" / name, picture(5))
    with pytest.raises(ConfigurationError, match=r"meteor and not meteor: image-20210301230005\.png"):
        read(folder)
    (folder / "no-meteor" / name).unlink()
    copied = (folder / "meteor" / name).read_bytes()
    (folder / "no-meteor" / "NORTH" / "image-20210302230905.png").write_bytes(copied)
    with pytest.raises(ConfigurationError, match="by content, calls 1 frames"):
        read(folder)
    settled = read(folder, {"no-meteor/NORTH/image-20210302230905.png": "unsure"})
    left = Counter()
    assert len(list(settled.shown(3.5, left))) == 50
    assert left == {"unsure": 1}


def test_the_contradictions_of_guaita_are_found(shared):
    index = pd.read_csv(shared / "guaita_labels" / "index.csv")
    frames = pd.DataFrame(
        {"station": "", "name": index["fn"].str.split("\\").str[-1], "verdict": index["meteor"]}
    )
    with pytest.raises(
        ConfigurationError, match=r"calls 11 frames meteor and not meteor: image-20210310222605"
    ):
        refuse_contradictions(frames, "guAIta's index")


def test_corrections_change_labels_and_must_name_files(folder):
    key = "meteor/NORTH/image-20210301230005.png"
    frames = read(folder, {key: "no-meteor"}).frames.set_index("frame_key")
    assert frames.loc[key, "verdict"] == "no-meteor"
    assert (frames["verdict"] == "meteor").sum() == 19
    with pytest.raises(
        ConfigurationError, match=r"2 labelled frames are not in the folder .*: a\.png, b\.png"
    ):
        read(folder, {"a.png": "meteor", "b.png": "meteor"})


def test_files_without_a_time_are_a_group_each_unless_a_table_names_it(folder):
    write(folder / "meteor" / "tile_1.png", picture(1))
    write(folder / "meteor" / "tile_2.png", picture(2))
    undated = read(folder).frames.query("name.str.startswith('tile')")
    assert undated["night"].nunique() == 2
    (folder.parent / "groups.csv").write_text(
        "file,station,night\nmeteor/tile_1.png,NORTH,2021-03-01\nmeteor/tile_2.png,NORTH,2021-03-01\n"
    )
    named = read(folder, groups="groups.csv").frames.query("name.str.startswith('tile')")
    assert set(named["night"]) == {"2021-03-01"}
    assert set(named["station"]) == {"NORTH"}
    (folder.parent / "groups.csv").write_text("file,station,night\nmeteor/none.png,NORTH,2021-03-01\n")
    with pytest.raises(ConfigurationError, match=r"meteor/none\.png"):
        read(folder, groups="groups.csv")


def test_ready_made_differences_of_unlike_sizes_are_refused_unless_resized(folder):
    write(folder / "meteor" / "image-20210306230005.png", picture(1, (60, 60)))
    with pytest.raises(ConfigurationError, match=r"of 60 x 60 px(.|\n)*mixed_sizes"):
        list(read(folder).shown(3.5))
    assert len(list(read(folder, mixed_sizes="resize").shown(3.5))) == 51


def test_frames_are_subtracted_from_the_newest_earlier_one(tmp_path):
    dark = np.full((80, 100), 20, np.uint8)
    bright = dark.copy()
    bright[10, 10:30] += 50
    write(tmp_path / "set" / "before" / "image-20210310220000.png", dark)
    write(tmp_path / "set" / "meteor" / "image-20210310220030.png", bright)
    write(tmp_path / "set" / "no-meteor" / "image-20210310220100.png", dark)
    write(tmp_path / "set" / "no-meteor" / "image-20210310230100.png", dark)
    write(tmp_path / "set" / "no-meteor" / "image-20210310230130.png", dark[:40])
    left = Counter()
    meteor, other = read(tmp_path / "set", kind="frames").shown(3.5, left)
    assert meteor.picture.dtype == bool
    assert meteor.picture.sum() == 20
    assert other.picture.sum() == 0
    assert left == {"no-frame-before": 1, "wrong-size": 1}


def test_a_damaged_picture_is_left_out_and_counted(folder):
    (folder / "meteor" / "image-20210306230005.png").write_bytes(b"no picture")
    left = Counter()
    assert len(list(read(folder).shown(3.5, left))) == 50
    assert left == {"corrupt": 1}


def test_a_folder_without_labels_is_refused(tmp_path):
    write(tmp_path / "set" / "image-20210310220030.png", picture(1))
    with pytest.raises(ConfigurationError, match="holds no labelled pictures"):
        read(tmp_path / "set")
