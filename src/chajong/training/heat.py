"""Where in a photo a network sees what tells two classes apart.

The map is the gradient of the difference of two logits by the last feature map, times that map,
summed over channels (HiResCAM, Draelos & Carin 2020, arXiv 2011.08891). For networks that end in a
global mean and a linear layer it is exact: its mean is the difference of the logits, but for their
biases. So it is after generalised-mean pooling, where features above 0 are twice as large the pool
is too. A layer of cosines has no such map: all places share the length that it divides by.

Shapes: n photos, c classes, h w a feature map.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chajong.training.heads import has_cosine_head
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
        `(n, h, w)`, in logits; none for networks that have no feature map with places, or end in
        cosines.
    """
    network: Any = eye.network.eval()
    if not hasattr(network, "forward_features") or not hasattr(network, "forward_head"):
        return None
    if has_cosine_head(network):
        return None
    x = eye.prepare(torch.from_numpy(pixels))
    with torch.enable_grad():
        features = network.forward_features(x)
        if not isinstance(features, torch.Tensor) or features.ndim != 4:
            return None
        features = features.detach().float().requires_grad_()
        logits = network.forward_head(features) / eye.temperature
        rows = torch.arange(len(pixels), device=logits.device)
        places = [torch.from_numpy(each).to(logits.device) for each in (toward, against)]
        gap = logits[rows, places[0]] - logits[rows, places[1]]
        (slope,) = torch.autograd.grad(gap.sum(), features)
    # As many places as there are share the sum, so that their mean is the gap.
    num_places = features.shape[2] * features.shape[3]
    found: NDArray[np.float32] = ((slope * features).sum(dim=1) * num_places).detach().cpu().numpy()
    return found
