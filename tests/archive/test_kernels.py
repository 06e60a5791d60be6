"""Against the plain definitions, on small frames of all shapes and on what is hard for the fast ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import PackBits

from nightsift.archive import kernels
from nightsift.archive.kernels import Sample, risen


def plain_rise(current, previous, sky):
    change = current.astype(np.int64) - previous
    return np.where(True if sky is None else sky, np.maximum(change, 0), 0)


def plain_blocks(image, size=16):
    return [
        [int(image[y : y + size, x : x + size].max()) for x in range(0, image.shape[1], size)]
        for y in range(0, image.shape[0], size)
    ]


def plain_sample(image, sky):
    if sky is None:
        return image[::4, ::4].ravel()
    thinned = sky[::4, ::4]
    return image[::4, ::4][thinned] if thinned.any() else image[sky]


def plain_noise(current, previous, sky):
    change = plain_sample(current, sky).astype(np.int64) - plain_sample(previous, sky)
    levels, counts = np.unique(change, return_counts=True)
    cumulative = (np.cumsum(counts) - counts / 2) / change.size
    low, high = np.interp((0.158655, 0.841345), cumulative, levels)
    return (high - low) / 2


@st.composite
def pairs(draw):
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    shape = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    top = int(draw(st.sampled_from([1, 4, 40, 255, np.iinfo(dtype).max])))
    top = min(top, int(np.iinfo(dtype).max))
    current, previous = random.integers(0, top, (2, *shape), endpoint=True).astype(dtype)
    if draw(st.booleans()):
        previous = np.where(random.random(shape) < 0.8, current, previous)
    share = draw(st.sampled_from([None, 0.01, 0.5, 0.95]))
    sky = None if share is None else random.random(shape) < share
    return current, previous, sky if sky is not None and sky.any() else None


@given(pairs(), st.sampled_from([0, 3.5, 20, 300.2, 70000]))
def test_what_rose_is_exactly_what_the_definition_says(pair, threshold):
    current, previous, sky = pair
    expected = plain_rise(current, previous, sky)
    found = risen(current, previous, threshold, sky)
    assert bytes(found.bits) == bytes(PackBits().encode(expected > np.floor(threshold)))
    assert found.blocks.dtype == current.dtype
    assert found.blocks.tolist() == plain_blocks(expected)


@given(pairs())
def test_brightness_and_noise_are_exactly_what_the_definitions_say(pair):
    current, previous, sky = pair
    now, before = Sample.of(current, sky), Sample.of(previous, sky)
    assert now.median() == np.median(plain_sample(current, sky))
    assert now.noise(before) == plain_noise(current, previous, sky)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_frames_of_several_strips(dtype):
    random = np.random.default_rng(0)
    current, previous = random.integers(0, 50, (2, 1001, 1303)).astype(dtype)
    assert current.nbytes > 2 * kernels._STRIP_BYTES
    expected = plain_rise(current, previous, None)
    found = risen(current, previous, 3.5)
    assert bytes(found.bits) == bytes(PackBits().encode(expected > 3))
    assert found.blocks.tolist() == plain_blocks(expected)


def test_noise_of_changes_that_do_not_fit_a_byte():
    """Day breaks between two frames: most changes are larger than the fast way counts."""
    current = np.full((64, 64), 250, np.uint8)
    previous = np.random.default_rng(0).integers(0, 100, (64, 64)).astype(np.uint8)
    assert Sample.of(current).noise(Sample.of(previous)) == plain_noise(current, previous, None)
    assert Sample.of(previous).noise(Sample.of(current)) == plain_noise(previous, current, None)
