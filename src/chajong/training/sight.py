"""A network that also tells what it saw before it decided.

Shapes: n photos, t side, c classes, d features, h w places.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from chajong.training.heads import CosineLinear
from chajong.training.infer import Eye
from chajong.training.last_layer import head_inputs, head_module

_HEAT_GAP = 1e-3  # of a logit


class Sight(nn.Module):
    """A network that also tells what it saw.

    Args:
        eye: The network.
        size_px: The side of what it looks at.

    Attributes:
        has_heat: Whether its logits are means over places, so that each place has its share.
    """

    def __init__(self, eye: Eye, size_px: int) -> None:
        super().__init__()
        self.network = copy.deepcopy(eye.network).eval()
        self.temperature = eye.temperature
        self.has_heat = self._takes_means(torch.rand(2, 3, size_px, size_px))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Look.

        Args:
            x: (n, 3, t, t).

        Returns:
            (n, c) logits, (n, d) what the last layer gets, and what its mean over places is taken
            of, if so.
        """
        with _inputs(self._pool) as maps, head_inputs(self.network) as seen:
            logits: Tensor = self.network(x).float()
        return logits / self.temperature, seen[0], maps[0] if maps else None

    def heat(self, features: Tensor) -> Tensor:
        """Tell what each place says.

        Args:
            features: (n, d, h, w).

        Returns:
            (n, c, h, w) logits, whose mean over places is what the network answers.
        """
        head, places = head_module(self.network), features.permute(0, 2, 3, 1).float()
        said: Tensor = head.at_places(places) if isinstance(head, CosineLinear) else head(places)
        return said.permute(0, 3, 1, 2) / self.temperature

    @property
    def _pool(self) -> nn.Module | None:
        # timm's name for the layer, and torchvision's. Transformers keep a word by that name.
        named = (getattr(self.network, name, None) for name in ("global_pool", "avgpool"))
        return next((layer for layer in named if isinstance(layer, nn.Module)), None)

    @torch.inference_mode()
    def _takes_means(self, x: Tensor) -> bool:
        # Tried out rather than looked up: a norm or a layer between mean and head spoils it.
        logits, _, features = self(x)
        if features is None or features.ndim != 4:
            return False
        if not isinstance(head_module(self.network), nn.Linear):
            return False
        if features.shape[1] != head_module(self.network).in_features:
            return False
        places = self.heat(features).mean(dim=(2, 3))
        return bool((places - logits).abs().max() <= _HEAT_GAP)


@contextmanager
def _inputs(module: nn.Module | None) -> Iterator[list[Tensor]]:
    # What a module gets while its network looks at photos; nothing of no module.
    seen: list[Tensor] = []
    if module is None:
        yield seen
        return
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()
