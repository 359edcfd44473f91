"""Folds that are trained at the same time: real processes, stopped and killed for real."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from chajong.errors import TrainingError
from chajong.files import locked
from chajong.progress import Interrupted
from chajong.recipes import load_recipe
from chajong.run import Run
from chajong.training.train import Options, _check_jobs, train
from chajong.training.world import World
from tests.training.conftest import Job
from tests.training.processes import end, forks, start_training
from tests.training.test_resume import assert_same_run
from tests.training.tiny import ALONE, CPU

FOLDS = ("fold-0", "fold-1")
LIMIT_S = 60.0


@pytest.fixture(autouse=True)
def _quick_processes() -> None:
    forks()


def go_on(job: Job, jobs: int = 2, *changes: str) -> None:
    recipe = load_recipe(str(job.recipe), changes)
    chosen = Options(out=job.out, cache_folder=job.cache, device=CPU, jobs=jobs, checkpoint_s=0)
    train(job.photos, recipe, chosen)


def wait_until(holds: Callable[[], bool]) -> None:
    begin = time.monotonic()
    while not holds():
        assert time.monotonic() - begin < LIMIT_S
        time.sleep(0.005)


def both_have_begun(job: Job) -> bool:
    """The last of them has just made its first step; the other one may be through."""
    return all(
        any((job.out / fold / name).exists() for name in ("checkpoint.pt", "done.json"))
        for fold in FOLDS
    )


@contextmanager
def once(holds: Callable[[], bool], act: Callable[[], None]) -> Iterator[None]:
    """Do something from another thread in the middle of the block's training."""

    def wait_and_act() -> None:
        wait_until(holds)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    yield
    thread.join()


@contextmanager
def with_threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    yield
    torch.set_num_threads(before)


def kill_all() -> None:
    for process in multiprocessing.active_children():
        process.kill()


def test_two_at_a_time_are_the_same_as_one_after_the_other(uninterrupted: Job, job: Job) -> None:
    with once(lambda: len(multiprocessing.active_children()) == len(FOLDS), lambda: None):
        go_on(job)
    assert_same_run(job.out, uninterrupted.out)


def test_ctrl_c_stops_all_and_nothing_is_lost(uninterrupted: Job, job: Job) -> None:
    with (
        once(lambda: both_have_begun(job), lambda: os.kill(os.getpid(), signal.SIGINT)),
        pytest.raises(Interrupted, match="nothing is lost"),
    ):
        go_on(job)
    assert multiprocessing.active_children() == []
    assert not (job.out / "score.json").exists()
    go_on(job, 1)
    assert_same_run(job.out, uninterrupted.out)


def server_of(session: int) -> bool:
    """Whether a session has its server of processes, which a terminal's Ctrl-C reaches too."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if b"forkserver" in path.read_bytes() and os.getsid(int(path.parent.name)) == session:
                return True
    return False


def test_ctrl_c_while_the_first_processes_start(job: Job) -> None:
    command = [sys.executable, "-m", "chajong", "train", str(job.photos), "--recipe"]
    command += [str(job.recipe), "--out", str(job.out), "--cache", str(job.cache)]
    command += ["--jobs", "2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_until(lambda: server_of(process.pid))
        time.sleep(0.3)  # it is there, and now imports torch for a while
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate()[1]
    assert process.returncode == 130, said
    assert "nothing is lost" in said
    assert "Traceback" not in said


def test_those_that_are_killed_are_told_and_can_go_on(uninterrupted: Job, job: Job) -> None:
    with (
        once(lambda: both_have_begun(job), kill_all),
        pytest.raises(TrainingError, match=r"without a word \(exit code -9\), .* fewer --jobs"),
    ):
        go_on(job)
    assert multiprocessing.active_children() == []
    go_on(job)
    assert_same_run(job.out, uninterrupted.out)


def test_one_that_is_left_has_no_more_threads_than_beside_others(
    uninterrupted: Job, job: Job
) -> None:
    go_on(job)
    (job.out / "fold-1" / "done.json").unlink()
    (job.out / "score.json").unlink()
    with with_threads(2):
        go_on(job)
    assert Run.load(job.out).facts("1")["threads"] == 1
    assert_same_run(job.out, uninterrupted.out)


def test_they_stop_when_the_command_is_killed(uninterrupted: Job, job: Job) -> None:
    said = job.out.parent / "said.txt"
    process = start_training(job.photos, job.recipe, job.out, job.cache, said, jobs=2)
    wait_until(lambda: both_have_begun(job))
    process.kill()
    end(process)
    for fold in FOLDS:  # each holds its lock to its end
        with locked(job.out / fold / ".lock.tmp", wait=True):
            pass
    assert not all((job.out / fold / "done.json").exists() for fold in FOLDS)
    go_on(job)
    assert_same_run(job.out, uninterrupted.out)


def test_what_stops_one_is_told_as_it_was_said(job: Job) -> None:
    with pytest.raises(TrainingError, match=r"fold [01] .*; then train anew"):
        go_on(job, 2, "optim.lr=1e30", "optim.clip_norm=null")
    assert multiprocessing.active_children() == []


def test_what_does_not_go_together_is_refused() -> None:
    _check_jobs(Options(jobs=2), ALONE)
    with pytest.raises(TrainingError, match=r"must be 1 or more\. Got 0"):
        _check_jobs(Options(jobs=0), ALONE)
    with pytest.raises(TrainingError, match="torchrun"):
        _check_jobs(Options(jobs=2), World(0, 2, CPU))
    with pytest.raises(TrainingError, match="chajong runs push RUN --to SERVICE"):
        _check_jobs(Options(jobs=2, track=("tensorboard",)), ALONE)
