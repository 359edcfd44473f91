"""Networks that teach another one, on the very photos that it learns from.

Shapes: n photos, c classes, h side of a training photo.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chajong.recipe_train import Distil
from chajong.training.infer import Eye


@dataclass(frozen=True)
class Teacher:
    """Networks that see the same pixels as their student.

    Args:
        eyes: The networks.
        distil: The recipe's part.
        mean: What the student's photos are shifted by.
        std: What they are scaled by.
    """

    eyes: tuple[Eye, ...]
    distil: Distil
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @torch.no_grad()
    def teach(self, x: Tensor, targets: Tensor) -> Tensor:
        """Mix the teacher's geometric mean into the targets of a batch.

        Args:
            x: Photos as the student sees them `(n, 3, h, h)`.
            targets: Probabilities `(n, c)`.

        Returns:
            Probabilities `(n, c)`.
        """
        said = torch.stack([self._ask(eye, x) for eye in self.eyes]).mean(dim=0)
        probs = (said / self.distil.temperature).softmax(dim=1)
        return torch.lerp(targets, probs, self.distil.alpha)

    def _ask(self, eye: Eye, x: Tensor) -> Tensor:
        if (eye.mean, eye.std) != (self.mean, self.std):
            theirs, ours = _channels(eye.mean, eye.std, x), _channels(self.mean, self.std, x)
            x = (x * ours[1] + ours[0] - theirs[0]) / theirs[1]
        eye.network.eval()
        with eye.autocast():
            logits = eye.network(x).float()
        answer: Tensor = (logits / eye.temperature).log_softmax(dim=1)
        return answer


def _channels(mean: Sequence[float], std: Sequence[float], x: Tensor) -> Tensor:
    return torch.tensor([mean, std], device=x.device).view(2, 1, 3, 1, 1)
