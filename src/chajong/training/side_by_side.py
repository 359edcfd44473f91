"""Models of one run trained at the same time, each in a process of its own.

On a CPU two networks on a core each learn faster than one after the other on both cores, as much of
a step does not share well; of several GPUs each trains another fold.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

import torch

from chajong.errors import ChajongError, TrainingError
from chajong.progress import Interrupted, is_quiet, plain, quiet
from chajong.stop import asked_to_stop
from chajong.training.allocator import keep_large_blocks
from chajong.training.model import Material, train_model
from chajong.training.world import World

_LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class _Work:
    material: Material
    name: str
    device: torch.device
    threads: int
    checkpoint_s: float
    quiet: bool


@dataclass(frozen=True)
class _Worker:
    name: str
    place: int
    process: ForkServerProcess
    said: Connection


def train_side_by_side(
    material: Material,
    names: Sequence[str],
    jobs: int,
    device: torch.device,
    checkpoint_s: float = 60.0,
) -> None:
    """Train models of a run, several at a time; they share cores and GPUs evenly.

    Args:
        material: What they learn from; its photos are cached already.
        names: Numbers of the folds.
        jobs: How many at a time, 2 or more.
        device: Where to compute; if it is a GPU, each takes another one, as far as there are any.
        checkpoint_s: Seconds between two checkpoints within an epoch.

    Raises:
        ChajongError: What stopped one of them. The others were stopped too, and can go on.
        Interrupted: If the user stopped it.
    """  # noqa: DOC503 what a worker tells is raised as it is
    waiting, workers = list(names), list[_Worker]()
    threads = max(1, torch.get_num_threads() // jobs)
    stopped: BaseException | None = None
    with asked_to_stop() as stop:
        _serve()
        try:
            while workers or (waiting and stopped is None):
                while waiting and stopped is None and len(workers) < jobs:
                    place = min({*range(jobs)} - {worker.place for worker in workers})
                    name, there = waiting.pop(0), _device(device, place)
                    work = _Work(material, name, there, threads, checkpoint_s, is_quiet())
                    workers.append(_start(work, place))
                wait([worker.process.sentinel for worker in workers], _LOOK_EVERY_S)
                if stopped is None and stop.asked:
                    stopped = Interrupted("stopped; nothing is lost. The same command goes on.")
                for worker in [each for each in workers if not each.process.is_alive()]:
                    workers.remove(worker)
                    outcome = _outcome(worker)
                    stopped = stopped or outcome
                if stopped is not None:
                    for worker in workers:
                        worker.process.terminate()  # it stops after its step
        finally:
            for worker in workers:  # only after a second Ctrl-C
                worker.process.kill()
    if stopped is not None:
        raise stopped


def _device(device: torch.device, place: int) -> torch.device:
    if device.type != "cuda":
        return device
    return torch.device("cuda", place % torch.cuda.device_count())


def _serve() -> None:
    # Workers come from a server that has no threads, whose locks a fork would take along, and torch
    # already. Ctrl-C reaches all processes of a terminal, and the parent passes it on: the server
    # and its workers are born deaf to it, as both would take a while to say so themselves.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    if threading.current_thread() is not threading.main_thread():
        return  # none but the main thread may say who hears
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, heard)


def _start(work: _Work, place: int) -> _Worker:
    context = multiprocessing.get_context("forkserver")
    said, saying = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(work, saying), daemon=True)
    process.start()
    saying.close()  # the worker has its own end: when that is gone, so is the worker
    return _Worker(work.name, place, process, said)


def _outcome(worker: _Worker) -> BaseException | None:
    worker.process.join()
    with worker.said as said:
        try:
            told: BaseException | None = said.recv()
        except EOFError:
            return TrainingError(
                f"The process of fold {worker.name} ended without a word (exit code "
                f"{worker.process.exitcode}), perhaps for want of memory. The same command goes on "
                "with what is done; with fewer --jobs it needs less."
            )
    return told


def _train(work: _Work, saying: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal: the parent passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_stop_with_the_parent, daemon=True).start()
    keep_large_blocks()
    torch.set_num_threads(work.threads)
    if work.device.type == "cuda":
        torch.cuda.set_device(work.device)
    told: BaseException | None = None
    try:
        with quiet() if work.quiet else plain():
            cache, world = work.material.cache(), World(0, 1, work.device)
            train_model(work.material, work.name, cache, world, work.checkpoint_s)
    except (ChajongError, Interrupted) as error:
        told = error
    saying.send(told)


def _stop_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
