from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from chajong.recipe import Infer
from chajong.recipe_augment import Crop, Flip
from chajong.recipe_model import Data, Grow, Model
from chajong.recipe_train import Ema, Mix
from chajong.training.loader import Examples
from tests.training.tiny import (
    LAYER_NORM,
    assert_same_weights,
    final,
    make_examples,
    make_fit,
    make_recipe,
    weights_of,
)

# Learning


def test_it_learns_what_can_be_learnt(tmp_path: Path) -> None:
    fit = make_fit(tmp_path, make_recipe(train_epochs=4))
    history = fit.run()
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["log_loss"] < 0.5
    assert history[-1]["top1"] == 1.0
    assert fit.fold.validation is not None
    found = fit.look(fit.fold.validation, ("plain", "flip"), averaged=False)
    assert found.shape == (12, 2, 3)
    np.testing.assert_allclose(np.exp(found).sum(axis=2), 1, rtol=1e-5)
    assert (found.argmax(axis=2) == fit.fold.validation.targets[:, None]).all()


def test_the_same_training_twice_is_the_same_bit_by_bit(tmp_path: Path) -> None:
    # Chance in the network and before it, whatever the global generator did in between.
    model = Model(backbone="test_resnet", weights="none", dropout=0.3, drop_path=0.2)
    recipe = make_recipe(train_epochs=2, model=model, augment=(Crop(), Flip()), mix=Mix(mixup=0.4))
    runs = []
    for name in ("a", "b"):
        fit = make_fit(tmp_path / name, recipe)
        torch.manual_seed(ord(name))
        runs.append(final(fit))
    assert runs[0][0] == runs[1][0]
    assert_same_weights(runs[0][1], runs[1][1])


def test_the_history_says_what_was_measured(tmp_path: Path) -> None:
    recipe = make_recipe(
        data=Data(size_px=24, grow=(Grow(after=0.5, size_px=32),), eval_px=32),
        train_epochs=4,
        train_ema=Ema(),
    )
    history = make_fit(tmp_path, recipe).run()
    assert [entry["size_px"] for entry in history] == [24, 24, 32, 32]
    for entry in history:
        assert entry["lr"] == pytest.approx(3e-3)
        assert entry["photos_per_s"] > 0
        assert 0 <= entry["waiting_share"] <= 1
        assert entry["log_loss"] == entry["log_loss_ema"] != entry["log_loss_raw"]
        assert entry["top1"] == entry["top1_ema"]


def test_equal_classes_count_as_one_in_the_metric(tmp_path: Path) -> None:
    fit = make_fit(tmp_path, make_recipe(train_epochs=1), validation=make_examples(12, wrong=True))
    assert fit.run()[-1]["log_loss"] > 0.5
    fit.fold.canonical[:] = 0
    assert fit._validate()["log_loss"] < 1e-6


def test_the_averaged_and_the_raw_weights_are_both_kept(tmp_path: Path) -> None:
    fit = make_fit(tmp_path, make_recipe(train_ema=Ema(decay=0.9)))
    fit.run()
    states = fit.states()
    assert list(states) == ["raw", "ema"]
    assert any(not torch.equal(states["raw"][name], states["ema"][name]) for name in states["raw"])
    assert fit.fold.validation is not None
    raw, ema = (fit.look(fit.fold.validation, ("plain",), kind) for kind in (False, True))
    assert not np.array_equal(raw, ema)


def test_the_average_is_of_the_weights_after_each_step(tmp_path: Path) -> None:
    decay = 0.75
    fit = make_fit(tmp_path, make_recipe(train_ema=Ema(decay=decay), train_epochs=1))
    seen: list[Tensor] = []
    update = fit.update

    def watched() -> None:
        update()
        seen.append(fit.network.state_dict()["fc.weight"].clone())

    fit.update = watched  # type: ignore[method-assign]
    fit.run()
    wanted = seen[0]
    for weight in seen[1:]:
        wanted = decay * wanted + (1 - decay) * weight
    torch.testing.assert_close(fit.states()["ema"]["fc.weight"], wanted)


def test_without_an_average_only_raw_weights(tmp_path: Path) -> None:
    fit = make_fit(tmp_path, make_recipe(train_epochs=1))
    assert list(fit.states()) == ["raw"]
    assert "log_loss_ema" not in fit.run()[0]


def test_raw_weights_can_be_the_ones_that_count(tmp_path: Path) -> None:
    recipe = make_recipe(train_ema=Ema(), infer=Infer(weights="raw"), train_epochs=1)
    entry = make_fit(tmp_path, recipe).run()[0]
    assert entry["log_loss"] == entry["log_loss_raw"] != entry["log_loss_ema"]


def test_mixing_stops_where_the_recipe_says(tmp_path: Path) -> None:
    fit = make_fit(tmp_path, make_recipe(mix=Mix(mixup=1.0, until=0.5), train_epochs=4))
    for epoch, is_mixed in ((0, True), (1, True), (2, False), (3, False)):
        fit.at.epoch = epoch
        _, soft = fit.see(0, *fit.batches.load(epoch, 0), size_px=32)
        assert (soft.amax(dim=1) < 1).any().item() is is_mixed


def test_what_the_network_sees_is_normalised(tmp_path: Path) -> None:
    fit = make_fit(tmp_path, make_recipe(), mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    photos, targets = fit.batches.load(0, 0)
    x, soft = fit.see(0, photos, targets, size_px=32)
    wanted = photos[0, 3, 4] / 255
    torch.testing.assert_close(
        x[0, :, 3, 4],
        (wanted - torch.tensor([0.5, 0.25, 0])) / torch.tensor([0.5, 0.25, 1]),
        atol=1e-4,
        rtol=1e-4,
    )
    assert torch.equal(soft.argmax(dim=1), targets)


# When it ends


def against_the_truth() -> Examples:
    """The better the network, the worse it does here."""
    return make_examples(12, seed=1, wrong=True)


def test_patience_ends_it_and_the_best_epochs_weights_stay(tmp_path: Path) -> None:
    fit = make_fit(
        tmp_path / "a",
        make_recipe(train_epochs=20, train_patience=3, train_keep="best", train_ema=Ema(decay=0.5)),
        validation=against_the_truth(),
    )
    history, weights = final(fit)
    losses = [entry["log_loss"] for entry in history]
    best = int(np.argmin(losses)) + 1
    assert fit.at.best_epoch == best
    assert len(history) == best + 3 < 20
    short = make_recipe(train_epochs=best, train_ema=Ema(decay=0.5))
    stopped_then = make_fit(tmp_path / "b", short, validation=against_the_truth())
    stopped_then.run()
    assert_same_weights(weights, weights_of(stopped_then))


def test_the_last_weights_stay_if_asked_for(tmp_path: Path) -> None:
    recipe = make_recipe(train_epochs=4)
    fit = make_fit(tmp_path / "a", recipe, validation=against_the_truth())
    history, weights = final(fit)
    assert fit.at.best_epoch < len(history)
    same = make_fit(tmp_path / "b", recipe, validation=make_examples(12))
    same.run()
    assert_same_weights(weights, weights_of(same))


@pytest.mark.parametrize("ema", [None, Ema(decay=0.999)])
def test_the_head_only_phase_does_not_eat_the_patience(ema: Ema | None, tmp_path: Path) -> None:
    fit = make_fit(
        tmp_path,
        make_recipe(
            train_epochs=12, train_head_only=0.5, train_patience=2, train_ema=ema, optim_lr=1e-2
        ),
        validation=against_the_truth(),
    )
    history = fit.run()
    assert fit.head_only_epochs == 6
    assert len(history) == max(fit.at.best_epoch, 6) + 2


def test_in_the_head_only_phase_the_body_stays(tmp_path: Path) -> None:
    recipe = make_recipe(train_epochs=2, train_head_only=0.5)
    fit = make_fit(tmp_path / "a", recipe)
    before = weights_of(fit)
    bodies = []
    finish = fit._finish_epoch

    def watched(*args: Any) -> None:
        bodies.append(weights_of(fit))
        finish(*args)

    fit._finish_epoch = watched  # type: ignore[method-assign, assignment]
    fit.run()
    changed = [{n for n in before if not torch.equal(before[n], at[n])} for at in bodies]
    assert changed[0] == {"raw.fc.weight", "raw.fc.bias"}
    assert "raw.conv1.0.weight" in changed[1]


def test_without_validation_it_runs_all_epochs_and_keeps_the_last(tmp_path: Path) -> None:
    fit = make_fit(tmp_path, make_recipe(train_patience=1))
    object.__setattr__(fit.fold, "validation", None)
    history = fit.run()
    assert len(history) == 3
    assert "log_loss" not in history[0]
    assert fit.at.best is None


# Steps of the optimiser


def test_accumulating_batches_equals_one_large_batch(tmp_path: Path) -> None:
    def run(folder: str, batch_size: int, accumulate: int) -> tuple[list[float], NDArray[Any], int]:
        recipe = make_recipe(
            model=LAYER_NORM,
            train_batch_size=batch_size,
            optim_accumulate=accumulate,
            train_epochs=2,
            optim_lr=1e-3,
        )
        fit = make_fit(tmp_path / folder, recipe)
        losses = [entry["loss"] for entry in fit.run()]
        assert fit.fold.validation is not None
        return losses, fit.look(fit.fold.validation, ("plain",), False), fit.at.updates

    whole, parts = run("whole", 8, 1), run("parts", 2, 4)
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-4)
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-3)
    assert parts[2] == whole[2] == 6


def test_gradients_of_a_group_are_those_of_its_mean(tmp_path: Path) -> None:
    # 3 batches an epoch: a group of 2, then one batch that must weigh as much as a group.
    fit = make_fit(tmp_path, make_recipe(model=LAYER_NORM, train_epochs=1))
    fit.network.train()
    x, soft = fit.see(0, *fit.batches.load(0, 0), size_px=32)

    def norm(step: int, accumulate: int) -> float:
        object.__setattr__(fit.recipe.optim, "accumulate", accumulate)
        fit.optimiser.zero_grad()
        fit.learn(fit.network, step, x, soft)
        gradients = [p.grad for p in fit.network.parameters() if p.grad is not None]
        return float(torch.stack([gradient.norm() for gradient in gradients]).norm())

    whole = norm(0, 1)
    assert norm(0, 2) == pytest.approx(whole / 2, rel=1e-5)
    assert norm(1, 2) == pytest.approx(whole / 2, rel=1e-5)
    assert norm(2, 2) == pytest.approx(whole, rel=1e-5)
    assert norm(2, 7) == pytest.approx(whole / 3, rel=1e-5)


def test_an_epoch_leaves_no_gradient_to_the_next(tmp_path: Path) -> None:
    fit = make_fit(tmp_path, make_recipe(optim_accumulate=2, train_epochs=2))
    fit.run()
    assert fit.at.updates == 2 * 2  # 3 batches an epoch: a whole group and a part
    assert all(parameter.grad is None for parameter in fit.network.parameters())


def test_clipping_bounds_the_gradient(tmp_path: Path) -> None:
    def moved(clip_norm: float | None, folder: str) -> float:
        recipe = make_recipe(optim_clip_norm=clip_norm, optim_weight_decay=0, train_epochs=1)
        fit = make_fit(tmp_path / folder, recipe)
        before = weights_of(fit)["raw.fc.weight"]
        fit.run()
        return (weights_of(fit)["raw.fc.weight"] - before).abs().max().item()

    free = moved(None, "free")
    assert moved(1e9, "loose") == pytest.approx(free, rel=1e-5)
    # Adam divides by the gradient's size, but not by less than 1e-8.
    assert moved(1e-13, "tight") < free / 1000


def test_bf16_learns_too(tmp_path: Path) -> None:
    fit = make_fit(tmp_path, make_recipe(train_precision="bf16"))
    history = fit.run()
    assert fit.precision == "bf16"
    assert history[-1]["loss"] < history[0]["loss"]
    assert next(fit.network.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("share", "epochs", "wanted"),
    [(0.1, 100, 10), (0.1, 3, 1), (0.95, 5, 4), (0.0, 5, 0), (0.5, 1, 0), (0.1, 30, 3)],
)
def test_shares_of_few_epochs_are_neither_none_nor_all(
    share: float, epochs: int, wanted: int, tmp_path: Path
) -> None:
    recipe = make_recipe(train_head_only=share, train_epochs=epochs)
    assert make_fit(tmp_path, recipe).head_only_epochs == wanted
