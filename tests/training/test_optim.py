import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from chajong.recipe_train import AdamW, Constant, Cosine, OneCycle
from chajong.training.optim import learning_rate_factor, make_optimiser, set_learning_rate
from chajong.training.weights import empty_network
from tests.training.tiny import make_recipe

Schedule = Constant | Cosine | OneCycle


@pytest.mark.parametrize(
    ("schedule", "points"),
    [
        (Constant(), {0: 1, 5: 1, 10: 1}),
        (Constant(warmup_epochs=2), {0: 0.01, 1: 0.505, 2: 1, 9: 1}),
        (Cosine(), {0: 1, 5: 0.5, 10: 0}),
        (Cosine(final=0.2), {0: 1, 5: 0.6, 10: 0.2}),
        (Cosine(warmup_epochs=2), {0: 0.01, 1: 0.505, 2: 1, 6: 0.5, 10: 0}),
        (Cosine(warmup_epochs=10), {0: 0.01, 5: 0.505, 10: 1}),  # nothing left for the cosine
        (Cosine(warmup_epochs=40), {10: 0.2575}),
        (OneCycle(), {0: 0.04, 1.5: 0.52, 3: 1, 6.5: 0.5, 10: 0}),
        (OneCycle(peak_at=0.5, start=0, final=0.1), {0: 0, 5: 1, 7.5: 0.55, 10: 0.1}),
    ],
    ids=repr,
)
def test_schedules_at_their_key_points(schedule: Schedule, points: dict[float, float]) -> None:
    for epoch, factor in points.items():
        assert learning_rate_factor(schedule, epoch, 10) == pytest.approx(factor, abs=1e-9)


@pytest.mark.parametrize(
    "schedule", [Constant(warmup_epochs=3), Cosine(warmup_epochs=3), OneCycle()], ids=repr
)
@pytest.mark.parametrize("num_epochs", [1, 3, 10])
def test_schedules_are_smooth_and_stay_in_range(schedule: Schedule, num_epochs: int) -> None:
    values = [learning_rate_factor(schedule, i / 100, num_epochs) for i in range(num_epochs * 100)]
    assert all(0 <= value <= 1 for value in values)
    steps = [abs(b - a) for a, b in pairwise(values)]
    assert max(steps) < 0.06


def network() -> nn.Module:
    return empty_network(make_recipe().model, 3)


def test_each_group_learns_at_its_own_rate() -> None:
    optim = AdamW(lr=1e-3, layer_decay=0.5)
    optimiser = make_optimiser(network(), optim)
    lr = set_learning_rate(optimiser, optim, Cosine(), 5, 10)
    assert lr == pytest.approx(5e-4)
    rates = {group["lr"] for group in optimiser.param_groups}
    assert max(rates) == optimiser.param_groups[-1]["lr"] == pytest.approx(5e-4)
    steps = sorted(round(math.log(lr / rate, 2), 6) for rate in rates)
    assert steps == list(range(len(rates)))  # half as fast from stage to stage
    assert len(rates) > 3


def test_the_rate_reaches_the_weights() -> None:
    model, optim = network(), AdamW(lr=1e-3, weight_decay=0)
    optimiser = make_optimiser(model, optim)
    weight = next(model.parameters())
    before = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    set_learning_rate(optimiser, optim, Constant(warmup_epochs=2), 1, 10)
    optimiser.step()
    # The first step of Adam has the length of the rate.
    torch.testing.assert_close(
        before - weight, torch.full_like(weight, 0.505e-3), rtol=1e-3, atol=0
    )


def test_only_matrices_decay() -> None:
    model, optim = network(), AdamW(lr=0.1, weight_decay=0.5)
    optimiser = make_optimiser(model, optim)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_learning_rate(optimiser, optim, Constant(), 0, 10)
    optimiser.step()
    for name, parameter in model.named_parameters():
        factor = 0.95 if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)
