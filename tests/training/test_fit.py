import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from chajong.errors import ResourceError, RunError, TrainingError
from chajong.progress import Interrupted
from chajong.recipe import Crop, Data, Ema, Flip, Focal, Grow, Infer, Mix, Model, RandAugment
from chajong.training.fit import Fit
from chajong.training.loader import Examples
from tests.training.tiny import (
    assert_same_weights,
    make_examples,
    make_fit,
    make_recipe,
    measured,
    weights_of,
)

LAYER_NORM = Model(backbone="test_convnext", weights="none")


def final(fit: Fit) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    return measured(fit.run()), weights_of(fit)


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
    first = final(make_fit(tmp_path / "a", make_recipe(train_epochs=2)))
    torch.manual_seed(77)
    torch.rand(3)
    second = final(make_fit(tmp_path / "b", make_recipe(train_epochs=2)))
    assert first[0] == second[0]
    assert_same_weights(first[1], second[1])


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
        make_recipe(train_epochs=20, train_patience=3, train_ema=Ema(decay=0.5)),
        validation=against_the_truth(),
    )
    history, weights = final(fit)
    losses = [entry["log_loss"] for entry in history]
    best = int(np.argmin(losses)) + 1
    assert fit.at.best_epoch == best
    assert len(history) == best + 3 < 20
    short = make_recipe(train_epochs=best, train_keep="last", train_ema=Ema(decay=0.5))
    stopped_then = make_fit(tmp_path / "b", short, validation=against_the_truth())
    stopped_then.run()
    assert_same_weights(weights, weights_of(stopped_then))


def test_the_last_weights_stay_if_asked_for(tmp_path: Path) -> None:
    recipe = make_recipe(train_epochs=4, train_keep="last")
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
    recipe = make_recipe(train_epochs=2, train_head_only=0.5, train_keep="last")
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


def test_a_shorter_group_at_the_end_of_an_epoch_counts_as_its_mean(tmp_path: Path) -> None:
    # 3 batches an epoch: a group of 2, then one batch that must weigh as much as any other.
    recipe = make_recipe(model=LAYER_NORM, optim_accumulate=2, train_epochs=1)
    fit = make_fit(tmp_path, recipe)
    fit.network.train()
    x, soft = fit.see(2, *fit.batches.load(0, 2), size_px=32)
    norms = []
    for step, accumulate in ((2, 2), (0, 1)):
        object.__setattr__(fit.recipe.optim, "accumulate", accumulate)
        fit.optimiser.zero_grad()
        fit.learn(fit.network, step, x, soft)
        gradients = [p.grad for p in fit.network.parameters() if p.grad is not None]
        norms.append(sum(gradient.square().sum().item() for gradient in gradients))
    assert norms[0] == pytest.approx(norms[1])


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


# Going on


@dataclass(frozen=True)
class Ringing(Examples):
    """Photos during whose n-th reading the user presses Ctrl-C."""

    reads: list[int]

    def take(self, chosen: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        self.reads[0] -= 1
        if self.reads[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return super().take(chosen)


def ringing(step: int) -> Ringing:
    examples = make_examples()
    return Ringing(examples.pixels, examples.rows, examples.targets, [step])


def everything_on(**changes: Any) -> Any:
    return make_recipe(
        **{
            "model": Model(backbone="test_resnet", weights="none", dropout=0.3, drop_path=0.2),
            "augment": (Crop(), Flip(), RandAugment()),
            "mix": Mix(mixup=0.4, cutmix=1.0, p=0.7),
            "loss": Focal(alpha="inverse_frequency"),
            "train_ema": Ema(decay=0.9),
            "train_head_only": 0.3,
            "train_patience": 3,
            "optim_accumulate": 2,
            "optim_clip_norm": 1.0,
            **changes,
        }
    )


def stop_and_go(folder: Path, recipe: Any, steps: list[int]) -> tuple[Any, Any]:
    for count, step in enumerate(steps):
        fit = make_fit(folder, recipe, train=ringing(step))
        with pytest.raises(Interrupted, match=r"nothing is lost\. The same command goes on"):
            fit.run()
        assert fit.checkpoint_path.exists()
        assert fit.at.epoch * 3 + fit.at.step == sum(steps[: count + 1])
    return final(make_fit(folder, recipe))


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[dict[str, Any]], dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, *final(make_fit(folder, everything_on()))


Whole = tuple[Path, list[dict[str, Any]], dict[str, Tensor]]


@pytest.mark.parametrize("steps", [[1], [2], [3], [4, 1, 2], [5, 3], [8], [1] * 9])
def test_a_stopped_training_goes_on_bit_by_bit(
    steps: list[int], uninterrupted: Whole, tmp_path: Path
) -> None:
    history, weights = stop_and_go(tmp_path, everything_on(), steps)
    assert history == uninterrupted[1]
    assert_same_weights(weights, uninterrupted[2])


def test_the_time_before_a_stop_counts(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        make_fit(tmp_path, make_recipe(), train=ringing(3)).run()  # after all of the first epoch
    entry = make_fit(tmp_path, make_recipe()).run()[0]
    assert entry["seconds"] > 0.005
    assert entry["photos_per_s"] == pytest.approx(24 / entry["seconds"])


def test_a_finished_training_stays_as_it_is(uninterrupted: Whole) -> None:
    history, weights = final(make_fit(uninterrupted[0], everything_on()))
    assert history == uninterrupted[1]
    assert_same_weights(weights, uninterrupted[2])


class RingingPixels(np.ndarray[Any, np.dtype[np.uint8]]):
    """Pixels at whose next reading the user presses Ctrl-C."""

    def __getitem__(self, rows: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return np.asarray(self)[rows]


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_ctrl_c_during_the_last_evaluation_is_heeded(epochs: int, tmp_path: Path) -> None:
    recipe = make_recipe(train_epochs=epochs)
    wanted = final(make_fit(tmp_path / "whole", recipe))
    quiet = make_examples(12, seed=1)
    loud = Examples(quiet.pixels.view(RingingPixels), quiet.rows, quiet.targets)
    for epoch in range(epochs):
        fit = make_fit(tmp_path / "parts", recipe, validation=loud)
        with pytest.raises(Interrupted):
            fit.run()
        assert (fit.at.epoch, fit.at.step) == (epoch + 1, 0)
    found = final(make_fit(tmp_path / "parts", recipe))
    assert found[0] == wanted[0]
    assert_same_weights(found[1], wanted[1])


def test_checkpoints_come_as_often_as_asked_for(tmp_path: Path) -> None:
    for seconds, wanted in ((0.0, 3 * (3 + 1)), (3600.0, 3)):
        fit = make_fit(tmp_path / str(seconds), make_recipe(), checkpoint_s=seconds)
        saves: list[int] = []
        save = fit._save

        def watched(save: Any = save, saves: list[int] = saves) -> None:
            save()
            saves.append(1)

        fit._save = watched  # type: ignore[method-assign]
        fit.run()
        assert len(saves) == wanted


# What goes wrong


def test_a_loss_that_is_not_finite_stops_it_before_the_step(tmp_path: Path) -> None:
    recipe = everything_on(optim_accumulate=1)
    wanted = final(make_fit(tmp_path / "whole", recipe))
    with pytest.raises(Interrupted):
        make_fit(tmp_path / "parts", recipe, train=ringing(4)).run()
    checkpoint = (tmp_path / "parts" / "checkpoint.pt").read_bytes()
    # Dividing the photos by nearly nothing makes them infinite.
    broken = make_fit(tmp_path / "parts", recipe, std=(1e-45, 1.0, 1.0), checkpoint_s=0.0)
    before: dict[str, Tensor] = {}
    learn = broken.learn

    def watched(*args: Any) -> float:
        before.update({name: p.detach().clone() for name, p in broken.network.named_parameters()})
        return learn(*args)

    broken.learn = watched  # type: ignore[method-assign, assignment]
    said = r"loss of fold 0 became nan in epoch 2, step 2, at learning rate 0\.003.*Lower optim\.lr"
    with pytest.raises(TrainingError, match=said):
        broken.run()
    assert all(torch.equal(p, before[name]) for name, p in broken.network.named_parameters())
    assert (tmp_path / "parts" / "checkpoint.pt").read_bytes() == checkpoint
    found = final(make_fit(tmp_path / "parts", recipe))
    assert found[0] == wanted[0]
    assert_same_weights(found[1], wanted[1])


def test_answers_that_are_not_finite_stop_it_too(tmp_path: Path) -> None:
    # One step an epoch, so that no loss tells of the broken weights before the evaluation.
    recipe = make_recipe(train_batch_size=24, train_epochs=1, optim_lr=1e37)
    with pytest.raises(TrainingError, match=r"not finite after epoch 1\. Lower optim\.lr"):
        make_fit(tmp_path, recipe).run()
    assert not (tmp_path / "checkpoint.pt").exists()


def started(folder: Path) -> Path:
    with pytest.raises(Interrupted):
        make_fit(folder, make_recipe(), train=ringing(2)).run()
    return folder / "checkpoint.pt"


@pytest.mark.parametrize("damage", ["empty", "short", "other bytes", "no zip", "of something else"])
def test_a_damaged_checkpoint_is_told(damage: str, tmp_path: Path) -> None:
    path = started(tmp_path)
    whole = path.read_bytes()
    if damage == "of something else":
        torch.save({"at": {}}, path)
    else:
        path.write_bytes(
            {
                "empty": b"",
                "short": whole[: len(whole) // 2],
                "other bytes": whole[:200] + bytes(2000) + whole[2200:],
                "no zip": b"\x80\x02" + whole[2:500],
            }[damage]
        )
    with pytest.raises(RunError, match=r"checkpoint\.pt cannot be used: .*Delete it to train this"):
        make_fit(tmp_path, make_recipe()).run()
    path.unlink()
    assert len(make_fit(tmp_path, make_recipe()).run()) == 3


def test_a_checkpoint_of_another_network_is_told(tmp_path: Path) -> None:
    started(tmp_path)
    with pytest.raises(RunError, match="cannot be used"):
        make_fit(tmp_path, make_recipe(model=LAYER_NORM)).run()


def test_a_full_disk_is_told_and_the_last_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = started(tmp_path)
    whole = path.read_bytes()
    # The next checkpoint is first written beside; what is written there finds no space.
    monkeypatch.setattr("chajong.files.secrets.token_hex", lambda num_bytes: "00" * num_bytes)
    (tmp_path / ".checkpoint.pt.00000000.tmp").symlink_to("/dev/full")
    with pytest.raises(ResourceError, match=r"checkpoint\.pt: the disk is full: free some space"):
        make_fit(tmp_path, make_recipe(), checkpoint_s=0.0).run()
    assert path.read_bytes() == whole
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert len(make_fit(tmp_path, make_recipe()).run()) == 3
