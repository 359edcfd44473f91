"""Where in a photo a network sees what tells two classes apart.

The map is the gradient of the difference of two logits by the last feature map, times that map,
summed over channels (HiResCAM, Draelos & Carin 2020, arXiv 2011.08891). For networks that end in a
global mean and a linear layer it is exact: its mean is the difference of the logits, but for their
biases. So it is after generalised-mean pooling, where features above 0 are twice as large the pool
is too. A layer norm or a layer of cosines behind the mean divides by a length that all places
share; it is held, or no place would have a share at all.

Transformers give a token a place. Where the head reads a class token alone, no place of the last
map counts; the map is then that of what the last block looks at.

Shapes: n photos, c classes, d features, h w places, l tokens.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from chajong.training.heads import CosineLinear
from chajong.training.infer import Eye


def heat(
    eye: Eye, pixels: NDArray[np.uint8], toward: NDArray[np.intp], against: NDArray[np.intp]
) -> NDArray[np.float32] | None:
    """Map what speaks for one class and against another.

    Args:
        eye: Who looks.
        pixels: uint8 `(n, s, s, 3)`.
        toward: (n,) class that positive places speak for.
        against: (n,) class that negative places speak for.

    Returns:
        `(n, h, w)`, in logits; none for networks that have no features with places.
    """
    network: Any = eye.network.eval()
    x = eye.prepare(torch.from_numpy(pixels))
    rows = torch.arange(len(pixels), device=x.device)
    places = [torch.from_numpy(each).to(x.device) for each in (toward, against)]
    for look in (_from_the_last_map, _from_the_last_block):
        with torch.enable_grad():
            found = look(network, x)
            if found is None:
                continue
            features, logits = found
            gap = (logits[rows, places[0]] - logits[rows, places[1]]) / eye.temperature
            (slope,) = torch.autograd.grad(gap.sum(), features)
        shares = _with_places(network, slope * features.detach())
        if shares is not None and shares.any():
            # As many places as there are share the sum, so that their mean is the gap.
            num_places = shares.shape[2] * shares.shape[3]
            map_: NDArray[np.float32] = (shares.sum(dim=1) * num_places).cpu().numpy()
            return map_
    return None


def _from_the_last_map(network: Any, x: Tensor) -> tuple[Tensor, Tensor] | None:
    if not hasattr(network, "forward_features") or not hasattr(network, "forward_head"):
        return None
    with torch.no_grad():
        features = network.forward_features(x)
    if not isinstance(features, Tensor):
        return None
    features = features.float().requires_grad_()
    with _lengths_held(network):
        return features, network.forward_head(features)


def _from_the_last_block(network: Any, x: Tensor) -> tuple[Tensor, Tensor] | None:
    # Behind its first norm: the norm takes away what lies along a token, and all of its share.
    blocks = getattr(network, "blocks", None)
    norm = getattr(blocks[-1], "norm1", None) if blocks else None
    if norm is None:
        return None
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, features: Tensor) -> Tensor:
        kept.append(features.detach().requires_grad_())
        return kept[-1]

    hook = norm.register_forward_hook(keep)
    try:
        logits = network(x)
    finally:
        hook.remove()
    return kept[-1], logits


def _with_places(network: Any, features: Tensor) -> Tensor | None:
    # (n, d, h, w); none where it is not known which feature belongs to which place.
    if features.ndim == 4:
        channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        return features.movedim(3, 1) if channels_last else features
    if features.ndim != 3:
        return None
    tokens = features[:, getattr(network, "num_prefix_tokens", 0) :]
    side = math.isqrt(tokens.shape[1])  # networks look at squares
    if side**2 != tokens.shape[1]:
        return None
    return tokens.mT.reshape(len(tokens), -1, side, side)


@contextmanager
def _lengths_held(network: nn.Module) -> Iterator[None]:
    # Layers that divide by a length give the same, but their slopes take it as a constant.
    kinds = (nn.LayerNorm, CosineLinear)
    hooks = [m.register_forward_hook(_held) for m in network.modules() if isinstance(m, kinds)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _held(module: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    x = inputs[0].float()
    if isinstance(module, CosineLinear):
        length, shift = x.norm(dim=1, keepdim=True), None
    elif isinstance(module, LayerNorm2d):
        length = x.std(dim=1, correction=0, keepdim=True)
        shift = None if module.bias is None else module.bias[:, None, None]
    else:
        length, shift = x.std(dim=-1, correction=0, keepdim=True), module.bias
    length = length.clamp(min=torch.finfo(length.dtype).tiny)
    constant = torch.zeros_like(output) if shift is None else shift
    held: Tensor = constant + (output - constant) * (length / length.detach())
    return held
