"""The processes that train together, and the device of each."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from chajong.errors import ChajongError, TrainingError
from chajong.progress import Interrupted
from chajong.training.batch_norm import synchronise_batch_norm


@dataclass(frozen=True)
class World:
    """One of the processes that train together, as `torchrun` starts them; mostly the only one.

    Args:
        rank: Number of this process, from 0.
        size: How many processes there are.
        device: Where this process computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and speaks to the user."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Tell which rows of a global batch belong to this process.

        Args:
            batch_size: Rows of the global batch; a multiple of `size`.

        Returns:
            The rows, one block a process.
        """
        rows = batch_size // self.size
        return slice(self.rank * rows, (self.rank + 1) * rows)

    def check_batch(self, batch_size: int) -> None:
        """Refuse batches that do not divide evenly into pairs on every process.

        Args:
            batch_size: Rows of the global batch.

        Raises:
            TrainingError: If they do not.
        """
        if self.size > 1 and batch_size % (2 * self.size):
            raise TrainingError(
                f"train.batch_size must be a multiple of {2 * self.size} for {self.size} "
                f"processes (photos are mixed in pairs). Got {batch_size}."
            )

    def wrap(self, network: nn.Module) -> nn.Module:
        """Make backward passes average the gradients over all processes.

        Args:
            network: The network; only what requires gradients now is averaged.

        Returns:
            The same network where this process is the only one, else wrapped in DDP.
        """
        if self.size == 1:
            return network
        devices = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=devices)

    def synchronise(self, network: nn.Module) -> nn.Module:
        """Make batch norm count over all processes.

        Args:
            network: The network.

        Returns:
            The network, its batch norms replaced where there are several processes.
        """
        if self.size == 1:
            return network
        return synchronise_batch_norm(network, self.device)

    def gather(self, value: Any) -> list[Any]:
        """Collect a value from every process.

        Args:
            value: This process's value.

        Returns:
            The values in the order of the ranks, on every process.
        """
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def any(self, flag: bool) -> bool:
        """Tell whether the flag is up on any process.

        Args:
            flag: This process's flag.

        Returns:
            Whether one or more are up.
        """
        if self.size == 1:
            return flag
        up = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(up, op=dist.ReduceOp.MAX)
        return bool(up.item())

    def mean(self, value: Tensor) -> float:
        """Average a number over all processes.

        Args:
            value: This process's number, a scalar.

        Returns:
            The mean, the same on every process.
        """
        if self.size == 1:
            return float(value)
        total = value.detach().clone()
        dist.all_reduce(total)
        return float(total) / self.size

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Let the first process do something before the others do it too.

        Yields:
            Nothing; on the others when the first is through.

        Raises:
            TrainingError: On the others, if the first could not do it.
        """  # noqa: DOC503 the first raises its own again
        if not self.leads:
            if not self.gather(True)[0]:
                raise TrainingError("The first process could not start; its message says why.")
            yield
            return
        try:
            yield
        except ChajongError:
            self.gather(False)
            raise
        self.gather(True)

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


def pick_device(local_rank: int = 0) -> torch.device:
    """Choose where to compute: a GPU where there is one.

    Args:
        local_rank: Number of this process on its machine.

    Returns:
        The device.
    """
    if torch.cuda.is_available():
        return torch.device("cuda", local_rank)
    return torch.device("cpu")


@contextmanager
def join_world(device: torch.device | None = None) -> Iterator[World]:
    """Join the processes that `torchrun` started, or be the only one.

    Those who joined already, as to train several times, are of the same world inside.

    Args:
        device: Where to compute; chosen if none.

    Yields:
        This process's place among them.

    Raises:
        TrainingError: If there are more processes than GPUs.
        Interrupted: If the user stopped what goes on inside.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, device or pick_device())
        return
    device = device or pick_device(int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        if (device.index or 0) >= torch.cuda.device_count():
            raise TrainingError(
                f"torchrun started a process for GPU {device.index} of this machine, which has "
                f"{torch.cuda.device_count()}. Ask for at most as many with --nproc_per_node."
            )
        torch.cuda.set_device(device)
    if dist.is_initialized():
        yield World(dist.get_rank(), size, device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(hours=2))
    try:
        yield World(dist.get_rank(), size, device)
    except Interrupted:  # all are, together
        dist.destroy_process_group()
        raise
    # Not after an error: of one process alone, as with a full disk, NCCL would wait for the others,
    # which wait for it, and nobody would read why.
    dist.destroy_process_group()
