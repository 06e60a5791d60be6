"""Archives of a night give what the same files give loose."""

import bz2
import gzip
import io
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from nightsift.archive import containers
from nightsift.archive.containers import list_members, read_members
from nightsift.archive.differences import DifferenceSettings
from nightsift.archive.errors import BadFrame
from nightsift.archive.frames import FrameSettings, ingest_night
from nightsift.archive.layouts import inventory
from nightsift.archive.stations import Stations
from nightsift.archive.stores import Archive, Workspace
from tests.archive.one_night import PLACE, UNIT, encoded, noisy, write_night

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs", "ignore:Consolidated metadata")

KINDS = ["20220914.tar", "20220914.tar.gz", "20220914.tgz", "20220914.tar.bz2", "20220914.zip"]


def pack(path, files, folder=""):
    """Files in the order given, as an archive of the kind that the name tells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(folder + name, data)
        return
    kind = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2"}.get(path.suffix, "w:")
    with tarfile.open(path, kind) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def frames_of_a_night(count=12):
    return {
        f"image-202209142{(30 * i) // 3600}{(30 * i) // 60 % 60:02d}{30 * i % 60:02d}.jpg": encoded(frame)
        for i, frame in enumerate(noisy(count))
    }


def ingested(folder):
    """Everything below ``folder/archive``, listed and ingested as a user's archive would be."""
    archive = Archive(str(folder / "archive"))
    ((unit, refs),) = inventory(archive.objects(), Stations((PLACE,), "s")).nights.items()
    assert unit == UNIT
    night = replace(write_night(folder / "w", {}), archive=archive, refs=refs)
    return night, ingest_night(night, FrameSettings("zstd"), DifferenceSettings())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("folder", ["", "20220914/", "./"])
def test_an_archive_of_a_night_gives_the_frames_of_its_folder(tmp_path, name, folder):
    files = frames_of_a_night()
    shuffled = dict(sorted(files.items(), key=lambda item: hash(item[1])))
    pack(tmp_path / "archive" / "A" / name, {**shuffled, "notes.txt": b"cloudy"}, folder)
    night, found = ingested(tmp_path)
    assert (found.frames, found.rejected) == (12, ())
    stored = xr.open_zarr(f"{night.workspace.url}/frames/{UNIT}.zarr")
    assert [key.rsplit("/", 1)[1] for key in stored["key"].values] == sorted(files)
    assert stored["key"].values[0].startswith(f"A/{name}/")
    assert np.array_equal(stored["frame"].values, ingested_loose(tmp_path / "loose", files))


def ingested_loose(folder, files):
    for name, data in files.items():
        path = folder / "archive" / "A" / "20220914" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    night, _ = ingested(folder)
    return xr.open_zarr(f"{night.workspace.url}/frames/{UNIT}.zarr")["frame"].values


@pytest.mark.parametrize("name", KINDS)
def test_members_are_read_in_the_order_wanted_within_a_bounded_memory(tmp_path, name):
    files = frames_of_a_night()
    pack(tmp_path / name, files)
    opened = []

    def opener():
        opened.append(1)
        return (tmp_path / name).open("rb")

    members = sorted(list_members(opener, name).members, key=lambda m: m.path, reverse=True)
    read = list(read_members(opener, name, members, 3 * max(map(len, files.values()))))
    assert [(member.path, data) for member, data in read] == sorted(files.items(), reverse=True)
    assert len(opened) >= 5


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_a_damaged_archive_gives_what_can_be_read_and_says_so(tmp_path, name, share):
    path = tmp_path / "archive" / "A" / name
    pack(path, frames_of_a_night())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    _, found = ingested(tmp_path)
    assert found.frames < 12
    assert "corrupt" in found.reasons
    assert f"A/{name}" in {item.key for item in found.rejected} or found.frames + len(found.rejected) == 12


def test_links_repeated_names_and_foreign_nights_have_their_reason(tmp_path):
    files = frames_of_a_night(4)
    path = tmp_path / "archive" / "A" / "20220914.tar"
    pack(path, files)
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("image-20220914210000.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for name in (*list(files)[:1], "image-20220920220000.jpg", "image-2022.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    _, found = ingested(tmp_path)
    assert found.frames == 4
    assert found.reasons == {"unsupported": 1, "duplicate-time": 1, "wrong-night": 1, "unparsable-name": 1}


def test_an_archive_without_frames_is_in_the_ledger(tmp_path):
    pack(tmp_path / "archive" / "A" / "20220914.zip", {"readme.txt": b"nothing"})
    _, found = ingested(tmp_path)
    (only,) = found.rejected
    assert (only.key, only.reason) == ("A/20220914.zip", "unparsable-name")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "MEMBER_BYTES", 1000)
    pack(tmp_path / "a.zip", {"bomb.jpg": bytes(1001)})
    opener = (tmp_path / "a.zip").open
    (member,) = list_members(lambda: opener("rb"), "a.zip").members
    ((_, data),) = read_members(lambda: opener("rb"), "a.zip", [member], 10**6)
    assert isinstance(data, BadFrame)
    assert data.reason == "too-large"


NAME_TYPES = [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, b"X"]


@pytest.mark.parametrize(("name", "opened"), [("a.tar.bz2", bz2.open), ("a.tar.gz", gzip.open)])
@pytest.mark.parametrize("kind", [*NAME_TYPES, tarfile.REGTYPE])
def test_a_small_archive_never_fills_the_memory(tmp_path, name, opened, kind):
    with opened(tmp_path / name, "wb") as file:
        for path, type_, blocks in (("first.jpg", tarfile.REGTYPE, 1), ("bomb", kind, 32 * 2**11)):
            header = tarfile.TarInfo(path)
            header.type, header.size = type_, 512 * blocks
            file.write(header.tobuf() + bytes(header.size))
        file.write(bytes(1024))
    tracemalloc.start()
    try:
        found = list_members(lambda: (tmp_path / name).open("rb"), name)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2**20
    assert found.members[0].path == "first.jpg"
    assert (found.fault is None) == (kind == tarfile.REGTYPE)


def test_long_names_are_read(tmp_path):
    name = f"{'deep/' * 100}ü.jpg"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
            archive.addfile(tarfile.TarInfo(name))
        found = list_members(lambda: (tmp_path / "a.tar").open("rb"), "a.tar")
        assert ([member.path for member in found.members], found.fault) == ([name], None)


def test_a_locked_zip_says_so(tmp_path):
    path = tmp_path / "archive" / "A" / "20220914.zip"
    pack(path, frames_of_a_night(2))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(signature, at + 1)
    path.write_bytes(data)
    _, found = ingested(tmp_path)
    assert found.reasons == {"corrupt": 2}
    assert "password" in found.rejected[0].detail


def test_a_night_whose_sampled_members_are_all_damaged_keeps_the_others(tmp_path):
    files = frames_of_a_night(25)
    damaged = {name: data[:40] if i % 3 == 0 else data for i, (name, data) in enumerate(files.items())}
    pack(tmp_path / "archive" / "A" / "20220914.tar.gz", damaged)
    _, found = ingested(tmp_path)
    assert found.frames == 16
    assert found.reasons == {"corrupt": 9}


def test_jpeg_files_of_an_archive_are_kept_as_they_are(tmp_path):
    files = frames_of_a_night(6)
    pack(tmp_path / "archive" / "A" / "20220914.tar", files)
    night, _ = ingested(tmp_path)
    found = ingest_night(replace(night, workspace=Workspace(str(tmp_path / "kept"))), FrameSettings("jpeg"))
    assert found.frames == 6
    stored = xr.open_zarr(tmp_path / "kept" / "frames" / f"{UNIT}.zarr")
    assert "Jpeg" in repr(stored["frame"].encoding)
    shard = next(path for path in (tmp_path / "kept").rglob("c/0/0/0"))
    assert all(data in shard.read_bytes() for data in files.values())
