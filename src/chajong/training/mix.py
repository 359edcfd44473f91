"""Photos blended in pairs.

The partner of a photo is its neighbour in the shuffled order: as random as any other, and never in
another process.
"""

import torch
from torch import Tensor

from chajong.recipe_train import Mix
from chajong.training.augment import boxes
from chajong.training.draws import Draws


def mix(x: Tensor, targets: Tensor, recipe: Mix, draws: Draws) -> tuple[Tensor, Tensor]:
    """Blend each photo of a batch with its neighbour by mixup or CutMix, or leave all as they are.

    Args:
        x: Photos `(n, 3, h, h)`.
        targets: Probabilities `(n, c)`.
        recipe: What to do, and how often.
        draws: The step's random numbers.

    Returns:
        Photos and targets of the same shapes.
    """
    if not (recipe.mixup or recipe.cutmix) or draws.once() >= recipe.p:
        return x, targets
    cuts = recipe.cutmix > 0 and (recipe.mixup == 0 or draws.once() < 0.5)
    share = draws.pair_beta(recipe.cutmix if cuts else recipe.mixup)
    partner = _swap(x)
    if cuts:
        ratio = torch.ones_like(share)
        left, top = draws.pair_uniform(), draws.pair_uniform()
        inside = boxes(1 - share, ratio, left, top, x.shape[-1])
        share = 1 - inside.float().mean(dim=(1, 2))
        mixed = torch.where(inside[:, None], partner, x)
    else:
        mixed = torch.lerp(partner, x, share.view(-1, 1, 1, 1))
    return mixed, torch.lerp(_swap(targets), targets, share[:, None])


def _swap(x: Tensor) -> Tensor:
    index = torch.arange(x.shape[0], device=x.device) ^ 1
    return x[index.clamp(max=x.shape[0] - 1)]
