import pytest
import torch
from captum.attr import LayerGradCam

from nightsift.models.heads import HEADS
from nightsift.models.localise import bounding_box, heat_map, peak_position
from nightsift.models.networks import build, fold_batch_norm


def as_if_trained(head):
    """Every residual branch and every normalisation speaks."""
    torch.manual_seed(1)
    network = build("resnet18", 3, head)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def network():
    return as_if_trained("mean-max")


@pytest.fixture(scope="module")
def images():
    return torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("head", HEADS)
def test_one_pass_of_the_body_gives_the_grad_cam_of_captum_for_every_head(head, images):
    """Captum takes the gradient with hooks on the whole network."""
    network = as_if_trained(head)
    passes = []
    counting = network.body.register_forward_hook(lambda *_: passes.append(1))
    with torch.inference_mode():
        last = network.body(images)[1]
        heats = [heat_map(network.head, last, class_index) for class_index in range(3)]
    assert len(passes) == 1
    counting.remove()
    for class_index, heat in enumerate(heats):
        explained = LayerGradCam(network, network.body.rest[-1]).attribute(images, target=class_index)
        expected = explained[:, 0].relu().detach()
        assert expected.max() > 0
        assert torch.allclose(heat, expected, rtol=0, atol=1e-5 * float(expected.max()))


def test_the_heat_of_a_picture_is_the_same_in_any_company(images):
    network = as_if_trained("fastai")
    with torch.inference_mode():
        last = network.body(images)[1]
        together = heat_map(network.head, last, 0)
        alone = torch.cat([heat_map(network.head, maps[None], 0) for maps in last])
    assert torch.allclose(together, alone, atol=1e-6 * float(alone.max()))


def test_the_average_head_judges_cells_too(images):
    network = as_if_trained("average")
    with torch.inference_mode():
        last = network.body(images)[1]
        assert torch.allclose(
            network.head.cells(last)[:, :, 2, 5], network.head(last[:, :, 2:3, 5:6]), atol=1e-4
        )


def test_a_cell_is_judged_as_a_picture_of_its_own(network, images):
    with torch.inference_mode():
        last = network.body(images)[1]
        logits = network.head.cells(last)
        alone = network.head(last[:, :, 2:3, 5:6])
    assert torch.allclose(logits[:, :, 2, 5], alone, atol=1e-4)


def test_folding_batch_norm_changes_nothing_but_rounding(network, images):
    with torch.inference_mode():
        assert torch.allclose(fold_batch_norm(network)(images), network(images), atol=1e-4)


def paper_position(first, heat):
    """Peña-Asensio et al. 2023, §3.2, cell by cell."""
    activation = first.mean(0)
    best, cells = -torch.inf, []
    for row in range(activation.shape[0]):
        for column in range(activation.shape[1]):
            if (
                heat[
                    row * heat.shape[0] // activation.shape[0], column * heat.shape[1] // activation.shape[1]
                ]
                > 0
            ):
                value = float(activation[row, column])
                if value >= best:
                    cells = [*cells, (row, column)] if value == best else [(row, column)]
                    best = value
    mean = torch.tensor(cells, dtype=torch.float64).mean(0)
    return (float(mean[1]) + 0.5) / activation.shape[1], (float(mean[0]) + 0.5) / activation.shape[0]


def test_position_is_that_of_the_paper_for_each_picture_of_a_batch():
    generator = torch.Generator().manual_seed(3)
    first = torch.randint(0, 4, (16, 2, 56, 56), generator=generator).float()
    heat = torch.relu(torch.randn(16, 7, 7, generator=generator))
    x, y = peak_position(first, heat)
    expected = torch.tensor([paper_position(f, h) for f, h in zip(first, heat, strict=True)])
    assert torch.allclose(torch.stack([x, y], 1), expected, atol=1e-6)


def test_no_heat_no_position():
    x, y = peak_position(torch.rand(2, 3, 56, 56), torch.zeros(2, 7, 7))
    assert torch.isnan(torch.cat([x, y])).all()
    assert torch.isnan(bounding_box(torch.zeros(2, 7, 7, dtype=torch.bool))).all()


def test_the_box_encloses_the_cells():
    kept = torch.zeros(1, 7, 7, dtype=torch.bool)
    kept[0, 1, 2] = kept[0, 3, 4] = True
    assert torch.allclose(bounding_box(kept) * 7, torch.tensor([[2.0, 1.0, 5.0, 4.0]]))
