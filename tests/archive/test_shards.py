from itertools import pairwise

import numpy as np
import pytest
import zarr
from numcodecs import PackBits, Zstd
from zarr.codecs import ZstdCodec
from zarr.codecs import numcodecs as filters

from nightsift.archive import shards
from nightsift.archive.errors import StorageError
from nightsift.archive.faults import storage_errors
from nightsift.archive.kernels import risen
from nightsift.archive.shards import LZ4, ZSTD, ChunkWriter, FrameWriter, compress, packed_bits
from nightsift.archive.stores import Workspace

SHAPE = (13, 21)


def make(workspace, name="bits", length=1, shard=4):
    return zarr.open_group(workspace.zarr("night.zarr"), mode="a").create_array(
        name,
        shape=(length, *SHAPE),
        chunks=(1, *SHAPE),
        shards=(shard, *SHAPE),
        dtype=bool,
        filters=[filters.PackBits()],
        compressors=[ZstdCodec(level=1)],
    )


def reread(workspace, name="bits"):
    return zarr.open_group(workspace.zarr("night.zarr", read_only=True), mode="r")[name]


def encode(image):
    return compress(PackBits().encode(image))


@pytest.fixture(params=["folder", "bucket"])
def workspace(request, tmp_path):
    if request.param == "folder":
        return Workspace(str(tmp_path / "workspace"))
    return Workspace(f"{request.getfixturevalue('bucket')('shards').url}/prefix")


@pytest.mark.parametrize("count", [0, 1, 4, 11])
def test_chunks_read_as_the_images_they_were_made_from(workspace, count):
    images = np.random.default_rng(0).random((count, *SHAPE)) < 0.2
    writer = ChunkWriter(make(workspace), 4)
    for image in images:
        writer.append(encode(image))
    writer.close()
    found = reread(workspace)
    assert found.shape == (count, *SHAPE)
    assert np.array_equal(found[:], images)
    if count == 11:
        assert np.array_equal(found[6], images[6])
        assert np.array_equal(found[2:7], images[2:7])


def test_missing_chunks_read_as_the_fill_value(workspace):
    image = np.ones(SHAPE, bool)
    writer = ChunkWriter(make(workspace), 4)
    for number in range(12):
        if number in (1, 10, 11):
            writer.append(encode(image))
        else:
            writer.append_empty()
    writer.close()
    assert reread(workspace)[:].all(axis=(1, 2)).nonzero()[0].tolist() == [1, 10, 11]
    shards = [name for name in workspace.names("night.zarr") if "/c/" in name]
    assert shards == ["night.zarr/bits/c/0/0/0", "night.zarr/bits/c/2/0/0"]


def test_a_shard_is_what_zarr_would_have_written(tmp_path):
    """Byte for byte, with the compression of the array's own codec."""
    workspace = Workspace(str(tmp_path / "workspace"))
    images = np.random.default_rng(0).random((7, *SHAPE)) < 0.2
    make(workspace, "theirs", 7)[:] = images
    codec = (
        filters.PackBits().to_dict()
    )  # named in the metadata, so that the test fails if the format changes
    assert codec["name"] == "numcodecs.packbits"
    writer = ChunkWriter(make(workspace, "ours"), 4)
    for image in images:
        writer.append(Zstd(level=1).encode(PackBits().encode(image)))
    writer.close()
    for number in range(2):
        theirs, ours = (workspace.read(f"night.zarr/{name}/c/{number}/0/0") for name in ("theirs", "ours"))
        assert sorted(theirs) == sorted(ours)  # zarr may order the chunks in another way
        assert len(theirs) == len(ours)


def test_a_shard_that_cannot_be_written_is_a_fault_of_the_store(tmp_path):
    workspace = Workspace(str(tmp_path / "workspace"))
    array = make(workspace)
    (tmp_path / "workspace" / "night.zarr" / "bits" / "c").write_bytes(b"in the way")
    writer = ChunkWriter(array, 4)
    for _ in range(5):
        writer.append(encode(np.ones(SHAPE, bool)))
    with pytest.raises(StorageError), storage_errors(workspace.url):
        writer.close()


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.08, 0.5])
def test_noise_is_hardly_larger_than_at_level_one(share):
    bits = np.packbits(np.random.default_rng(0).random((976, 1304)) < share)
    compressed = compress(bits)
    assert bytes(Zstd().decode(compressed)) == bits.tobytes()
    assert len(compressed) <= 1.02 * len(Zstd(level=1).encode(bits)) + 1200


def test_compression_does_without_what_zstd_may_take_away(monkeypatch):
    monkeypatch.setattr(shards, "_IN_STRIDES", {999_999: 1})
    monkeypatch.setattr(shards, "_COMPRESSOR", shards._Compressor())
    bits = np.packbits(np.random.default_rng(0).random((976, 1304)) < 0.08)
    assert bytes(Zstd().decode(compress(bits))) == bits.tobytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("encoding", [ZSTD, LZ4])
def test_frames_read_as_they_were(tmp_path, encoding, dtype):
    workspace = Workspace(str(tmp_path / "workspace"))
    group = zarr.create_group(workspace.zarr("night.zarr"))
    frames = np.random.default_rng(0).integers(0, 9, (3, 48, 64)).astype(dtype)
    sizes = {"shape": (3, 48, 64), "chunks": (1, 48, 64), "shards": (3, 48, 64), "dtype": dtype}
    for name in ("theirs", "ours"):
        group.create_array(name, **sizes, compressors=[encoding.compressor])
    group["theirs"][:] = frames
    writer = FrameWriter(ChunkWriter(group["ours"], 3), encoding.encode)
    for frame in frames:
        writer.append(frame)
    writer.close()
    assert np.array_equal(reread(workspace, "ours")[:], frames)
    if encoding is LZ4:
        theirs, ours = (workspace.read(f"night.zarr/{name}/c/0/0/0") for name in ("theirs", "ours"))
        assert sorted(theirs) == sorted(ours)


def test_what_rose_is_written_without_unpacking_it(tmp_path):
    workspace = Workspace(str(tmp_path / "workspace"))
    encoding = packed_bits()
    writer = FrameWriter(ChunkWriter(make(workspace), 4), encoding.encode)
    frames = np.random.default_rng(0).integers(0, 9, (6, *SHAPE)).astype(np.uint8)
    writer.append_empty()
    for previous, current in pairwise(frames):
        writer.append(risen(current, previous, 3.5).bits)
    writer.close()
    rises = np.diff(frames.astype(int), axis=0) > 3
    assert np.array_equal(reread(workspace)[:], [np.zeros(SHAPE, bool), *rises])
