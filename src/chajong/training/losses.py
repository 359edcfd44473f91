"""The losses, for hard and soft targets alike.

Shapes: n photos, c classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from chajong.recipe_train import CrossEntropy, Focal, Poly

# Takes logits (n, c) and target probabilities (n, c); gives the mean over the photos.
Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(loss: CrossEntropy | Focal | Poly, class_counts: Tensor) -> Loss:
    """Make the loss of a recipe.

    Args:
        loss: The recipe's loss.
        class_counts: Training photos of each class `(c,)`; 0 where the class has none.

    Returns:
        A function of logits `(n, c)` and target probabilities `(n, c)` to a scalar.
    """
    if isinstance(loss, CrossEntropy):
        return lambda logits, targets: cross_entropy(logits, targets, loss.smoothing)
    if isinstance(loss, Poly):
        return lambda logits, targets: poly(logits, targets, loss.epsilon, loss.smoothing)
    alpha = inverse_frequency(class_counts) if loss.alpha else None
    return lambda logits, targets: focal(logits, targets, loss.gamma, alpha)


def cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy between target probabilities and a softmax.

    Args:
        logits: `(n, c)`.
        targets: Probabilities `(n, c)`; rows sum to 1.
        smoothing: The share of every target that is spread over all classes, in [0, 1).

    Returns:
        The mean over the photos: `-sum_c t_c log p_c`.
    """
    return functional.cross_entropy(logits.float(), targets, label_smoothing=smoothing)


def poly(logits: Tensor, targets: Tensor, epsilon: float, smoothing: float = 0.0) -> Tensor:
    """Poly-1 loss (Leng et al., 2022) of a softmax, for soft targets.

    `-sum_c s_c log p_c + epsilon * sum_c t_c (1 - p_c)`, where s is the smoothed t. At epsilon 0
    it is the cross-entropy.

    Args:
        logits: `(n, c)`.
        targets: Probabilities `(n, c)`; rows sum to 1.
        epsilon: How much the first term of the loss's series counts more, -1 or above.
        smoothing: As of `cross_entropy`.

    Returns:
        The mean over the photos.
    """
    missed = -torch.expm1(functional.log_softmax(logits.float(), dim=1))
    extra: Tensor = (targets * missed).sum(dim=1).mean()
    return cross_entropy(logits, targets, smoothing) + epsilon * extra


def focal(logits: Tensor, targets: Tensor, gamma: float, alpha: Tensor | None = None) -> Tensor:
    """Focal loss (Lin et al., 2017) of a softmax, for soft targets.

    With hard targets this is `-alpha_y (1 - p_y)^gamma log p_y`. Soft targets weigh the terms of
    all classes: `-sum_c t_c alpha_c (1 - p_c)^gamma log p_c`. The focusing factor is of the plain
    probability: class weights do not enter it. At gamma 0 and without weights it is the
    cross-entropy.

    Args:
        logits: `(n, c)`.
        targets: Probabilities `(n, c)`; rows sum to 1.
        gamma: How much easy photos are played down, 0 or more.
        alpha: Weights of the classes `(c,)`, or none.

    Returns:
        The mean over the photos.
    """
    log_probs = functional.log_softmax(logits.float(), dim=1)
    # 1 - p as expm1 keeps its digits, and its gradient, where p is nearly 1.
    focus = (-torch.expm1(log_probs)).clamp(min=torch.finfo(log_probs.dtype).tiny) ** gamma
    weights = targets if alpha is None else targets * alpha.to(targets)
    return -(weights * focus * log_probs).sum(dim=1).mean()


def inverse_frequency(class_counts: Tensor) -> Tensor:
    """Weigh classes by how rare they are.

    Args:
        class_counts: Photos of each class `(c,)`.

    Returns:
        Weights `(c,)` proportional to 1 / count, such that the mean over the photos is 1, which
        leaves the scale of the loss as it is; 0 for classes without photos.
    """
    counts = class_counts.double()
    present = counts > 0
    weights = torch.where(present, 1 / counts.clamp(min=1), 0.0)
    return (weights * counts.sum() / present.sum()).float()
