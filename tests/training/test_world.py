"""Several processes that train one network together: real ones, over gloo."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch import distributed as dist

from chajong.errors import RunError, TrainingError
from chajong.progress import Interrupted
from chajong.recipe import Recipe
from chajong.recipe_augment import ColorJitter, Crop, Flip, RandAugment
from chajong.recipe_model import Model
from chajong.recipe_train import Ema, Mix
from chajong.training.batch_norm import GlobalBatchNorm, synchronise_batch_norm
from chajong.training.fit import Fit
from chajong.training.world import World, join_world
from tests.training.processes import LIMIT_S, end, forks, free_port, together
from tests.training.tiny import ALONE, CPU, make_examples, make_fit, make_recipe, measured

# Batch norm


def norm(kind: str) -> nn.Module:
    torch.manual_seed(0)
    kinds: dict[str, nn.Module] = {
        "2d": nn.BatchNorm2d(4, eps=1e-3, momentum=0.2),
        "1d": nn.BatchNorm1d(4),
        "act": BatchNormAct2d(4, act_layer=nn.SiLU),
    }
    made = kinds[kind]
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


KINDS = ("2d", "1d", "act")


def whole_batch(kind: str, step: int) -> tuple[Tensor, Tensor]:
    shape = (8, 4) if kind == "1d" else (8, 4, 5, 3)
    random = torch.Generator().manual_seed(step)
    # Far from zero, where the variance of few digits is hard.
    x = torch.randn(shape, generator=random) + 50
    return x, torch.randn(shape, generator=random)


def normalise_whole(kind: str) -> dict[str, Tensor]:
    made, found = norm(kind), dict[str, Tensor]()
    for step in range(2):
        x, pull = whole_batch(kind, step)
        x.requires_grad_()
        out = made(x)
        made.zero_grad()
        (out * pull).sum().backward()
        assert x.grad is not None
        found |= {f"out {step}": out.detach(), f"grad {step}": x.grad}
        found |= {
            f"{name} {step}": p.grad for name, p in made.named_parameters() if p.grad is not None
        }
    found |= made.state_dict()
    found["evaluated"] = made.eval()(whole_batch(kind, 3)[0]).detach()
    return found


def normalise_shares(world: World, folder: Path) -> None:
    for kind in KINDS:
        (made,) = synchronise_batch_norm(nn.Sequential(norm(kind)), world.device).children()
        assert isinstance(made, GlobalBatchNorm)
        found = dict[str, Any]()
        for step in range(2):
            x, pull = (part[world.share(8)] for part in whole_batch(kind, step))
            x = x.clone().requires_grad_()
            made.zero_grad()
            out = made(x)
            (out * pull).sum().backward()
            found |= {f"out {step}": out.detach(), f"grad {step}": x.grad}
            found |= {f"{name} {step}": p.grad for name, p in made.named_parameters()}
        found |= {name: value.clone() for name, value in made.state_dict().items()}
        found["evaluated"] = made.eval()(whole_batch(kind, 3)[0][world.share(8)]).detach()
        half = made.train()(whole_batch(kind, 4)[0][world.share(8)].bfloat16())
        assert half.dtype == torch.bfloat16
        found["half"] = half.detach()
        torch.save(found, folder / f"{kind}-{world.rank}.pt")


def test_global_batch_norm_equals_batch_norm_of_the_whole_batch(tmp_path: Path) -> None:
    together(normalise_shares, tmp_path)
    for kind in KINDS:
        shares = [torch.load(tmp_path / f"{kind}-{rank}.pt") for rank in range(2)]
        for name, wanted in normalise_whole(kind).items():
            values = [share[name] for share in shares]
            if name.startswith(("out", "grad", "evaluated")):
                found = torch.cat(values)
            elif name in ("weight 0", "bias 0", "weight 1", "bias 1"):
                found = values[0] + values[1]  # DDP brings these together
            else:
                assert torch.equal(*values)
                found = values[0]
            torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-4, msg=f"{kind} {name}")
        # Sums of bf16 numbers would be off by far more than their rounding.
        reference = norm(kind).train()
        wanted = reference(whole_batch(kind, 4)[0].bfloat16().float())
        found = torch.cat([share["half"] for share in shares]).float()
        torch.testing.assert_close(found, wanted, atol=0.1, rtol=0.05)


def test_names_and_modes_stay_when_batch_norm_is_replaced() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(norm("2d"), norm("act").eval()))
    names = list(network.state_dict())
    values = [value.clone() for value in network.state_dict().values()]
    made = synchronise_batch_norm(network, CPU)
    assert list(made.state_dict()) == names
    assert all(torch.equal(a, b) for a, b in zip(made.state_dict().values(), values, strict=True))
    norms = [module for module in made.modules() if isinstance(module, GlobalBatchNorm)]
    assert [module.training for module in norms] == [True, False]


# Coming and going


def end_as_told(folder: Path, error: type[BaseException], rank: int, port: int) -> None:
    # What is left where one process alone, or all, end so.
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    with suppress(error), join_world(CPU) as outer:
        with join_world(CPU) as inner:
            assert inner == outer
        assert dist.is_initialized()
        outer.wait()  # the other may still be joining
        raise error
    (folder / f"{rank}").write_text(str(dist.is_initialized()), encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "is_left"), [(Interrupted, False), (RunError, True)], ids=["stop", "failure"]
)
def test_who_fails_does_not_wait_for_the_others(
    error: type[BaseException], is_left: bool, tmp_path: Path
) -> None:
    # To part, NCCL waits for all, and after an error the others may not come.
    port = free_port()
    processes = [
        forks().Process(target=end_as_told, args=(tmp_path, error, rank, port)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(LIMIT_S)
        end(process)
    said = [(tmp_path / str(rank)).read_text(encoding="utf-8") for rank in (0, 1)]
    assert said == [str(is_left)] * 2


# Shares


def test_shares_are_the_whole_batch() -> None:
    for size in (1, 2, 4):
        rows = [row for rank in range(size) for row in range(8)[World(rank, size, CPU).share(8)]]
        assert rows == list(range(8))


def test_batches_that_do_not_divide_into_pairs_are_refused() -> None:
    World(0, 3, CPU).check_batch(12)
    ALONE.check_batch(7)
    with pytest.raises(TrainingError, match=r"must be a multiple of 6 for 3 processes.*Got 8"):
        World(0, 3, CPU).check_batch(8)


def talk(world: World, folder: Path) -> None:
    assert world.leads == (world.rank == 0)
    assert world.gather({"rank": world.rank}) == [{"rank": 0}, {"rank": 1}]
    assert world.any(world.rank == 1)
    assert not world.any(False)
    assert world.mean(torch.tensor(float(world.rank))) == 0.5
    assert np.isnan(world.mean(torch.tensor([1.0, float("nan")][world.rank])))
    world.wait()
    (folder / str(world.rank)).touch()


def test_processes_hear_each_other(tmp_path: Path) -> None:
    together(talk, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}
    assert ALONE.gather(3) == [3]
    assert ALONE.any(True)
    assert ALONE.mean(torch.tensor(2.0)) == 2.0
    ALONE.wait()


def go_first(world: World, folder: Path) -> None:
    with world.leader_first():
        if not world.leads:
            assert (folder / "made").exists()
        (folder / "made").touch()


def fail_first(world: World, folder: Path) -> None:
    with world.leader_first():
        if world.leads:
            raise RunError("The folder is busy.")
        (folder / "went on").touch()


def hear_of_it(world: World, folder: Path) -> None:
    go_first(world, folder)
    with pytest.raises(RunError if world.leads else TrainingError, match=r"busy|its message says"):
        fail_first(world, folder)


def test_the_others_wait_for_the_first_and_stop_where_it_fails(tmp_path: Path) -> None:
    together(hear_of_it, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    go_first(ALONE, tmp_path)
    with pytest.raises(RunError, match="busy"):
        fail_first(ALONE, tmp_path)


# Training


def recipe_of(backbone: str) -> Recipe:
    return make_recipe(
        model=Model(backbone=backbone, weights="none"),
        augment=(Crop(), Flip(), ColorJitter(), RandAugment()),
        mix=Mix(mixup=0.4, cutmix=1.0, p=0.7),
        train_ema=Ema(decay=0.8),
        train_head_only=0.3,
        optim_accumulate=2,
        optim_clip_norm=1.0,
        optim_lr=1e-3,
    )


BACKBONES = ("test_convnext", "test_resnet")  # layer norm, batch norm


def train_in(folder: Path, backbone: str, world: World) -> Fit:
    # An odd number of photos to evaluate, so that the shares differ in size.
    return make_fit(
        folder / backbone, recipe_of(backbone), validation=make_examples(13, seed=1), world=world
    )


def keep(fit: Fit, folder: Path, name: str) -> None:
    history = measured(fit.run())
    assert fit.fold.validation is not None
    look = fit.look(fit.fold.validation, ("plain", "flip"), averaged=True)
    torch.save({"history": history, "look": torch.from_numpy(look)}, folder / f"{name}.pt")


def train_together(world: World, folder: Path) -> None:
    for backbone in BACKBONES:
        keep(train_in(folder, backbone, world), folder, f"{backbone}-{world.rank}")


def test_two_processes_learn_like_one_with_the_same_global_batch(tmp_path: Path) -> None:
    together(train_together, tmp_path)
    for backbone in BACKBONES:
        keep(train_in(tmp_path / "alone", backbone, ALONE), tmp_path, "alone")
        wanted = torch.load(tmp_path / "alone.pt")
        shares = [torch.load(tmp_path / f"{backbone}-{rank}.pt") for rank in range(2)]
        assert shares[0]["history"] == shares[1]["history"]
        assert torch.equal(shares[0]["look"], shares[1]["look"])
        torch.testing.assert_close(shares[0]["look"], wanted["look"], atol=5e-3, rtol=0)
        for one, two in zip(wanted["history"], shares[0]["history"], strict=True):
            assert one["loss"] == pytest.approx(two["loss"], rel=1e-3)
            assert one["log_loss"] == pytest.approx(two["log_loss"], rel=5e-3)
            assert one["top1"] == two["top1"]


def stop_and_go_together(world: World, folder: Path) -> None:
    keep(train_in(folder / "whole", "test_resnet", world), folder, f"whole-{world.rank}")
    for step in (2, 3):
        fit = train_in(folder / "parts", "test_resnet", world)
        learn, calls = fit.learn, [0]

        def watched(
            *args: Any, learn: Any = learn, calls: list[int] = calls, at: int = step
        ) -> Tensor:
            calls[0] += 1
            if world.rank == 1 and calls[0] == at:  # the other one hears of it
                signal.raise_signal(signal.SIGTERM)
            value: Tensor = learn(*args)
            return value

        fit.learn = watched  # type: ignore[method-assign, assignment]
        with pytest.raises(Interrupted):
            fit.run()
        assert calls[0] == step
        world.wait()
    keep(train_in(folder / "parts", "test_resnet", world), folder, f"parts-{world.rank}")


def test_a_stopped_training_of_two_processes_goes_on_bit_by_bit(tmp_path: Path) -> None:
    together(stop_and_go_together, tmp_path)
    wanted, found = torch.load(tmp_path / "whole-0.pt"), torch.load(tmp_path / "parts-0.pt")
    assert found["history"] == wanted["history"]
    assert torch.equal(found["look"], wanted["look"])


def fail_on_one(world: World, folder: Path) -> None:
    std = (0.25, 0.25, 1e-45 if world.rank == 1 else 0.25)
    fit = make_fit(folder, make_recipe(), world=world, std=std, checkpoint_s=0.0)
    with pytest.raises(TrainingError, match="became nan in epoch 1, step 1"):
        fit.run()


def test_a_loss_that_is_not_finite_on_one_process_stops_all(tmp_path: Path) -> None:
    together(fail_on_one, tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


def look_at_few(world: World, folder: Path) -> None:
    fit = make_fit(folder, make_recipe(), world=world)
    few = make_examples(1)
    found = fit.look(few, ("plain",), averaged=False)
    assert found.shape == (1, 1, 3)
    assert np.isfinite(found).all()


def test_fewer_photos_than_processes_can_be_looked_at(tmp_path: Path) -> None:
    together(look_at_few, tmp_path)
