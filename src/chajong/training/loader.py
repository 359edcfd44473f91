"""Batches of cached photos, each decided by its place in the training alone."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chajong.errors import DataError
from chajong.training.world import World

_AHEAD = 3  # batches: enough to hide a slow read, little enough to hold on the device


@dataclass(frozen=True)
class Examples:
    """Photos with their classes.

    Args:
        pixels: The cache `(m, s, s, 3)` uint8.
        rows: Each photo's row in the cache `(n,)`.
        targets: Each photo's class `(n,)`.
        soft: Target probabilities `(n, c)`, where a photo's class is not all to learn from it.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.intp]
    targets: NDArray[np.intp]
    soft: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """Read some photos.

        Args:
            chosen: Positions `(k,)` in [0, n).

        Returns:
            Photos uint8 `(k, s, s, 3)` and classes int64 `(k,)`, or probabilities float32
            `(k, c)`.
        """
        photos = torch.from_numpy(self.pixels[self.rows[chosen]])
        if self.soft is not None:
            return photos, torch.from_numpy(self.soft[chosen])
        return photos, torch.from_numpy(self.targets[chosen].astype(np.int64))


@dataclass(frozen=True)
class Batches:
    """The training batches of a fold; the last, incomplete batch of an epoch is left out.

    Args:
        examples: The training photos.
        batch_size: Rows of a global batch.
        key: Names the training: seed and fold.
        world: This process's place.
    """

    examples: Examples
    batch_size: int
    key: tuple[int, int]
    world: World

    def __post_init__(self) -> None:
        if len(self.examples) < 2:
            raise DataError(
                f"At least 2 photos are needed to train on. Got {len(self.examples)}. Add photos."
            )
        if self.world.size > 1 and len(self.examples) < self.batch_size:
            raise DataError(
                f"{len(self.examples)} training photos do not fill one batch of "
                f"{self.batch_size}, which several processes need. Use one process."
            )

    @property
    def rows(self) -> int:
        """Rows of a global batch: fewer than asked for where there are too few photos."""
        return min(self.batch_size, len(self.examples) // 2 * 2)

    @property
    def num_steps(self) -> int:
        """Batches of an epoch."""
        return len(self.examples) // self.rows

    def load(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Read this process's rows of a batch.

        Args:
            epoch: From 0.
            step: From 0.

        Returns:
            Photos uint8 `(k, s, s, 3)` and targets as `Examples.take` gives, on the CPU.
        """
        order = np.random.default_rng([*self.key, epoch]).permutation(len(self.examples))
        mine = order[step * self.rows : (step + 1) * self.rows][self.world.share(self.rows)]
        return self.examples.take(mine)

    def epoch(self, epoch: int, start: int = 0) -> "Feed":
        """Read the batches of an epoch.

        Args:
            epoch: From 0.
            start: The first step.

        Returns:
            An iterator that knows how long its user had to wait.
        """
        return Feed(self, epoch, start)


class Feed:
    """The batches of an epoch on their device, read ahead by a thread where that is a GPU.

    Args:
        batches: The training batches.
        epoch: From 0.
        start: The first step.
    """

    def __init__(self, batches: Batches, epoch: int, start: int) -> None:
        self.waited_s = 0.0
        self._batches, self._epoch, self._start = batches, epoch, start

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        source = self._read() if self._batches.world.device.type == "cpu" else self._read_ahead()
        while True:
            begin = time.perf_counter()
            batch = next(source, None)
            self.waited_s += time.perf_counter() - begin
            if batch is None:
                return
            yield batch

    def _read(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        device = self._batches.world.device
        for step in range(self._start, self._batches.num_steps):
            photos, targets = self._batches.load(self._epoch, step)
            if device.type == "cuda":
                photos, targets = photos.pin_memory(), targets.pin_memory()
            yield step, photos.to(device, non_blocking=True), targets.to(device, non_blocking=True)

    def _read_ahead(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        ahead: queue.Queue[tuple[int, Tensor, Tensor] | BaseException | None]
        ahead, stop = queue.Queue(_AHEAD), threading.Event()

        def put(item: tuple[int, Tensor, Tensor] | BaseException | None) -> None:
            while not stop.is_set():
                with suppress(queue.Full):
                    ahead.put(item, timeout=0.1)
                    return

        def work() -> None:
            try:
                for batch in self._read():
                    put(batch)
                    if stop.is_set():
                        return
                put(None)
            except BaseException as error:  # handed over to the loop, which raises it
                put(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            while (item := ahead.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()
