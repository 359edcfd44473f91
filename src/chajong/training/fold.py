"""What one model learns from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chajong.training.loader import Examples


@dataclass(frozen=True)
class Fold:
    """What one model learns from, and what it is checked on.

    Args:
        name: Number of the fold, or `all`.
        train: The training photos.
        validation: The photos left out, or none.
        num_classes: Outputs of the network.
        canonical: Each class's first equal class `(c,)`.
        folder: Where the model's files go.
    """

    name: str
    train: Examples
    validation: Examples | None
    num_classes: int
    canonical: NDArray[np.intp]
    folder: Path

    @property
    def number(self) -> int:
        """Number of the fold; a number of its own for `all`."""
        return 1000 if self.name == "all" else int(self.name)
