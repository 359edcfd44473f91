"""What TrivialAugment and RandAugment do to photos, a batch at a time.

Shapes: photos x are float32 `(n, 3, h, h)` in [0, 1], strengths `(n,)`, one a photo. Results are as
torchvision's function of the same name gives them on photos of 8 bits, but for rounding.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

Change = Callable[[Tensor, Tensor], Tensor]
"""From photos and strengths to photos."""

_GREY = (0.299, 0.587, 0.114)
_LEVELS = 256


def grey(x: Tensor) -> Tensor:
    """Give the brightness of each pixel (ITU-R BT.601).

    Args:
        x: Photos.

    Returns:
        `(n, 1, h, h)` in [0, 1].
    """
    red, green, blue = _GREY
    return red * x[:, :1] + green * x[:, 1:2] + blue * x[:, 2:]


def _identity(x: Tensor, _strength: Tensor) -> Tensor:
    # Change nothing.
    return x


def _shear_x(x: Tensor, strength: Tensor) -> Tensor:
    # Move each row to the left, the further the lower it is: strength times its height.
    return _warp(x, {(0, 1): strength, (0, 2): strength})


def _shear_y(x: Tensor, strength: Tensor) -> Tensor:
    # Move each column up, the further the more it is to the right.
    return _warp(x, {(1, 0): strength, (1, 2): strength})


def _translate_x(x: Tensor, strength: Tensor) -> Tensor:
    # Move to the right by a whole number of pixels, cut off towards zero.
    return _warp(x, {(0, 2): -2 * strength.trunc() / x.shape[-1]})


def _translate_y(x: Tensor, strength: Tensor) -> Tensor:
    # Move down by a whole number of pixels, cut off towards zero.
    return _warp(x, {(1, 2): -2 * strength.trunc() / x.shape[-1]})


def _rotate(x: Tensor, strength: Tensor) -> Tensor:
    # Turn counter-clockwise by so many degrees.
    cos, sin = strength.deg2rad().cos(), strength.deg2rad().sin()
    return _warp(x, {(0, 0): cos, (0, 1): -sin, (1, 0): sin, (1, 1): cos})


def _brightness(x: Tensor, strength: Tensor) -> Tensor:
    # Mix with black: -1 is black, 0 the photo, above is lighter.
    return (x * _factor(strength)).clamp_(0, 1)


def _saturation(x: Tensor, strength: Tensor) -> Tensor:
    # Mix with the same photo in grey: -1 is grey, 0 the photo, above is more colourful.
    return torch.lerp(grey(x), x, _factor(strength)).clamp_(0, 1)


def _contrast(x: Tensor, strength: Tensor) -> Tensor:
    # Mix with the mean grey: -1 is flat, 0 the photo, above has more contrast.
    mean = grey(x).mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, _factor(strength)).clamp_(0, 1)


def _sharpness(x: Tensor, strength: Tensor) -> Tensor:
    # Mix with a blurred copy: -1 is blurred, 0 the photo, above is sharper; the rim stays.
    inner = x[:, :, 1:-1, 1:-1]
    blurred = (9 * functional.avg_pool2d(x, 3, stride=1) + 4 * inner) / 13
    changed = x.clone()
    changed[:, :, 1:-1, 1:-1] = torch.lerp(blurred, inner, _factor(strength)).clamp_(0, 1)
    return changed


def _posterize(x: Tensor, strength: Tensor) -> Tensor:
    # Set so many of the lowest of 8 bits to zero.
    step = 2 ** strength.round().view(-1, 1, 1, 1)
    levels = (x * (_LEVELS - 1)).round()
    return (levels - levels % step) / (_LEVELS - 1)


def _solarize(x: Tensor, strength: Tensor) -> Tensor:
    # Invert what is at least as bright as 1 - strength.
    return torch.where(x >= 1 - strength.view(-1, 1, 1, 1), 1 - x, x)


def autocontrast(x: Tensor, _strength: Tensor | None = None) -> Tensor:
    """Stretch each channel from black to white; one that is flat stays.

    Args:
        x: Photos.
        _strength: Not used.

    Returns:
        Photos.
    """
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    # Less than one step of 8 bits is a flat channel with the noise of resampling.
    span = high - low
    return torch.where(span > 1 / 255, (x - low) / span.clamp(min=1 / 255), x)


def _equalize(x: Tensor, _strength: Tensor) -> Tensor:
    # Spread each channel's levels until all are about as frequent, as Pillow does.
    levels = (x * (_LEVELS - 1)).round().long().flatten(2)  # (n, 3, h * h)
    counts = torch.zeros(*levels.shape[:2], _LEVELS, dtype=torch.long, device=x.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    total = counts.cumsum(2)
    brightest = counts.gather(2, levels.amax(2, keepdim=True))
    step = (total[:, :, -1:] - brightest) // (_LEVELS - 1)
    below = total - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=_LEVELS - 1)
    spread = table.gather(2, levels).view(x.shape).to(x.dtype) / (_LEVELS - 1)
    return torch.where(step[..., None] > 0, spread, x)


def _factor(strength: Tensor) -> Tensor:
    return (1 + strength).view(-1, 1, 1, 1)


def _warp(x: Tensor, entries: dict[tuple[int, int], Tensor]) -> Tensor:
    # Where each point of the result lies in the photo, both in [-1, 1]; black outside.
    n = x.shape[0]
    theta = torch.eye(2, 3, device=x.device).repeat(n, 1, 1)
    for (row, column), values in entries.items():
        theta[:, row, column] = values
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, mode="nearest", align_corners=False)


OPERATIONS: Mapping[str, Change] = MappingProxyType(
    {
        "identity": _identity,
        "shear_x": _shear_x,
        "shear_y": _shear_y,
        "translate_x": _translate_x,
        "translate_y": _translate_y,
        "rotate": _rotate,
        "brightness": _brightness,
        "saturation": _saturation,
        "contrast": _contrast,
        "sharpness": _sharpness,
        "posterize": _posterize,
        "solarize": _solarize,
        "autocontrast": autocontrast,
        "equalize": _equalize,
    }
)
"""All operations by their names."""
