"""Real processes that start quickly: what they all import is imported once, before the fork."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import torch

from chajong.training.world import World, join_world
from tests.training.tiny import CPU

LIMIT_S = 120.0


def forks() -> ForkServerContext:
    """A server of processes in which torch is already there, one for the whole session."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chajong.training.train", "tests.training.tiny"])
    return context


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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = forks()
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
            process.kill()
            process.join()
