"""Training that is shown in services is the same training, and they are told all of it once."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chajong.choices import Service
from chajong.recipes import load_recipe
from chajong.run import Run
from chajong.steps import read_steps
from chajong.training.train import Options, train
from tests.tracking.made import tensorboard_scalars, wandb_history
from tests.training.conftest import Job
from tests.training.processes import end, start_training
from tests.training.test_resume import WEIGHTS, assert_same_predictions
from tests.training.tiny import CPU


def assert_same_training(found: Path, wanted: Path) -> None:
    for name in [f"fold-{fold}/{weights}" for fold in (0, 1) for weights in WEIGHTS]:
        assert (found / name).read_bytes() == (wanted / name).read_bytes()
    assert_same_predictions(found / "oof.parquet", wanted / "oof.parquet")


def epochs_told(run: Run) -> list[tuple[str, int, float]]:
    return [each for each in tensorboard_scalars(run.folder) if "/epoch/log_loss_" in each[0]]


def epochs_measured(run: Run) -> list[tuple[str, int, Any]]:
    return [
        (f"fold-{fold}/epoch/{key}", entry["epoch"], pytest.approx(entry[key]))
        for fold in run.models
        for entry in run.history(fold)
        for key in ("log_loss_raw", "log_loss_ema")
    ]


def wandb_epochs(run: Run, fold: str) -> list[int]:
    at = f"fold-{fold}/epoch/at"
    return [entry[at] for entry in wandb_history(run.folder) if at in entry]


def test_it_is_the_same_training_however_often_it_is_killed(uninterrupted: Job, job: Job) -> None:
    said = job.out.parent / "said.txt"
    services: tuple[Service, ...] = ("tensorboard", "wandb")
    for fold in ("0", "1", "done"):
        process = start_training(job.photos, job.recipe, job.out, job.cache, said, services)
        # Killed in the middle of each fold, the last one is let through.
        while process.is_alive() and not (job.out / f"fold-{fold}/checkpoint.pt").exists():
            time.sleep(0.005)
        if fold == "done":
            assert process.exitcode == 0, said.read_text(encoding="utf-8")
        end(process)
    assert "is not told any more" not in said.read_text(encoding="utf-8")
    assert_same_training(job.out, uninterrupted.out)
    run = Run.load(job.out)
    assert sorted(epochs_told(run)) == sorted(epochs_measured(run))
    told = Counter((name, at) for name, at, _ in tensorboard_scalars(run.folder))
    assert {name for name, _ in told} >= {"fold-0/step/loss", "fold-1/step/lr", "oof/log_loss"}
    assert set(told.values()) == {1}
    for fold in run.models:
        steps = [entry["step"] for entry in read_steps(run.model_folder(fold))]
        assert 0 < len(steps) == len(set(steps))
        assert steps == sorted(steps)
        assert max(at for name, at in told if name == f"fold-{fold}/step/loss") >= steps[-1]
        assert wandb_epochs(run, fold) == [entry["epoch"] for entry in run.history(fold)]


@pytest.mark.usefixtures("hanging_mlflow")
def test_it_is_the_same_with_one_that_hangs(
    uninterrupted: Job, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(
        out=job.out, cache_folder=job.cache, device=CPU, track=("mlflow",), track_limit_s=0.2
    )
    train(job.photos, load_recipe(str(job.recipe)), options)
    assert capsys.readouterr().err.count("mlflow is not told any more") == 1
    assert_same_training(job.out, uninterrupted.out)
