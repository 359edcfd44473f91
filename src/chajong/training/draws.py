"""Random numbers that depend on where training stands, never on how it got there."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass
class Draws:
    """The random numbers of one training step.

    The same step draws the same numbers in a resumed run, in any number of processes: they are
    drawn for the whole batch, and each process takes its rows.

    Args:
        key: Names the step: seed, fold, epoch, step.
        num_rows: Rows of the global batch.
        rows: Which of them this process has.
        device: Where the tensors go.
    """

    key: tuple[int, ...]
    num_rows: int
    rows: slice
    device: torch.device
    _generator: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._generator = np.random.default_rng(self.key)

    def uniform(self, low: float, high: float) -> Tensor:
        """Draw a number for each row.

        Args:
            low: Smallest value.
            high: Largest value.

        Returns:
            `(n,)` in [low, high).
        """
        return self._mine(self._generator.uniform(low, high, self.num_rows))

    def chance(self, p: float) -> Tensor:
        """Draw a yes or no for each row.

        Args:
            p: Probability of a yes.

        Returns:
            Booleans `(n,)`.
        """
        return self.uniform(0, 1) < p

    def choices(self, num: int) -> NDArray[np.int64]:
        """Draw one of some choices for each row, on the host, where code branches by it.

        Args:
            num: How many there are.

        Returns:
            `(n,)` in 0 to num - 1.
        """
        return self._generator.integers(0, num, self.num_rows)[self.rows]

    def pair_beta(self, alpha: float) -> Tensor:
        """Draw a share for each pair of neighbouring rows.

        Args:
            alpha: Of the beta distribution.

        Returns:
            `(n,)` in [0, 1], the same for both rows of a pair.
        """
        num_pairs = (self.num_rows + 1) // 2
        return self._mine(self._generator.beta(alpha, alpha, num_pairs).repeat(2)[: self.num_rows])

    def pair_uniform(self) -> Tensor:
        """Draw a number for each pair of neighbouring rows.

        Returns:
            `(n,)` in [0, 1), the same for both rows of a pair.
        """
        num_pairs = (self.num_rows + 1) // 2
        return self._mine(self._generator.uniform(size=num_pairs).repeat(2)[: self.num_rows])

    def once(self) -> float:
        """Draw one number for the whole batch.

        Returns:
            A number in [0, 1).
        """
        return float(self._generator.uniform())

    def on_device(self, values: NDArray[np.generic]) -> Tensor:
        """Bring an array to the device without waiting for it.

        Args:
            values: Of any shape.

        Returns:
            The same values in the same type.
        """
        # From other memory each draw would wait until the GPU has done all that it was given.
        there = torch.from_numpy(values)
        is_far = self.device.type == "cuda" and torch.cuda.is_available()
        pinned = there.pin_memory() if is_far else there
        return pinned.to(self.device, non_blocking=True)

    def _mine(self, values: NDArray[np.float64]) -> Tensor:
        return self.on_device(values[self.rows].astype(np.float32))
