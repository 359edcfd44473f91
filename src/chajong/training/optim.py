"""The optimiser, its learning rate over time, and which weights learn when."""

import math
from typing import Any

import torch
from timm.models._manipulate import group_with_matcher
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from chajong.errors import RecipeError
from chajong.recipe_train import AdamW, Constant, Cosine, OneCycle
from chajong.training.last_layer import head_parameters


def make_optimiser(network: nn.Module, optim: AdamW) -> torch.optim.Optimizer:
    """Make the optimiser of a recipe; biases, norms and what a network exempts are not decayed.

    Args:
        network: Whose parameters to change.
        optim: The recipe's optimiser.

    Returns:
        The optimiser; each group's `lr_scale`, where it has one, is its factor on the learning
        rate.

    Raises:
        RecipeError: If the rate should depend on stages that the network does not tell.
    """
    groups: list[dict[str, Any]]
    exempt = getattr(network, "no_weight_decay", set[str])()  # positions, for one
    if hasattr(network, "group_matcher"):
        groups = param_groups_layer_decay(
            network,
            weight_decay=optim.weight_decay,
            no_weight_decay_list=exempt,
            layer_decay=optim.layer_decay,
        )
    elif optim.layer_decay != 1:
        raise RecipeError(
            f"optim.layer_decay must be 1 for a backbone that does not tell its stages. "
            f"Got {optim.layer_decay}."
        )
    else:
        groups = param_groups_weight_decay(
            network, weight_decay=optim.weight_decay, no_weight_decay_list=exempt
        )
    return torch.optim.AdamW(groups, lr=optim.lr)


def set_learning_rate(
    optimiser: torch.optim.Optimizer,
    optim: AdamW,
    schedule: Constant | Cosine | OneCycle,
    epoch: float,
    num_epochs: int,
) -> float:
    """Set the learning rate for a point of the training.

    Args:
        optimiser: Changed in place.
        optim: The recipe's optimiser.
        schedule: The recipe's schedule.
        epoch: Epochs done so far, with fractions.
        num_epochs: Epochs in all.

    Returns:
        The learning rate of the head.
    """
    lr = optim.lr * learning_rate_factor(schedule, epoch, num_epochs)
    for group in optimiser.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    return lr


def learning_rate_factor(
    schedule: Constant | Cosine | OneCycle, epoch: float, num_epochs: int
) -> float:
    """Compute a schedule.

    Args:
        schedule: The recipe's schedule.
        epoch: Epochs done so far, in [0, num_epochs].
        num_epochs: Epochs in all.

    Returns:
        The factor on the learning rate, in [0, 1].
    """
    match schedule:
        case OneCycle():
            peak = schedule.peak_at * num_epochs
            if epoch < peak:
                return _half_cosine(schedule.start, 1.0, epoch / peak)
            return _half_cosine(1.0, schedule.final, (epoch - peak) / (num_epochs - peak))
        case Constant() | Cosine() if epoch < schedule.warmup_epochs:
            # From one hundredth: a rate of 0 would waste the first step.
            return 0.01 + 0.99 * epoch / schedule.warmup_epochs
        case Cosine():
            left = max(num_epochs - schedule.warmup_epochs, 1e-9)
            return _half_cosine(1.0, schedule.final, (epoch - schedule.warmup_epochs) / left)
        case _:
            return 1.0


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def choose_what_learns(network: nn.Module, head_only: bool, frozen_stages: int) -> None:
    """Set which parameters learn, and whether batch norms follow the batch.

    Args:
        network: Changed in place.
        head_only: Whether nothing but the head learns.
        frozen_stages: How many stages, from the photo on, never learn.

    Raises:
        RecipeError: If the network does not tell its stages, or has fewer.
    """  # noqa: DOC502 raised by _frozen_names
    head = {name for name, _ in head_parameters(network)}
    frozen = _frozen_names(network, frozen_stages) if frozen_stages else set()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in head if head_only else name not in frozen)
    set_training_mode(network)


def set_training_mode(network: nn.Module) -> None:
    """Put a network into training mode, except the norms and dropouts of frozen parts.

    Args:
        network: Changed in place.
    """
    network.train()
    for module in network.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def _frozen_names(network: nn.Module, frozen_stages: int) -> set[str]:
    matcher = getattr(network, "group_matcher", None)
    if matcher is None:
        raise RecipeError(
            f"model.frozen_stages must be 0 for a backbone that does not tell its stages. "
            f"Got {frozen_stages}."
        )
    stages: dict[str, int] = group_with_matcher(
        network.named_parameters(), matcher(coarse=True), reverse=True
    )
    num_stages = max(stages.values())
    if frozen_stages > num_stages:
        raise RecipeError(
            f"model.frozen_stages must be at most {num_stages} for this backbone. "
            f"Got {frozen_stages}."
        )
    return {name for name, stage in stages.items() if stage < frozen_stages}
