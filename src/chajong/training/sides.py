"""Which sides of photos a network takes: transformers often take a single one."""

from collections.abc import Sequence

import torch
from torch import nn

from chajong.training.views import side_of
from chajong.wording import first_line


def why_not(network: nn.Module, side_px: int) -> str | None:
    """Tell why a network does not take photos of a size.

    Args:
        network: On the CPU; set to evaluation.
        side_px: Side of a photo.

    Returns:
        What the network says; none if it takes them.
    """
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, side_px, side_px))
    except (RuntimeError, AssertionError, ValueError) as error:
        return first_line(error)
    return None


def views_taken(network: nn.Module, views: Sequence[str], side_px: int) -> tuple[str, ...]:
    """Choose the views whose size a network takes.

    Args:
        network: On the CPU; set to evaluation.
        views: Names of views.
        side_px: Side of a photo.

    Returns:
        Those of them, in order.
    """
    sides = {view: side_of(view, side_px) for view in views}
    taken = {side for side in set(sides.values()) if why_not(network, side) is None}
    return tuple(view for view in views if sides[view] in taken)
