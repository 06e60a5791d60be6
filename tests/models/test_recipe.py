import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightsift.models.recipe import RECIPES, Recipe

SHAPES = [(976, 1304), (180, 320), (224, 224), (301, 100)]


def plain_opencv(version, current, previous):
    """Steps 3 to 5 of guAIta, as its author wrote them with OpenCV."""
    _, picture = cv2.threshold(cv2.subtract(current, previous), 3.5, 255, cv2.THRESH_BINARY)
    height, width = picture.shape
    if version in ("regordosa-v1", "regordosa-v2"):
        side = max(height, width)
        square = np.zeros((side, side), np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = picture
        picture = square
    nearest = version in ("regordosa-v2", "regordosa-v3")
    return cv2.resize(picture, (224, 224), interpolation=cv2.INTER_NEAREST if nearest else cv2.INTER_AREA)


@pytest.mark.parametrize("version", RECIPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_resize_is_bit_identical_to_plain_opencv(version, shape):
    rng = np.random.default_rng(3)
    previous, current = rng.integers(0, 30, (2, *shape), np.uint8)
    difference = current.astype(int) - previous >= 4
    assert np.array_equal(RECIPES[version].resize(difference), plain_opencv(version, current, previous))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_block_is_found_where_it_was_drawn(recipe, shape):
    difference = np.zeros(shape, bool)
    y_px, x_px = shape[0] // 3, shape[1] // 3
    difference[y_px - 5 : y_px + 6, x_px - 5 : x_px + 6] = True
    picture = recipe.resize(difference).astype(float)
    rows, columns = np.mgrid[0:224, 0:224]
    x = ((columns + 0.5) * picture).sum() / picture.sum() / 224
    y = ((rows + 0.5) * picture).sum() / picture.sum() / 224
    cell_px = max(shape) / 224
    tolerance = max(0.1, 0.1 * cell_px) if recipe.interpolation == "area" else cell_px
    assert np.allclose(recipe.to_frame(x, y, shape), (x_px, y_px), atol=tolerance)


@given(
    height=st.integers(2, 3000),
    width=st.integers(2, 3000),
    x=st.floats(-10, 3000),
    y=st.floats(-10, 3000),
    pad=st.sampled_from(["none", "square"]),
)
def test_positions_survive_the_round_trip(height, width, x, y, pad):
    recipe = Recipe(pad=pad)
    fractions = recipe.from_frame(np.array([x]), np.array([y]), (height, width))
    back = recipe.to_frame(*fractions, (height, width))
    assert np.allclose(np.ravel(back), (x, y), atol=1e-6)


def test_the_corners_of_a_padded_frame():
    recipe = RECIPES["regordosa-v1"]
    x, y = recipe.from_frame(np.array([-0.5, 319.5]), np.array([-0.5, 179.5]), (180, 320))
    assert np.allclose(x, (0, 1))
    assert np.allclose(y, (70 / 320, 250 / 320))
