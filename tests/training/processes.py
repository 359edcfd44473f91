"""Real processes that start quickly: what they all import is imported once, before the fork."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import chdir
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path

import torch

from chajong.choices import Service
from chajong.cli import main
from chajong.recipes import load_recipe
from chajong.training.train import Options, train
from chajong.training.world import World, join_world
from tests.training.tiny import CPU

LIMIT_S = 120.0
ROOT = Path(__file__).parent.parent.parent


def forks() -> ForkServerContext:
    """A server of processes in which torch is already there, one for the whole session."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.processes"])
    # Before the package asks for a server with less in it. From here, as Python before 3.13 imports
    # nothing beforehand that is not on the path of a bare `python -c`, and says nothing.
    with chdir(ROOT):
        ensure_running()
    return context


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Several processes


def _be_one_of(
    work: Callable[[World, Path], None], folder: Path, rank: int, size: int, port: int
) -> None:
    torch.set_num_threads(1)
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    with join_world(CPU) as world:
        work(world, folder)


def together(work: Callable[[World, Path], None], folder: Path, size: int = 2) -> None:
    """Do some work in several processes that know each other, as `torchrun` would start them."""
    context, port = forks(), free_port()
    processes = [
        context.Process(target=_be_one_of, args=(work, folder, rank, size, port))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(LIMIT_S)
        assert [process.exitcode for process in processes] == [0] * size
    finally:
        for process in processes:
            end(process)


def end(process: ForkServerProcess) -> None:
    process.kill()
    process.join()


# One command


def _be_the_command(arguments: Sequence[str], said: Path) -> None:
    torch.set_num_threads(1)
    with said.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["chajong", *arguments]
    main()


def command(arguments: Sequence[str], said: Path) -> tuple[int, str]:
    """Run `chajong`; gives its exit code and all that it said."""
    process = forks().Process(target=_be_the_command, args=(arguments, said))
    process.start()
    process.join(LIMIT_S)
    code = process.exitcode
    end(process)
    assert code is not None, said.read_text(encoding="utf-8")
    return code, said.read_text(encoding="utf-8")


def _train(
    photos: Path,
    recipe: Path,
    out: Path,
    cache: Path,
    said: Path,
    track: tuple[Service, ...],
    jobs: int,
) -> None:
    torch.set_num_threads(1)
    with said.open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 2)
    # A checkpoint after each step, so that a kill can hit it anywhere.
    options = Options(out=out, cache_folder=cache, checkpoint_s=0, track=track, jobs=jobs)
    train(photos, load_recipe(str(recipe)), options)


def start_training(
    photos: Path,
    recipe: Path,
    out: Path,
    cache: Path,
    said: Path,
    track: tuple[Service, ...] = (),
    jobs: int = 1,
) -> ForkServerProcess:
    """Start what `chajong train` does."""
    process = forks().Process(target=_train, args=(photos, recipe, out, cache, said, track, jobs))
    process.start()
    return process
