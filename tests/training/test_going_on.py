"""A training that is stopped, that fails, and that goes on."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from chajong.errors import ResourceError, RunError, TrainingError
from chajong.progress import Interrupted
from chajong.recipe_augment import Crop, Flip, RandAugment
from chajong.recipe_model import Model
from chajong.recipe_train import Ema, Focal, Mix
from chajong.training.checkpoint import Checkpoint
from chajong.training.fit import Fit
from chajong.training.loader import Examples
from tests.training.tiny import (
    LAYER_NORM,
    assert_same_weights,
    final,
    make_examples,
    make_fit,
    make_recipe,
)


@dataclass
class Ringing:
    """A loss during whose n-th computation, from 1, the user presses Ctrl-C."""

    loss: Any
    left: int

    def __call__(self, *args: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return self.loss(*args)


def ringing(fit: Fit, step: int) -> Fit:
    """Let the user press Ctrl-C during a step, counted from 1."""
    fit.loss = Ringing(fit.loss, step)
    return fit


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
        fit = ringing(make_fit(folder, recipe), step)
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


def scaled(fit: Fit) -> Fit:
    """Have it compute as on a GPU with fp16, which scales what it propagates back."""
    fit.precision = "fp16"
    fit.scaler = torch.amp.GradScaler("cpu")
    return fit


@pytest.mark.parametrize("first", ["fp16", "fp32"])
def test_on_a_machine_of_another_precision_it_goes_on(
    first: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Stopped between the two batches of an update: the gradient of the first must still count.
    recipe = make_recipe(optim_accumulate=2)
    wanted = ringing(make_fit(tmp_path / "fp32", recipe), 1)
    with pytest.raises(Interrupted):
        wanted.run()
    begun, going_on = make_fit(tmp_path / first, recipe), make_fit(tmp_path / first, recipe)
    if first == "fp16":
        with pytest.raises(Interrupted):
            ringing(scaled(begun), 1).run()
    else:
        scaled(going_on)
    Checkpoint.restore(going_on.checkpoint_path, going_on)
    assert f"fold 0 began in {first} and goes on in {going_on.precision}" in capsys.readouterr().err
    scale = going_on.scaler.get_scale()
    one, other = (
        torch.cat([p.grad.flatten() for p in fit.network.parameters() if p.grad is not None])
        for fit in (wanted, going_on)
    )
    assert (other / scale - one).norm() < 0.5 * one.norm()  # not 65,536
    assert len(going_on.run()) == 3


def test_the_time_before_a_stop_counts(tmp_path: Path) -> None:
    stopped = ringing(make_fit(tmp_path, make_recipe()), 2)
    with pytest.raises(Interrupted):
        stopped.run()
    entry = make_fit(tmp_path, make_recipe()).run()[0]
    assert entry["seconds"] > stopped.at.seconds > 0
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


def test_a_loss_that_is_not_finite_stops_it_before_the_step(tmp_path: Path) -> None:
    recipe = everything_on(optim_accumulate=1)
    wanted = final(make_fit(tmp_path / "whole", recipe))
    with pytest.raises(Interrupted):
        ringing(make_fit(tmp_path / "parts", recipe), 4).run()
    checkpoint = (tmp_path / "parts" / "checkpoint.pt").read_bytes()
    # Dividing the photos by nearly nothing makes them infinite.
    broken = make_fit(tmp_path / "parts", recipe, std=(1e-45, 1.0, 1.0), checkpoint_s=0.0)
    before: dict[str, Tensor] = {}
    learn = broken.learn

    def watched(*args: Any) -> Tensor:
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
        ringing(make_fit(folder, make_recipe()), 2).run()
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


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"
        ),
        MemoryError("Unable to allocate 9 GiB for an array"),
    ],
    ids=["of torch", "of CUDA", "of the CPU", "of numpy"],
)
def test_a_checkpoint_for_which_there_is_no_memory_is_kept(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = started(tmp_path)

    def no_memory(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as short:
        short.setattr("torch.load", no_memory)
        with pytest.raises(ResourceError, match=r"checkpoint\.pt cannot be opened now: .*kept"):
            make_fit(tmp_path, make_recipe()).run()
    assert path.is_file()
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
    assert {file.name for file in tmp_path.iterdir()} == {"checkpoint.pt", "steps.jsonl"}
    assert len(make_fit(tmp_path, make_recipe()).run()) == 3
