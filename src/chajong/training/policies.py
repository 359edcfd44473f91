"""TrivialAugment and RandAugment, a batch at a time.

torchvision's classes change photo after photo, thousands of small kernels a batch, for which a
fast GPU waits. Here the photos that drew the same operation are changed together.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chajong.training.draws import Draws
from chajong.training.operations import OPERATIONS

_LEVELS = 31  # of strength, from none to the most


@dataclass(frozen=True)
class Operation:
    """One that a policy may choose.

    Args:
        name: One of `OPERATIONS`.
        most: The strength at the last level; at the first it is 0.
        signed: Whether the strength may be negative too.
    """

    name: str
    most: float = 0.0
    signed: bool = False


def trivial_augment(x: Tensor, draws: Draws) -> Tensor:
    """Change each photo by one random operation of random strength.

    Source: Müller and Hutter, TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation,
    2021; the wide space.

    Args:
        x: float32 `(n, 3, h, h)` in [0, 1].
        draws: The step's random numbers.

    Returns:
        Photos of the same shape and range.
    """
    return _apply(x, TRIVIAL, draws.choices(_LEVELS), draws)


def rand_augment(x: Tensor, num_ops: int, magnitude: int, draws: Draws) -> Tensor:
    """Change each photo by some random operations of one strength.

    Source: Cubuk et al., RandAugment: Practical Automated Data Augmentation with a Reduced Search
    Space, 2020.

    Args:
        x: float32 `(n, 3, h, h)` in [0, 1].
        num_ops: How many, one after the other.
        magnitude: Their strength, 0 to 30.
        draws: The step's random numbers.

    Returns:
        Photos of the same shape and range.
    """
    space = rand_space(x.shape[-1])
    for _ in range(num_ops):
        x = _apply(x, space, np.array(magnitude), draws)
    return x


def _space(
    shear: float, shift_px: float, degrees: float, colour: float, bits: int
) -> tuple[Operation, ...]:
    return (
        Operation("identity"),
        Operation("shear_x", shear, signed=True),
        Operation("shear_y", shear, signed=True),
        Operation("translate_x", shift_px, signed=True),
        Operation("translate_y", shift_px, signed=True),
        Operation("rotate", degrees, signed=True),
        Operation("brightness", colour, signed=True),
        Operation("saturation", colour, signed=True),
        Operation("contrast", colour, signed=True),
        Operation("sharpness", colour, signed=True),
        Operation("posterize", bits),
        Operation("solarize", 1),
        Operation("autocontrast"),
        Operation("equalize"),
    )


TRIVIAL = _space(shear=0.99, shift_px=32, degrees=135, colour=0.99, bits=6)
"""What TrivialAugment chooses from."""


def rand_space(side_px: int) -> tuple[Operation, ...]:
    """Give what RandAugment chooses from.

    Args:
        side_px: Side h of the photos.

    Returns:
        The operations.
    """
    return _space(shear=0.3, shift_px=150 / 331 * side_px, degrees=30, colour=0.9, bits=4)


def _apply(
    x: Tensor, space: tuple[Operation, ...], levels: NDArray[np.int64], draws: Draws
) -> Tensor:
    kinds = draws.choices(len(space))
    most, signed = (np.array([(each.most, each.signed) for each in space]).T)[:, kinds]
    signs = np.where(signed, 1 - 2 * draws.choices(2), 1)
    strengths = most * levels / (_LEVELS - 1) * signs
    # Sorted by operation, so that each is one call; then back.
    order = np.argsort(kinds, kind="stable")
    counts = np.bincount(kinds, minlength=len(space)).tolist()
    pieces = torch.split(x[draws.on_device(order)], counts)
    parts = torch.split(draws.on_device(strengths[order].astype(np.float32)), counts)
    changed = [
        OPERATIONS[each.name](piece, part)
        for each, piece, part in zip(space, pieces, parts, strict=True)
        if len(piece)
    ]
    back = draws.on_device(np.argsort(order))
    return torch.cat(changed)[back].contiguous(memory_format=torch.channels_last)
