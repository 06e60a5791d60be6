import pytest
import torch

from nightsift.models.augment import PUBLISHED, augment


@pytest.fixture
def pictures():
    """A black picture with a white disc in its middle, and one white quarter."""
    torch.manual_seed(0)
    pictures = torch.zeros(400, 32, 32)
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    pictures[:, (x - 15.5) ** 2 + (y - 15.5) ** 2 < 36] = 1
    pictures[:, :8, :8] = 1
    return pictures


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_augmentations_turn_by_any_angle_and_cells_are_no_longer_judged(name, pictures):
    turned, cells = augment(pictures, torch.zeros(400, 1, 1, dtype=torch.long), (name,))
    assert turned.shape == pictures.shape
    assert (turned >= 0).all()
    assert (turned <= 1).all()
    assert (cells == -1).all()
    assert (turned != pictures).flatten(1).any(1).float().mean() > 0.9


def test_regordosa_neither_zooms_nor_moves(pictures):
    turned, _ = augment(pictures, torch.zeros(400, 1, 1), ("regordosa",))
    assert (turned[:, 15:17, 15:17] > 0.5).all()
    area = (turned[:, 9:23, 9:23] > 0.5).sum((1, 2)).float()
    assert area.std() < 0.03 * area.mean()


def test_what_lies_beyond_the_edge_is_a_reflection(pictures):
    """With a white picture nothing else than white can come in."""
    white, _ = augment(torch.ones(100, 32, 32), torch.zeros(100, 1, 1), ("galindo",))
    assert torch.allclose(white, torch.ones_like(white), atol=1e-5)


@pytest.mark.parametrize(("name", "corners"), [("pena-asensio", 2), ("galindo-one-side", 2), ("galindo", 4)])
def test_the_corner_goes_only_where_flips_and_angles_can_take_it(name, corners, pictures):
    turned, _ = augment(pictures, torch.zeros(400, 1, 1), (name,))
    quarters = [
        turned[:, y, x].mean(-1).mean(-1)
        for y in (slice(3), slice(-3, None))
        for x in (slice(3), slice(-3, None))
    ]
    where = torch.stack(quarters).argmax(0)
    assert len(set(where.tolist())) == corners
