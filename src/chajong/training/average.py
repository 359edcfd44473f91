"""Averages of the weights over a training, whose batch norms are right for them."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from chajong.recipe_train import Train

NUM_PHOTOS = 4096
"""How many training photos batch norms are measured on (Wu and Johnson, 2021, take 1,000 up)."""


class TailMean(ModelEmaV3):  # type: ignore[misc]
    """The plain mean of the weights after each step of the last epochs.

    Before them it is a copy of the weights. Its step alone says where it stands, so that a
    training that goes on needs nothing else.

    Args:
        network: Whose weights.
        after: Steps before the first that counts.
    """

    def __init__(self, network: nn.Module, after: int) -> None:
        super().__init__(network)
        self.after = after

    def get_decay(self, step: int | None = None) -> float:
        """Tell how much of the mean so far stays.

        Args:
            step: Steps done, this one included.

        Returns:
            (k - 1) / k at the k-th that counts; 0 before.
        """
        counted = (step or 0) - self.after
        return (counted - 1) / counted if counted > 0 else 0.0


def make_average(network: nn.Module, train: Train, num_updates: int) -> ModelEmaV3 | None:
    """Make the average of a recipe.

    Args:
        network: Whose weights, on its device.
        train: The recipe's part.
        num_updates: Steps of the optimiser in the whole training.

    Returns:
        The average; none where the recipe has none.
    """
    if train.swa is not None:
        after = round((1 - train.swa.last) * num_updates)
        return TailMean(network, min(after, num_updates - 1))  # at least the last one counts
    if train.ema is not None:
        return ModelEmaV3(network, decay=train.ema.decay, use_warmup=train.ema.warmup)
    return None


def measure_norms(
    average: nn.Module,
    network: nn.Module,
    batches: Iterable[Tensor],
    autocast: AbstractContextManager[object],
) -> None:
    """Measure the statistics of batch norms anew: those of a mean are no mean of statistics.

    Args:
        average: Changed in place: its batch norms that follow the batch in the network.
        network: In training mode, as it learns.
        batches: Photos as the network learns from them, each `(n, 3, h, h)`.
        autocast: The precision.
    """
    norms: list[Any] = [
        module
        for name, module in average.named_modules()
        if getattr(module, "running_mean", None) is not None
        and network.get_submodule(name).training
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    average.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for seen, x in enumerate(batches, 1):
            for norm in norms:
                norm.momentum = 1 / seen  # together the mean over the batches
            with autocast:  # not while the next batch is augmented, which training does without
                average(x)
    average.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
