"""The mean of the last weights, and its batch norms."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chajong.progress import Interrupted
from chajong.recipe_train import Swa, Train
from chajong.training.average import NUM_PHOTOS, TailMean, make_average, measure_norms
from chajong.training.precision import autocast
from tests.training.test_going_on import ringing
from tests.training.tiny import CPU, assert_same_weights, final, make_fit, make_recipe


def test_it_is_the_plain_mean_of_the_weights_after_the_last_steps(tmp_path: Path) -> None:
    # 3 batches an epoch and 4 epochs: the mean is over the last 6 of 12 steps.
    fit = make_fit(tmp_path, make_recipe(train_swa=Swa(last=0.5), train_epochs=4))
    seen: list[Tensor] = []
    update = fit.update

    def watched() -> None:
        update()
        seen.append(fit.network.state_dict()["fc.weight"].clone())

    fit.update = watched  # type: ignore[method-assign]
    history = fit.run()
    assert len(seen) == 12
    states = fit.states()
    torch.testing.assert_close(states["ema"]["fc.weight"], torch.stack(seen[6:]).mean(dim=0))
    for entry in history:
        assert entry["log_loss"] == entry["log_loss_ema"]
    # Before its time it is a copy; after, it is not.
    assert history[1]["log_loss_ema"] == history[1]["log_loss_raw"]
    assert history[3]["log_loss_ema"] != history[3]["log_loss_raw"]


def test_steps_of_several_batches_count_once(tmp_path: Path) -> None:
    recipe = make_recipe(train_swa=Swa(last=0.5), train_epochs=4, optim_accumulate=2)
    average = make_fit(tmp_path, recipe).average
    assert isinstance(average, TailMean)
    assert average.after == 4  # 2 steps an epoch


def test_batch_norms_are_those_of_the_mean(tmp_path: Path) -> None:
    fit = make_fit(tmp_path, make_recipe(train_swa=Swa(last=1.0), train_epochs=2))
    fit.run()
    assert fit.average is not None
    norms = [n for n, m in fit.network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(fit.fold.train) < NUM_PHOTOS  # so every batch of the last epoch was seen
    # The first norm's input hangs on one convolution: worked out by hand.
    average, first = fit.average.module, norms[0]
    outputs: list[Tensor] = []
    conv = average.get_submodule("conv1.0")
    hook = conv.register_forward_hook(lambda *given: outputs.append(given[2].detach()))
    fit.at.epoch = 1
    for step in range(fit.batches.num_steps):
        average(fit.see(step, *fit.batches.load(1, step), size_px=32)[0])
    hook.remove()
    means = torch.stack([out.mean(dim=(0, 2, 3)) for out in outputs]).mean(dim=0)
    variances = torch.stack([out.var(dim=(0, 2, 3)) for out in outputs]).mean(dim=0)
    norm: Any = average.get_submodule(first)
    torch.testing.assert_close(norm.running_mean, means, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, variances, atol=1e-5, rtol=1e-3)
    raw: Any = fit.network.get_submodule(first)
    assert not torch.allclose(raw.running_mean, norm.running_mean, atol=1e-4)
    assert norm.momentum == raw.momentum == 0.1
    assert not average.training


def test_frozen_norms_stay_as_they_are() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3).eval(), nn.BatchNorm2d(3).train())
    average: Any = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    measure_norms(average, network, [torch.randn(4, 3, 2, 2) + 5] * 2, autocast(CPU, "fp32"))
    assert average[0].running_mean.tolist() == [0, 0, 0]
    assert (average[1].running_mean > 4).all()


def test_photos_are_augmented_in_full_precision() -> None:
    average = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    seen: list[torch.dtype] = []
    average[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))

    def augmented() -> Iterator[Tensor]:
        for _ in range(2):
            assert not torch.is_autocast_enabled("cpu")
            yield torch.randn(4, 3, 2, 2)

    measure_norms(average, average.train(), augmented(), autocast(CPU, "bf16"))
    assert seen == [torch.bfloat16] * 2


def test_networks_without_batch_norm_are_not_asked() -> None:
    network = nn.Linear(2, 2)

    batches = iter([torch.zeros(1, 2)])
    measure_norms(network, network, batches, autocast(CPU, "fp32"))
    assert next(batches, None) is not None


@pytest.mark.parametrize("step", [2, 5, 8, 11])
def test_it_goes_on_bit_by_bit(step: int, tmp_path: Path) -> None:
    recipe = make_recipe(train_swa=Swa(last=0.5), train_epochs=4)
    wanted = final(make_fit(tmp_path / "whole", recipe))
    with pytest.raises(Interrupted):
        ringing(make_fit(tmp_path / "parts", recipe), step).run()
    found = final(make_fit(tmp_path / "parts", recipe))
    assert found[0] == wanted[0]
    assert_same_weights(found[1], wanted[1])
    assert np.isfinite(found[0][-1]["log_loss"])


def test_the_last_step_counts_in_the_shortest_tail() -> None:
    network = nn.Linear(2, 2)
    average = make_average(network, Train(swa=Swa(last=0.01)), 10)
    assert isinstance(average, TailMean)
    assert average.get_decay(9) == average.get_decay(10) == 0
    assert average.after == 9
