"""Random changes to the photos of a batch, on the device where the network is.

Shapes: n photos, s side of a cached photo, h side of a training photo.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from chajong.recipe_augment import (
    Augment,
    AutoContrast,
    ColorJitter,
    Crop,
    Flip,
    GaussianBlur,
    Light,
    RandAugment,
    RandomErasing,
    Rotation,
    TrivialAugment,
    VerticalFlip,
)
from chajong.training.draws import Draws
from chajong.training.operations import autocontrast, grey
from chajong.training.policies import rand_augment, trivial_augment


def augment(photos: Tensor, augments: Sequence[Augment], size_px: int, draws: Draws) -> Tensor:
    """Change photos at random, each in its own way.

    Crop, flips and rotation come first, joined into one resampling; the others follow in their
    order.

    Args:
        photos: uint8 `(n, s, s, 3)`.
        augments: The recipe's changes.
        size_px: Side h of the result.
        draws: The step's random numbers.

    Returns:
        float32 `(n, 3, h, h)` in [0, 1].
    """
    x = _resample(to_float(photos), augments, size_px, draws)
    for change in augments:
        x = _recolour(x, change, draws)
    return x


def to_float(photos: Tensor) -> Tensor:
    """Turn cached photos into what networks take.

    Args:
        photos: uint8 `(n, s, s, 3)`.

    Returns:
        float32 `(n, 3, s, s)` in [0, 1], channels last in memory.
    """
    return photos.permute(0, 3, 1, 2).float().div_(255)


def normalise(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Shift and scale channels to what the weights were trained on.

    Args:
        x: `(n, 3, h, w)` in [0, 1]; changed in place.
        mean: Of each channel.
        std: Of each channel.

    Returns:
        The same tensor.
    """
    if len({*mean}) == len({*std}) == 1:  # numbers are faster than channels of equal ones
        return x.sub_(mean[0]).div_(std[0])
    # Filled where they are: numbers that are copied to a GPU would make this wait for it.
    centre, width = (
        torch.cat([x.new_full((1, 1, 1, 1), value) for value in each], dim=1)
        for each in (mean, std)
    )
    return x.sub_(centre).div_(width)


def _resample(x: Tensor, augments: Sequence[Augment], size_px: int, draws: Draws) -> Tensor:
    # Maps a point of the result, in [-1, 1], to the point of the photo that it shows.
    n = x.shape[0]
    matrix = torch.eye(2, device=x.device).repeat(n, 1, 1)
    centre = torch.zeros(n, 2, device=x.device)
    for change in augments:
        match change:
            case Crop():
                size, centre = _draw_crop(change, draws)
                matrix = matrix * size[:, :, None]
            case Flip():
                matrix = matrix * _signs(draws.chance(change.p), 0)[:, None, :]
            case VerticalFlip():
                matrix = matrix * _signs(draws.chance(change.p), 1)[:, None, :]
            case Rotation():
                matrix = matrix @ _turns(draws.uniform(-change.degrees, change.degrees))
            case _:
                pass
    # Bilinear sampling skips pixels where it shrinks by more than two: halve first.
    while x.shape[-1] >= 2 * size_px:
        x = functional.avg_pool2d(x, 2)
    theta = torch.cat([matrix, centre[:, :, None]], dim=2)
    grid = functional.affine_grid(theta, [n, 3, size_px, size_px], align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _draw_crop(crop: Crop, draws: Draws) -> tuple[Tensor, Tensor]:
    area = draws.uniform(*crop.scale)
    ratio = draws.uniform(math.log(crop.ratio[0]), math.log(crop.ratio[1])).exp()
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], dim=1).clamp(max=1)
    place = torch.stack([draws.uniform(-1, 1), draws.uniform(-1, 1)], dim=1)
    return sides, place * (1 - sides)


def _signs(flip: Tensor, axis: int) -> Tensor:
    signs = torch.ones(flip.shape[0], 2, device=flip.device)
    signs[:, axis] -= 2 * flip
    return signs


def _turns(degrees: Tensor) -> Tensor:
    angle = degrees.deg2rad()
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], dim=1)


def _recolour(x: Tensor, change: Augment, draws: Draws) -> Tensor:
    match change:
        case ColorJitter():
            return _jitter(x, change, draws)
        case Light():
            return _light(x, change, draws)
        case AutoContrast():
            return torch.where(draws.chance(change.p).view(-1, 1, 1, 1), autocontrast(x), x)
        case GaussianBlur():
            return _blur(x, change.kernel_px, draws.uniform(*change.sigma))
        case RandomErasing():
            return _erase(x, change, draws)
        case TrivialAugment():
            return trivial_augment(x, draws)
        case RandAugment():
            return rand_augment(x, change.num_ops, change.magnitude, draws)
        case _:
            return x


def _jitter(x: Tensor, jitter: ColorJitter, draws: Draws) -> Tensor:
    def factor(strength: float) -> Tensor:
        return draws.uniform(1 - strength, 1 + strength).view(-1, 1, 1, 1)

    if jitter.brightness:
        x = x * factor(jitter.brightness)
    if jitter.contrast:
        mean = grey(x).mean(dim=(1, 2, 3), keepdim=True)
        x = torch.lerp(mean, x, factor(jitter.contrast))
    if jitter.saturation:
        x = torch.lerp(grey(x), x, factor(jitter.saturation))
    if jitter.hue:
        x = _turn_hue(x, draws.uniform(-jitter.hue, jitter.hue))
    return x.clamp_(0, 1)


def _light(x: Tensor, light: Light, draws: Draws) -> Tensor:
    factor, gamma = (
        draws.uniform(math.log(low), math.log(high)).exp().view(-1, 1, 1, 1)
        for low, high in (light.factor, light.gamma)
    )
    # A power takes ten times as long as a product.
    curved = x if light.gamma == (1, 1) else x.clamp(min=0) ** gamma
    return (factor * curved).clamp_(0, 1)


def _turn_hue(x: Tensor, turns: Tensor) -> Tensor:
    # A rotation around the grey axis of RGB, by Rodrigues' formula.
    cos, sin = torch.cos(turns * 2 * math.pi), torch.sin(turns * 2 * math.pi)
    third, root = (1 - cos) / 3, sin / math.sqrt(3)
    a, b, c = cos + third, third - root, third + root
    matrix = torch.stack([a, b, c, c, a, b, b, c, a], dim=1).view(-1, 3, 3)
    return torch.einsum("nij,njhw->nihw", matrix, x)


def _blur(x: Tensor, kernel_px: int, sigma: Tensor) -> Tensor:
    n, half = x.shape[0], kernel_px // 2
    at = torch.arange(-half, half + 1, device=x.device)
    kernel = torch.exp(-(at**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    padded = functional.pad(x, (half, half, half, half), mode="reflect").contiguous()
    rows = functional.conv2d(
        padded.view(1, n * 3, *padded.shape[2:]), kernel[:, None, None, :], groups=n * 3
    )
    return functional.conv2d(rows, kernel[:, None, :, None], groups=n * 3).view(x.shape)


def _erase(x: Tensor, erasing: RandomErasing, draws: Draws) -> Tensor:
    inside = boxes(
        draws.uniform(*erasing.scale),
        draws.uniform(math.log(0.3), math.log(3.3)).exp(),
        draws.uniform(0, 1),
        draws.uniform(0, 1),
        x.shape[-1],
    )
    inside &= draws.chance(erasing.p).view(-1, 1, 1)
    return x.masked_fill(inside[:, None], 0.5)


def boxes(area: Tensor, ratio: Tensor, left: Tensor, top: Tensor, size_px: int) -> Tensor:
    """Mark a rectangle in each photo.

    Args:
        area: Its share of the photo `(n,)`, in [0, 1].
        ratio: Width over height `(n,)`; the rectangle is cut to fit the photo.
        left: Where it lies between the left side (0) and the right (1) `(n,)`.
        top: Likewise.
        size_px: Side h of the photos.

    Returns:
        Booleans `(n, h, h)`.
    """
    width = ((area * ratio).sqrt() * size_px).round().clamp(max=size_px)
    height = ((area / ratio).sqrt() * size_px).round().clamp(max=size_px)
    x0, y0 = ((size_px - width) * left).round(), ((size_px - height) * top).round()
    at = torch.arange(size_px, device=area.device)
    columns = (at >= x0[:, None]) & (at < (x0 + width)[:, None])
    rows = (at >= y0[:, None]) & (at < (y0 + height)[:, None])
    return rows[:, :, None] & columns[:, None, :]
