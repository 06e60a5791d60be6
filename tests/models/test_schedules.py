import pytest
import torch

from nightsift.models.freezing import freeze
from nightsift.models.networks import build
from nightsift.models.schedules import optimizer, schedule
from nightsift.models.settings import StageConfig, TrainingConfig


def rates(stage, epoch_steps, rate=1.0):
    of = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], rate)
    course, seen = schedule(of, stage, epoch_steps), []
    for _ in range(stage.total(epoch_steps)):
        seen.append(of.param_groups[0]["lr"])
        of.step()
        course.step()
    return seen


def test_cosine_restarts_grow():
    seen = rates(StageConfig(epochs=7, schedule="cosine-restarts", first_cycle=1, cycle_growth=2), 10)
    assert [step for step, rate in enumerate(seen) if rate == 1.0] == [0, 10, 30]
    assert seen[29] < 0.01


def test_one_cycle_rises_and_falls():
    seen = rates(StageConfig(steps=100, warm_up=0.3), 1)
    assert seen.index(max(seen)) == pytest.approx(30, abs=1)
    assert max(seen) == pytest.approx(1.0)
    assert seen[-1] < seen[0] < 0.1


def test_the_first_layers_learn_more_slowly_and_frozen_ones_not_at_all():
    network = build("resnet18", 2)
    stage, settings = StageConfig(steps=1, first_layers_rate=0.01), TrainingConfig(optimizer="adam")
    found = optimizer(network, stage, settings, 0.003)
    assert [group["lr"] for group in found.param_groups] == pytest.approx([3e-5, 3e-4, 3e-3])
    freeze(network, 0, body=True)
    alone = optimizer(network, stage, settings, 0.003)
    assert [group["lr"] for group in alone.param_groups] == [0.003]
    assert type(alone) is torch.optim.Adam
