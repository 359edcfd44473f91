import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from chajong.run import Run
from tests.training.processes import command
from tests.training.tiny import write_photos

# Tiny networks are quicker so, and give the same numbers on every machine.
torch.set_num_threads(1)

RECIPE = """
name: tiny
model: {backbone: test_resnet, weights: none}
data: {size_px: 32}
augment: [{kind: crop}, {kind: flip}, {kind: color_jitter}, {kind: trivial_augment}]
mix: {mixup: 0.4, cutmix: 1.0, p: 0.7}
optim: {lr: 0.003, accumulate: 2, clip_norm: 1.0}
train:
  {epochs: 4, batch_size: 8, precision: fp32, ema: {decay: 0.8}, head_only: 0.25, patience: 3,
   keep: best}
folds: {num_folds: 2}
"""


@dataclass(frozen=True)
class Job:
    """One training by the command line.

    Args:
        photos: What on.
        recipe: The recipe's file.
        out: The run's folder.
        cache: Where the resized photos are.
    """

    photos: Path
    recipe: Path
    out: Path
    cache: Path

    @property
    def arguments(self) -> list[str]:
        options = {"--recipe": self.recipe, "--out": self.out, "--cache": self.cache}
        pairs = [str(word) for option in options.items() for word in option]
        return ["train", str(self.photos), *pairs]

    def start(self, *more: str, launcher: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
        """Run the command as a user would."""
        return subprocess.Popen(
            [sys.executable, *launcher, "-m", "chajong", *self.arguments, *more],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *more: str) -> tuple[int, str]:
        """Run the command in a process that starts quickly."""
        return command([*self.arguments, *more], self.cache.parent / "said.txt")


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A finished training, by the command in one go."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    recipe = folder / "tiny.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    job = Job(write_photos(folder / "photos"), recipe, folder / "run", folder / "cache")
    code, said = job.run()
    assert code == 0, said
    assert "(done)" in said
    return job


@pytest.fixture(scope="session")
def finished(uninterrupted: Job) -> Run:
    return Run.load(uninterrupted.out)


@pytest.fixture
def job(uninterrupted: Job, tmp_path: Path) -> Job:
    """The same training, not started yet."""
    return Job(uninterrupted.photos, uninterrupted.recipe, tmp_path / "run", tmp_path / "cache")
