"""One contract for every workspace and every archive, whatever holds it."""

import errno
import os
import pickle
import tarfile
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest

from nightsift.archive.errors import ConfigurationError, NightsiftError, StorageError
from nightsift.archive.layouts import explain
from nightsift.archive.retries import Retries
from nightsift.archive.stations import Stations
from nightsift.archive.stores import Archive, Workspace, refuse_secrets
from tests.servers.sftp import PASSWORD


def test_what_is_written_is_listed_and_read(workspace):
    assert workspace.names("a") == []
    workspace.write("a/2", b"two")
    workspace.write("a/1", b"one")
    workspace.write("ab/3", b"three")
    assert workspace.names("a") == ["a/1", "a/2"]
    assert workspace.read("a/2") == b"two"
    workspace.write("a/2", b"again")
    assert workspace.read("a/2") == b"again"
    assert workspace.size("a/2") == 5


def test_slices_of_objects(workspace):
    workspace.write("a", b"0123456789")
    assert workspace.read("a", 2, 5) == b"234"
    assert workspace.read("a", 7) == b"789"
    assert workspace.read("a", -2) == b"89"
    assert workspace.read("a", 8, 100) == b"89"
    workspace.write("empty", b"")
    assert workspace.read("empty", 0, 5) == b""


def test_what_is_absent_is_not_found(workspace):
    workspace.write("a/1", b"one")
    for ask in (workspace.read, workspace.size):
        for key in ("a/9", "b/1"):
            with pytest.raises(FileNotFoundError):
                ask(key)


def test_deleting_is_complete_and_forgiving(workspace):
    for key in ("tree/x/1", "tree/y", "treehouse/1"):
        workspace.write(key, b".")
    workspace.delete(["tree/y", "tree/never"])
    assert workspace.names("tree") == ["tree/x/1"]
    workspace.delete_tree("tree")
    workspace.delete_tree("tree")
    assert workspace.names("tree") == []
    assert workspace.names("treehouse") == ["treehouse/1"]


def test_many_objects_are_listed_and_deleted(workspace):
    keys = [f"many/{number:03}" for number in range(120)]
    for key in keys:
        workspace.write(key, b"")
    assert workspace.names("many") == keys
    workspace.delete_tree("many")
    assert workspace.names("") == []


def test_an_unfinished_write_is_no_object(workspace):
    for key in ("a/1", "a/2.part"):
        workspace.write(key, b"one")
    if "://" not in workspace.url:
        Path(workspace.url, "a/3#1").write_bytes(b"hal")
    assert workspace.names("a") == ["a/1"]
    workspace.delete_tree("a")
    with suppress(StorageError):  # a folder that never held anything else is gone with it
        assert list(Archive(workspace.url, workspace.options).objects()) == []


def test_a_zarr_store_touches_nothing_above_itself(workspace):
    import zarr

    group = zarr.create_group(workspace.zarr("frames/A/night.zarr"))
    group.create_array("x", shape=(3,), dtype="uint8")[:] = 7
    assert all(key.startswith("frames/A/night.zarr/") for key in workspace.names("frames"))
    opened = zarr.open_group(workspace.zarr("frames/A/night.zarr", read_only=True), mode="r")
    assert opened["x"][:].tolist() == [7, 7, 7]
    with pytest.raises(FileNotFoundError):
        zarr.open_group(workspace.zarr("frames/A/other.zarr", read_only=True), mode="r")


def test_stores_travel_to_workers_without_their_connections(workspace):
    workspace.write("a", b"one")
    packed = pickle.dumps((workspace, Archive(workspace.url, workspace.options)))
    assert PASSWORD.encode() not in packed
    assert b"secret" not in packed
    for store in pickle.loads(packed):
        assert store.url == workspace.url
    assert pickle.loads(packed)[0].read("a") == b"one"


NAMES = ("SIM/a.jpg", "SIM/b [1].jpg", "SIM/ü/日本.jpg", "SIM/c%20d+e#f.jpg", "SIMON/x.jpg")


@pytest.fixture
def archive(workspace):
    """An archive of the same kind, with objects whose names are odd and whose bytes are their names."""
    for name in NAMES:
        workspace.write(name, name.encode())
    return Archive(workspace.url, workspace.options)


def test_an_archive_is_listed_with_its_odd_names(archive):
    found = list(archive.objects())
    assert [item.key for item in found] == sorted(NAMES)
    assert [item.size for item in found] == [len(name.encode()) for name in sorted(NAMES)]
    assert found == list(archive.objects())
    assert all(item.etag for item in found)


def test_objects_and_parts_of_them_come_in_order(archive):
    keys = [*NAMES, *reversed(NAMES)]
    assert archive.fetch(keys) == [key.encode() for key in keys]
    starts = [number % 5 for number in range(len(keys))]
    expected = [key.encode()[start : start + 100] for start, key in zip(starts, keys, strict=True)]
    assert archive.fetch_ranges(keys, starts, [start + 100 for start in starts]) == expected


def test_an_object_that_is_gone_is_named(archive):
    for ask in (lambda key: archive.fetch([NAMES[0], key]), archive.open):
        with pytest.raises(NightsiftError, match=r"SIM/gone\.jpg was listed but cannot be read") as caught:
            ask("SIM/gone.jpg")
        assert not isinstance(caught.value, StorageError)


def test_an_object_is_read_as_a_file(workspace, tmp_path):
    content = os.urandom(5 * 2**20)
    (tmp_path / "x").write_bytes(content)
    with tarfile.open(tmp_path / "night.tar", "w") as tar:
        tar.add(tmp_path / "x", "first")
        tar.add(tmp_path / "x", "second")
    workspace.write("night.tar", (tmp_path / "night.tar").read_bytes())
    with Archive(workspace.url, workspace.options).open("night.tar") as file:
        assert file.seek(0, os.SEEK_END) == (tmp_path / "night.tar").stat().st_size
        assert file.read(1) == b""
        file.seek(0)
        with tarfile.open(fileobj=file) as tar:
            assert tar.getnames() == ["first", "second"]
            assert tar.extractfile("second").read() == content


def test_an_archive_that_is_not_there(workspace):
    if workspace.url.startswith("s3://"):
        pytest.skip("a prefix without objects is an empty archive; of buckets see test_bad_input")
    with pytest.raises(StorageError, match="there is nothing at this url"):
        list(Archive(workspace.url + "/nowhere", workspace.options).objects())


def test_an_archive_is_the_same_in_a_folder_and_in_a_bucket(simulated, bucket):
    place = bucket("archive")
    place.upload(simulated.archive)
    folder, remote = Archive(str(simulated.archive)), Archive(place.url)
    keys = [item.key for item in folder.objects()]
    assert keys == [item.key for item in remote.objects()] == simulated.keys()
    assert [item.size for item in folder.objects()] == [item.size for item in remote.objects()]
    assert folder.fetch(keys[:5]) == remote.fetch(keys[:5])


def test_names_that_only_s3_knows_are_found_and_read(s3, common_bucket):
    """Keys that no path can be, with empty parts, dots and control characters, and a page of plain ones."""
    filesystem = fsspec.filesystem("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    keys = [
        "a/b//c.jpg",
        "a/../d.jpg",
        "a/./e.jpg",
        "new\nline.jpg",
        *(f"plain/{n:04}.jpg" for n in range(1100)),
    ]
    for key in keys:
        filesystem.call_s3("put_object", Bucket=common_bucket, Key=f"odd/{key}", Body=key.encode())
    archive = Archive(f"s3://{common_bucket}/odd")
    assert [item.key for item in archive.objects()] == sorted(keys)
    assert archive.fetch(keys[:6]) == [key.encode() for key in keys[:6]]
    assert archive.open(keys[0]).read() == keys[0].encode()


def test_links_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / "archive" / "A").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.jpg").write_bytes(b"one")
    (tmp_path / "archive" / "B").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "archive" / "A" / "up").symlink_to(tmp_path / "archive")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "archive" / "A" / "itself").symlink_to(tmp_path / "archive" / "A" / "itself")
    os.mkfifo(tmp_path / "archive" / "A" / "pipe.jpg")
    archive = Archive(str(tmp_path / "archive"))
    assert [item.key for item in archive.objects()] == ["A/itself", "B/x.jpg"]
    assert archive.fetch(["B/x.jpg"]) == [b"one"]


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A folder in which ``lost+found`` may not be read, which root could."""
    for name in ("A/x.jpg", "lost+found/y.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"one")
    (tmp_path / "lost+found").chmod(0)
    scandir = os.scandir

    def refusing(path):
        if not Path(path).stat().st_mode & 0o400:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    yield tmp_path
    (tmp_path / "lost+found").chmod(0o700)


def test_a_locked_folder_is_told_and_costs_an_archive_nothing_else(locked):
    keys = [item.key for item in Archive(str(locked)).objects()]
    assert keys == ["A/x.jpg", "lost+found/(unreadable folder)"]
    (why,) = explain(keys[1], Stations((), "stations.toml"))
    assert "give the permission" in why


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize(
    "list_it",
    [lambda url: list(Archive(url + "/lost+found").objects()), lambda url: Workspace(url).names("")],
)
def test_a_locked_store_asks_for_the_permission_and_no_credentials(locked, scheme, list_it):
    with pytest.raises(StorageError, match="give this user the permission") as caught:
        list_it(f"{scheme}{locked}")
    assert "AWS" not in str(caught.value)
    assert "credentials" not in str(caught.value)


def test_a_replaced_file_has_another_tag(tmp_path):
    (tmp_path / "x").write_bytes(b"one")
    (before,) = Archive(str(tmp_path)).objects()
    (tmp_path / "x").write_bytes(b"two")
    (after,) = Archive(str(tmp_path)).objects()
    assert before.etag != after.etag


@pytest.mark.parametrize("workspace", ["sftp"], indirect=True)
def test_a_connection_that_was_cut_is_made_again(workspace, sftp):
    workspace.write("a", b"one")
    counted = workspace.counted(Retries())
    sftp.drop()
    assert counted.read("a") == b"one"
    assert counted.retries.number > 0
    assert workspace.retries.number == 0


@pytest.mark.parametrize("workspace", ["sftp"], indirect=True)
def test_a_wrong_password_stops_at_once(workspace, monkeypatch):
    monkeypatch.setitem(fsspec.config.conf["sftp"], "password", "hunter2")
    with pytest.raises(StorageError, match="the store refuses these credentials") as caught:
        workspace.names("a")
    assert "hunter2" not in str(caught.value)
    assert workspace.retries.number == 0


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://here", {"endpoint_url": "https://here", "secret": "hunter2"}),
        ("s3://here", {"client_kwargs": {"AWS_Secret_Access_Key": "hunter2"}}),
        ("s3://me:hunter2@here", {}),
        ("s3://here", {"endpoint_url": "https://me:hunter2@here"}),
        ("https://here/archive?sig=hunter2", {}),
        ("sftp://here", {"password": "hunter2"}),
        ("webdav://here", {"auth": ["me", "hunter2"]}),
        ("s3://here", {"endpoint_url": "http://me:hunter2@here:9000"}),
        ("s3://here", {"endpoint_url": "http://me:hun/ter2hunter2@here"}),
        ("s3://here", {"client_kwargs": {"proxies": [{"http": "http://hunter2@here"}]}}),
        ("s3://here", {"endpoint_url": "https://here/?token=hunter2"}),
        ("s3://me:hunter2@[here", {}),
    ],
)
def test_secrets_are_refused_without_repeating_them(url, options):
    with pytest.raises(ConfigurationError) as caught:
        refuse_secrets(url, options, "[archive]")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["sftp://observer@here/archive", "abfs://container@account/archive", "sftp://here:22/home/me@here"]
)
def test_a_name_in_a_url_is_no_secret(url):
    refuse_secrets(url, {"target": url, "endpoint_url": "http://here:9000"}, "[archive]")


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://", {}),
        ("s3:///prefix", {}),
        ("s3://two words/prefix", {}),
        ("s3://here", {"endpoint_url": "here"}),
        ("s3://here", {"endpoint_url": "https://two words"}),
        ("s3://here", {"client_kwargs": {"endpoint_url": "https://two words"}}),
        ("s3://here", {"client_kwargs": 5}),
        ("s3://here", {"read_timeout_s": "soon"}),
        ("s3://here", {"read_timeout_s": -1}),
        ("s3://here", {"nonsense": True}),
        ("sftp://127.0.0.1/here", {"nonsense": True}),
    ],
)
def test_what_cannot_lead_to_a_store_is_refused(s3, url, options):
    for ask in (Workspace(url, tuple(options.items())).names, Archive(url, tuple(options.items())).open):
        with pytest.raises(ConfigurationError, match="mend: "):
            ask("a")


def test_an_unknown_scheme_names_the_url():
    with pytest.raises(ConfigurationError, match="nonsense://here"):
        list(Archive("nonsense://here").objects())
    with pytest.raises(ConfigurationError, match="nonsense://here"):
        Workspace("nonsense://here").names("a")
