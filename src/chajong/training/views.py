"""Views: the ways in which a finished model may look at one photo.

Which of them are worth their time is learned from the out-of-fold table, not assumed.

Shapes: n photos, s side of a photo, t side of a view.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

View = Callable[[Tensor], Tensor]
"""From float32 `(n, 3, s, s)` in [0, 1] to `(n, 3, t, t)` in [0, 1]; what it gets is unchanged."""

_GREY = 128 / 255  # what the evaluation transform pads with
_STRIDE_PX = 32  # networks halve a photo five times, so other sides gain nothing
_USUAL_ASPECT = 1.5  # a squashed car photo was about this much wider than high


def _plain(x: Tensor) -> Tensor:
    return x


def _flip(x: Tensor) -> Tensor:
    return x.flip(3)


def _small(x: Tensor) -> Tensor:
    return _resized(x, 0.8)


def _large(x: Tensor) -> Tensor:
    return _resized(x, 1.25)


def _large_flip(x: Tensor) -> Tensor:
    return _large(_flip(x))


def _zoom(x: Tensor) -> Tensor:
    return _warped(x, scale=0.875)


def _zoom_flip(x: Tensor) -> Tensor:
    return _zoom(_flip(x))


def _wide(x: Tensor) -> Tensor:  # a step back; the rest is grey
    return _warped(x, scale=1.125)


def _left(x: Tensor) -> Tensor:
    return _warped(x, scale=0.875, shift=-0.125)


def _right(x: Tensor) -> Tensor:
    return _warped(x, scale=0.875, shift=0.125)


def _letterbox(x: Tensor) -> Tensor:  # undoes most of the squashing: two thirds as high, on grey
    return _warped(x, stretch=_USUAL_ASPECT)


def _square_crop(
    x: Tensor,
) -> Tensor:  # undoes most of the squashing: the middle two thirds of the width
    return _warped(x, scale=1 / _USUAL_ASPECT, stretch=_USUAL_ASPECT)


def _tilt_left(x: Tensor) -> Tensor:
    return _turned(x, 5)


def _tilt_right(x: Tensor) -> Tensor:
    return _turned(x, -5)


def _blur(x: Tensor) -> Tensor:
    blurred: Tensor = transforms.gaussian_blur(x, [5, 5], [0.8, 0.8])
    return blurred


def _brighter(x: Tensor) -> Tensor:  # lifts the shadows
    return x.pow(0.7)


def _darker(x: Tensor) -> Tensor:  # deepens the shadows
    return x.pow(1.4)


VIEWS: Mapping[str, View] = MappingProxyType(
    {
        view.__name__[1:]: view
        for view in (
            _plain, _flip, _small, _large, _large_flip, _zoom, _zoom_flip, _wide, _left, _right,
            _letterbox, _square_crop, _tilt_left, _tilt_right, _blur, _brighter, _darker,
        )
    }
)  # fmt: skip
"""All views by their names."""


def side_of(view: str, side_px: int) -> int:
    """Tell how large a photo is to the network.

    Args:
        view: One of `VIEWS`.
        side_px: Side of a photo.

    Returns:
        Side of what the network sees, in pixels.
    """
    return int(VIEWS[view](torch.zeros(1, 3, side_px, side_px)).shape[3])


def _resized(x: Tensor, factor: float) -> Tensor:
    side = max(1, round(x.shape[3] * factor / _STRIDE_PX)) * _STRIDE_PX
    if side < x.shape[3]:
        # Not by `interpolate`: in a graph OpenVINO overlooks that it is to be antialiased. Weights
        # of a pixel sum to 1, so that nothing leaves [0, 1]; clamped, OpenVINO may not compute it.
        means = _means(x, side)
        return means @ x @ means.T
    return functional.interpolate(x, (side, side), mode="bilinear", align_corners=False).clamp(0, 1)


def _means(x: Tensor, smaller: int) -> Tensor:
    # (smaller, s): the weight of each old pixel of a line in each new one, as `interpolate` has it
    # with antialiasing: a triangle, as wide as a new pixel on both sides of its middle.
    scale = x.shape[3] / smaller
    middles = (torch.arange(smaller, device=x.device) + 0.5) * scale
    away = (torch.arange(x.shape[3], device=x.device) + 0.5 - middles[:, None]).abs()
    weights = (1 - away / scale).clamp(min=0)
    return weights / weights.sum(dim=1, keepdim=True)


def _warped(x: Tensor, scale: float = 1.0, shift: float = 0.0, stretch: float = 1.0) -> Tensor:
    # A window of the photo: `scale` of its width, moved by `shift` half widths; its height is
    # `stretch` times as much. What lies outside the photo is grey. Rows and columns are sampled
    # one after the other, by inner products: exported, `grid_sample` takes ten times as long.
    # Weights of a pixel sum to at most 1, so that nothing leaves [0, 1] and nothing is clamped.
    rows = _samples(x, scale * stretch, 0.0)
    columns = _samples(x, scale, shift)
    return rows @ (x - _GREY) @ columns.T + _GREY


def _samples(x: Tensor, scale: float, shift: float) -> Tensor:
    # (s, s): the weight of each old pixel of a line in each new one, bilinear; 0 outside.
    side = x.shape[3]
    pixels = torch.arange(side, device=x.device)
    centres = (2 * pixels + 1) / side - 1
    at = ((scale * centres + shift + 1) * side - 1) / 2
    return (1 - (at[:, None] - pixels).abs()).clamp(min=0)


def _turned(x: Tensor, degrees: float) -> Tensor:
    # About the middle, to the left; what comes in from outside is grey.
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]], device=x.device)
    grid = functional.affine_grid(turn[None], [1, 1, *x.shape[2:]], align_corners=False)
    grid = grid.expand(x.shape[0], -1, -1, -1)
    return (functional.grid_sample(x - _GREY, grid, align_corners=False) + _GREY).clamp(0, 1)
