import json

import numpy as np
import pytest
import xarray
import zarr

from nightsift.archive.drafts import SENT_AT_ONCE_BYTES, Draft
from nightsift.archive.errors import StorageError
from nightsift.archive.night_store import NightStore, ProductMissing, add_frames_array, add_series
from nightsift.archive.stores import Workspace


@pytest.fixture(params=["folder", "bucket"])
def workspace(request, tmp_path):
    if request.param == "folder":
        return Workspace(str(tmp_path / "workspace"))
    return Workspace(f"{request.getfixturevalue('bucket')('drafts').url}/prefix")


def noise(seed):
    return np.random.default_rng(seed).integers(0, 255, (200, 300), dtype=np.uint8)


def half_made(workspace):
    store = NightStore(workspace, "frames/A/night.zarr")
    group = store.create({"title": "A night"})
    writer = add_frames_array(
        group, "frame", dtype=np.uint8, length=5, frame_shape=(200, 300), shard=2, attributes={}
    )
    for number in range(5):
        writer.append(noise(number))
    writer.close()
    for number in range(30):  # as many as to make the group's metadata large
        add_series(group, f"series_{number}", range(5), {"units": "1"}, "int64")
    return store


def test_shards_are_sent_while_a_night_is_made_and_nothing_can_be_opened(workspace):
    store = half_made(workspace)
    assert workspace.names("frames") == [f"frames/A/night.zarr/frame/c/{shard}/0/0" for shard in range(3)]
    with pytest.raises(ProductMissing):
        store.open()


def test_a_finished_night_is_whole_and_opens_with_one_request(workspace):
    half_made(workspace).finish()
    group = NightStore(workspace, "frames/A/night.zarr").open()
    assert np.array_equal(group["frame"][:], [noise(number) for number in range(5)])
    assert group["series_29"][:].tolist() == [0, 1, 2, 3, 4]
    metadata = json.loads(workspace.read("frames/A/night.zarr/zarr.json"))
    assert len(metadata["consolidated_metadata"]["metadata"]) == 31
    assert len(workspace.read("frames/A/night.zarr/zarr.json")) > SENT_AT_ONCE_BYTES


def test_a_finished_night_opens_in_xarray(tmp_path):
    half_made(Workspace(str(tmp_path / "workspace"))).finish()
    opened = xarray.open_zarr(tmp_path / "workspace/frames/A/night.zarr", consolidated=True)
    assert opened.frame.dims == ("time", "y", "x")
    assert opened.frame.shape == (5, 200, 300)


def test_a_night_is_made_anew_over_what_was_left(workspace):
    half_made(workspace)
    store = NightStore(workspace, "frames/A/night.zarr")
    store.create({})
    store.finish()
    assert workspace.names("frames") == ["frames/A/night.zarr/zarr.json"]


def test_a_store_that_fails_is_told(tmp_path):
    (tmp_path / "workspace").write_bytes(b"no folder")
    group = zarr.create_group(Draft(Workspace(str(tmp_path / "workspace")), "night.zarr"))
    with pytest.raises(StorageError):
        group.create_array("x", data=noise(0))
