import hashlib
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import simplejpeg
import zarr

from nightsift.archive.formats.jpeg import decode_gray
from nightsift.archive.jpeg_chunks import JpegCodec, add_jpeg_array
from nightsift.archive.stores import Workspace

OPEN_WITH_XARRAY = """
import hashlib, sys, warnings
import xarray
warnings.simplefilter("error")
frame = xarray.open_zarr(sys.argv[1], consolidated=True).frame
print(frame.dims, frame.dtype, frame.shape, hashlib.sha256(frame.values.tobytes()).hexdigest())
"""


def gray_jpeg(seed, shape):
    return encoded(np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8))


def encoded(image, *options):
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 93, *options])[1].tobytes()


def colour_jpegs(count, shape):
    random = np.random.default_rng(1)
    samplings = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    )
    for number in range(count):
        image = random.integers(0, 255, (*shape, 3), dtype=np.uint8)
        yield encoded(image, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, samplings[number % 3])


@pytest.fixture(params=["folder", "bucket"])
def workspace(request, tmp_path):
    if request.param == "folder":
        return Workspace(str(tmp_path / "workspace"))
    return Workspace(f"{request.getfixturevalue('bucket')('jpeg').url}/prefix")


def write(workspace, files, shape, shard=4):
    store = workspace.zarr("night.zarr")
    group = zarr.create_group(store)
    writer = add_jpeg_array(
        group, "frame", length=1, frame_shape=shape, shard=shard, attributes={"units": "1"}
    )
    for file in files:
        writer.append(file)
    writer.close()
    with pytest.warns(UserWarning, match="Consolidated metadata"):
        zarr.consolidate_metadata(store)
    return zarr.open_group(workspace.zarr("night.zarr", read_only=True), mode="r")["frame"]


def test_frames_read_as_the_decoder_reads_the_files(workspace):
    shape = (37, 53)
    files = [gray_jpeg(0, shape), *colour_jpegs(9, shape)]
    frames = write(workspace, files, shape)
    expected = np.stack([decode_gray(file) for file in files])
    assert np.array_equal(frames[:], expected)
    assert np.array_equal(frames[5], expected[5])
    assert np.array_equal(frames[2:7, 10:20, 3:4], expected[2:7, 10:20, 3:4])


def test_the_bytes_of_the_camera_are_kept(workspace):
    files = list(colour_jpegs(6, (32, 48)))
    write(workspace, files, (32, 48))
    shards = [workspace.read(f"night.zarr/frame/c/{number}/0/0") for number in (0, 1)]
    assert shards[0].startswith(b"".join(files[:4]))
    assert shards[1].startswith(b"".join(files[4:]))


def test_another_process_opens_it_with_xarray_alone(workspace):
    files = list(colour_jpegs(6, (32, 48)))
    write(workspace, files, (32, 48))
    expected = hashlib.sha256(np.stack([decode_gray(file) for file in files]).tobytes()).hexdigest()
    command = [sys.executable, "-c", OPEN_WITH_XARRAY, f"{workspace.url}/night.zarr"]
    said = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert said.stdout.split(") ", 1)[-1].strip() == f"uint8 (6, 32, 48) {expected}", said.stderr
    assert said.stdout.startswith("('time', 'y', 'x')")


def test_real_frames_read_as_the_decoder_reads_them(tmp_path, shared):
    files = [path.read_bytes() for path in sorted((shared / "nights/UK0006/20220914").glob("*.jpg"))[:25]]
    expected = np.stack([decode_gray(file) for file in files])
    frames = write(Workspace(str(tmp_path / "workspace")), files, expected.shape[1:], shard=20)
    assert np.array_equal(frames[:], expected)


def test_colour_is_kept_in_the_same_way(tmp_path):
    files = list(colour_jpegs(3, (32, 48)))
    store = Workspace(str(tmp_path / "workspace")).zarr("night.zarr")
    dims = ("y", "x", "channel")
    writer = add_jpeg_array(
        zarr.create_group(store),
        "colour",
        length=3,
        frame_shape=(32, 48, 3),
        dims=dims,
        shard=2,
        attributes={},
    )
    for file in files:
        writer.append(file)
    writer.close()
    expected = np.stack([simplejpeg.decode_jpeg(file, colorspace="RGB") for file in files])
    assert np.array_equal(zarr.open_group(store, mode="r")["colour"][:], expected)


def test_pixels_are_refused_rather_than_encoded_again(tmp_path):
    store = Workspace(str(tmp_path / "workspace")).zarr("night.zarr")
    group = zarr.create_group(store)
    writer = add_jpeg_array(group, "frame", length=4, frame_shape=(8, 8), shard=2, attributes={})
    with pytest.raises(NotImplementedError, match="drop the encoding"):
        writer.array[:] = 1


def test_metadata_that_asks_for_more_is_refused():
    assert JpegCodec.from_dict(JpegCodec("RGB").to_dict()) == JpegCodec("RGB")
    for configuration in ({}, {"colorspace_data": "CMYK"}, {"colorspace_data": "RGB", "level": 90}):
        with pytest.raises(ValueError, match="imagecodecs-zarr"):
            JpegCodec.from_dict({"name": "imagecodecs_jpeg", "configuration": configuration})
