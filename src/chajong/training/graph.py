"""From networks in torch to one graph in ONNX.

Views, normalising and the softmax are in the graph, so that it takes plain pixels and nothing of
them is written a second time; the runtime joins them with the networks.

Shapes: n photos, s side, k networks, v views, c classes, t side of a view.
"""

import copy
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from torch import Tensor, nn

from chajong.training.augment import normalise, to_float
from chajong.training.infer import Eye
from chajong.training.views import VIEWS


class Looks(nn.Module):
    """Networks that look at photos through views.

    Args:
        eyes: k networks of one run.
        views: v names of `VIEWS`.
        size_px: The side s of a photo.
    """

    def __init__(self, eyes: Sequence[Eye], views: Sequence[str], size_px: int) -> None:
        super().__init__()
        self.eye, self.views = eyes[0], tuple(views)
        photo = torch.zeros(1, 3, size_px, size_px)
        sides = [VIEWS[view](photo).shape[3] for view in views]
        # The views of one side go through a network together. Each side has a copy of its own,
        # because graphs are not fused where two places share a weight.
        self.places = [
            [place for place, side in enumerate(sides) if side == one]
            for one in dict.fromkeys(sides)
        ]
        networks = [[copy.deepcopy(eye.network).eval() for eye in eyes] for _ in self.places]
        self.networks = nn.ModuleList(nn.ModuleList(of_side) for of_side in networks)

    def forward(self, photos: Tensor) -> Tensor:
        """Look.

        Args:
            photos: uint8 (n, s, s, 3).

        Returns:
            (n, k, v, c) log-probabilities.
        """
        whole = to_float(photos)
        said: dict[int, Tensor] = {}
        for networks, places in zip(self.networks, self.places, strict=True):
            seen = torch.cat([VIEWS[self.views[place]](whole) for place in places])
            seen = normalise(seen, self.eye.mean, self.eye.std)
            answers = [self._answer(network, seen) for network in networks]  # type: ignore[attr-defined]
            n = photos.shape[0]
            for row, place in enumerate(places):
                said[place] = torch.stack([each[row * n : row * n + n] for each in answers], dim=1)
        return torch.stack([said[place] for place in range(len(self.views))], dim=2)

    def _answer(self, network: nn.Module, x: Tensor) -> Tensor:
        logits: Tensor = network(x).float()
        return (logits / self.eye.temperature).log_softmax(dim=1)


def write_graph(eyes: Sequence[Eye], views: Sequence[str], size_px: int, path: Path) -> None:
    """Write networks as one graph, for any number of photos.

    Args:
        eyes: k networks of one run, on the CPU.
        views: v names of `VIEWS`.
        size_px: The side of a photo.
        path: The file to make.
    """
    looks = Looks(eyes, views, size_px).eval()
    # Two photos, because a size of one is taken for a constant.
    photos = torch.zeros(2, size_px, size_px, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), redirect_stdout(StringIO()), _quiet():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            looks,
            (photos,),
            path,
            input_names=["photos"],
            output_names=["log_probs"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


class _quiet:  # noqa: N801 used like a function
    # The exporter's remarks on its own steps are of no use to its users.
    def __enter__(self) -> None:
        self.before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self.before)
