"""Other ends for a network: generalised-mean pooling, and a last layer of cosines.

Both are put in after the first weights are loaded, so that files of weights need not know them.

Shapes: n photos, c classes, d features, h w places.
"""

import math
from typing import Any

import torch
from timm.layers import SelectAdaptivePool2d
from torch import Tensor, nn
from torch.nn import functional

from chajong.errors import RecipeError
from chajong.recipe_model import CosineHead, Gem, Model
from chajong.training.last_layer import last_linear, replace_layer

_LEAST = 1e-6  # features below it count as it: a power of a negative number is none


class GemPool(nn.Module):
    """The p-th root of the mean p-th power over places, of features above 0.

    Args:
        gem: The recipe's part.
        flatten: Whether places are dropped from the shape.
    """

    def __init__(self, gem: Gem, flatten: bool) -> None:
        super().__init__()
        self.flatten = flatten
        p = torch.tensor(gem.p)
        self.p: Tensor
        if gem.learned:
            self.p = nn.Parameter(p)
        else:
            self.register_buffer("p", p)

    def forward(self, x: Tensor) -> Tensor:
        """Pool.

        Args:
            x: `(n, d, h, w)`.

        Returns:
            float32 `(n, d)`, or `(n, d, 1, 1)` where it does not flatten.
        """
        # A power of half-precision numbers loses its digits, and a high one of any small number
        # is 0, of a large one infinite: so of the shares of the greatest.
        x = x.float().clamp(min=_LEAST)
        greatest = x.amax(dim=(2, 3), keepdim=True).detach()
        powers = (x / greatest) ** self.p
        pooled = powers.mean(dim=(2, 3), keepdim=True) ** (1 / self.p) * greatest
        return pooled.flatten(1) if self.flatten else pooled


class CosineLinear(nn.Linear):
    """Logits that are a scale times the cosine of features and each class's weights.

    Args:
        num_features: d.
        num_classes: c.
        head: The recipe's part.
    """

    def __init__(self, num_features: int, num_classes: int, head: CosineHead) -> None:
        super().__init__(num_features, num_classes, bias=False)
        # As a logarithm it learns as fast at any size, and stays above 0.
        log_scale = torch.tensor(math.log(head.scale))
        self.log_scale: Tensor
        if head.learned:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits.

        Args:
            x: `(n, d)`.

        Returns:
            `(n, c)`, within the scale on either side.
        """
        # Half-precision cosines of look-alikes are the same number.
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._logits(x)
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        weight = functional.normalize(self.weight, dim=1)
        cosines = functional.linear(functional.normalize(x.float(), dim=1), weight)
        return cosines * self.log_scale.exp()

    def at_places(self, x: Tensor) -> Tensor:
        """Tell what each place adds to the logits of their mean.

        Args:
            x: `(n, h, w, d)`.

        Returns:
            `(n, h, w, c)`, whose mean over places is what the layer says of the mean of `x`: the
            length of that mean, which all places share, divides each of them.
        """
        length = x.mean(dim=(1, 2), keepdim=True).norm(dim=3, keepdim=True).clamp(min=1e-12)
        weight = functional.normalize(self.weight, dim=1)
        return functional.linear(x / length, weight) * self.log_scale.exp()


def with_head(network: nn.Module, model: Model) -> nn.Module:
    """Put the pooling and the last layer of a recipe into a network.

    Args:
        network: Changed in place.
        model: The recipe's model.

    Returns:
        The network.

    Raises:
        RecipeError: If the network has no such places.
    """  # noqa: DOC502 raised by what it calls
    if model.gem is not None:
        name, pool = _pool(network, model.backbone)
        # timm's pools flatten in one of two places.
        flattens = isinstance(pool.flatten, nn.Flatten) or getattr(pool.pool, "flatten", False)
        replace_layer(network, name, GemPool(model.gem, bool(flattens)))
    if model.cosine is not None:
        name, linear = _last_layer(network, model.backbone)
        layer = CosineLinear(linear.in_features, linear.out_features, model.cosine)
        replace_layer(network, name, layer)
    return network


def _pool(network: nn.Module, backbone: str) -> tuple[str, Any]:
    pools = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, SelectAdaptivePool2d) and not module.is_identity()
    ]
    # Those of channels-last networks mean over other axes.
    if len(pools) != 1 or getattr(pools[0][1].pool, "dim", (2, 3)) not in {(2, 3), (-2, -1)}:
        raise RecipeError(
            "model.gem needs a timm backbone that ends in one mean over places, channels first, "
            f"such as mobilenetv2_100, resnet50 or a ConvNeXt. Got '{backbone}': leave model.gem "
            "out, or choose another."
        )
    return pools[0]


def _last_layer(network: nn.Module, backbone: str) -> tuple[str, nn.Linear]:
    found = last_linear(network)
    if found is not None:
        return found
    raise RecipeError(
        f"model.cosine needs a backbone that ends in one linear layer. Got '{backbone}', which "
        "does not: leave model.cosine out, or choose another."
    )
