"""From photos and a network to log-probabilities, view by view.

Shapes: n photos, v views, c classes, s side.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chajong.training.augment import normalise, to_float
from chajong.training.failures import told_of_looking
from chajong.training.precision import autocast
from chajong.training.views import VIEWS

_BATCH = 64


@dataclass(frozen=True)
class Eye:
    """A network with all that it takes to look at photos as it was trained to.

    Args:
        network: Its weights loaded.
        device: Where it is.
        precision: `fp32`, `bf16` or `fp16`.
        mean: Of each channel.
        std: Of each channel.
        temperature: Divides the logits.
    """

    network: nn.Module
    device: torch.device
    precision: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    temperature: float = 1.0

    @told_of_looking
    def prepare(self, photos: Tensor, view: str = "plain") -> Tensor:
        """Apply the evaluation transform's second half: numbers that the network takes.

        Args:
            photos: uint8 `(n, s, s, 3)`.
            view: How to look, one of `VIEWS`.

        Returns:
            float32 `(n, 3, t, t)`, normalised.
        """
        x = VIEWS[view](to_float(photos.to(self.device)))
        return normalise(x.contiguous(memory_format=torch.channels_last), self.mean, self.std)

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in the chosen precision.

        Returns:
            A context.
        """
        return autocast(self.device, self.precision)

    def look(self, photos: Tensor, views: Sequence[str]) -> NDArray[np.float32]:
        """Compute log-probabilities of a batch.

        Args:
            photos: uint8 `(n, s, s, 3)`.
            views: Names of `VIEWS`.

        Returns:
            `(n, v, c)`.
        """
        here = photos.to(self.device)  # once for all views
        return np.stack([self.answer(self.prepare(here, view)) for view in views], axis=1)

    @told_of_looking
    @torch.inference_mode()
    def answer(self, x: Tensor) -> NDArray[np.float32]:
        """Compute log-probabilities of one view of a batch.

        Args:
            x: What `prepare` made; eyes of the same mean, std and device may share it.

        Returns:
            `(n, c)`.
        """
        self.network.eval()
        with self.autocast():
            logits = self.network(x).float()
        log_probs: NDArray[np.float32] = (
            (logits / self.temperature).log_softmax(dim=1).cpu().numpy()
        )
        return log_probs


def infer_rows(
    eye: Eye,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.intp],
    views: Sequence[str],
    each: Callable[[], None] = lambda: None,
) -> NDArray[np.float32]:
    """Look at cached photos.

    Args:
        eye: Who looks.
        pixels: The cache `(m, s, s, 3)`.
        rows: Which photos `(n,)`.
        views: Names of `VIEWS`.
        each: Called after each batch.

    Returns:
        `(n, v, c)`.
    """
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(rows), _BATCH):
        photos = torch.from_numpy(pixels[rows[start : start + _BATCH]])
        parts.append(eye.look(photos, views))
        each()
    return np.concatenate(parts) if parts else np.zeros((0, len(views), 0), np.float32)
