"""One contract for every workspace: a folder and a bucket of the real server."""

import pytest

from nightsift.archive.errors import ConfigurationError, NightsiftError
from nightsift.archive.stores import Archive, Workspace, refuse_secrets


@pytest.fixture(params=["folder", "bucket"])
def workspace(request, tmp_path):
    if request.param == "folder":
        return Workspace(str(tmp_path / "new" / "workspace"))
    made = request.getfixturevalue("bucket")("workspace")
    return Workspace(f"{made.url}/some/prefix")


def test_what_is_written_is_listed_and_read(workspace):
    assert workspace.names("a") == []
    workspace.write("a/2", b"two")
    workspace.write("a/1", b"one")
    workspace.write("ab/3", b"three")
    assert workspace.names("a") == ["a/1", "a/2"]
    assert workspace.read("a/2") == b"two"
    workspace.write("a/2", b"again")
    assert workspace.read("a/2") == b"again"


def test_what_is_absent_is_not_found(workspace):
    workspace.write("a/1", b"one")
    with pytest.raises(FileNotFoundError):
        workspace.read("a/9")


def test_deleting_is_complete_and_forgiving(workspace):
    for key in ("tree/x/1", "tree/y", "treehouse/1"):
        workspace.write(key, b".")
    workspace.delete(["tree/y", "tree/never"])
    assert workspace.names("tree") == ["tree/x/1"]
    workspace.delete_tree("tree")
    workspace.delete_tree("tree")
    assert workspace.names("tree") == []
    assert workspace.names("treehouse") == ["treehouse/1"]


def test_a_zarr_store_touches_nothing_above_itself(workspace):
    import zarr

    group = zarr.create_group(workspace.zarr("frames/A/night.zarr"))
    group.create_array("x", shape=(3,), dtype="uint8")[:] = 7
    assert all(key.startswith("frames/A/night.zarr/") for key in workspace.names("frames"))
    opened = zarr.open_group(workspace.zarr("frames/A/night.zarr", read_only=True), mode="r")
    assert opened["x"][:].tolist() == [7, 7, 7]


def test_an_archive_is_the_same_in_a_folder_and_in_a_bucket(simulated, bucket):
    place = bucket("archive")
    place.upload(simulated.archive)
    folder, remote = Archive(str(simulated.archive)), Archive(place.url)
    keys = [item.key for item in folder.objects()]
    assert keys == [item.key for item in remote.objects()] == simulated.keys()
    assert [item.size for item in folder.objects()] == [item.size for item in remote.objects()]
    assert folder.fetch(keys[:5]) == remote.fetch(keys[:5])
    for archive in (folder, remote):
        with pytest.raises(NightsiftError, match=r"SIM001/gone\.jpg was listed but cannot be read"):
            archive.fetch([keys[0], "SIM001/gone.jpg"])


def test_brackets_in_a_name_are_no_pattern(tmp_path):
    (tmp_path / "a[1]").mkdir()
    (tmp_path / "a[1]" / "x[2].jpg").write_bytes(b"one")
    archive = Archive(str(tmp_path / "a[1]"))
    assert archive.fetch([item.key for item in archive.objects()]) == [b"one"]


def test_a_replaced_file_has_another_tag(tmp_path):
    (tmp_path / "x").write_bytes(b"one")
    (before,) = Archive(str(tmp_path)).objects()
    (tmp_path / "x").write_bytes(b"two")
    (after,) = Archive(str(tmp_path)).objects()
    assert before.etag != after.etag


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://here", {"endpoint_url": "https://here", "secret": "hunter2"}),
        ("s3://here", {"client_kwargs": {"AWS_Secret_Access_Key": "hunter2"}}),
        ("s3://me:hunter2@here", {}),
    ],
)
def test_secrets_are_refused_without_repeating_them(url, options):
    with pytest.raises(ConfigurationError) as caught:
        refuse_secrets(url, options, "[archive]")
    assert "hunter2" not in str(caught.value)


def test_an_unknown_scheme_names_the_url():
    with pytest.raises(ConfigurationError, match="nonsense://here"):
        list(Archive("nonsense://here").objects())
    with pytest.raises(ConfigurationError, match="nonsense://here"):
        Workspace("nonsense://here").names("a")
