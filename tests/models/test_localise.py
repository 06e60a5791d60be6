import pytest
import torch

from nightsift.models.localise import bounding_box, grad_cam, peak_position
from nightsift.models.networks import build, fold_batch_norm


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    network = build("resnet18", 3)
    for module in network.modules():  # as if trained: every residual branch speaks
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(2))


def grad_cam_by_autograd(network, image, class_index):
    """Selvaraju et al. 2017, equations 1 and 2, with a hook on the last block of the whole network."""
    kept = {}
    hook = network.body.rest[-1].register_forward_hook(lambda module, args, out: kept.update(last=out))
    logits = network(image[None])
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[0, class_index], kept["last"])
    alpha = gradient.mean((2, 3), keepdim=True)
    return (alpha * kept["last"]).sum(1).relu()[0].detach()


@pytest.mark.parametrize("class_index", [0, 1, 2])
def test_the_closed_form_is_the_gradient(network, images, class_index):
    with torch.inference_mode():
        last = network.body(images)[1]
        heat = grad_cam(last, network.head.grad_cam_weights(class_index, last[0, 0].numel()))
    expected = torch.stack([grad_cam_by_autograd(network, image, class_index) for image in images])
    assert expected.max() > 0
    assert torch.allclose(heat, expected, atol=1e-5 * float(expected.max()))


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
