"""From networks in torch to one graph in ONNX.

Views, normalising and the softmax are in the graph, so that it takes plain pixels and nothing of
them is written a second time; the runtime joins them with the networks.

Besides what is answered, a graph gives what a network saw in one view, if possible one of the whole
photo. A runtime leaves out what it is not asked for.

Shapes: n photos, s side, k networks, v views, c classes, t side of a view, d features, h w places.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from chajong.graph import OUTPUTS, WHOLE, Output
from chajong.training.augment import normalise, to_float
from chajong.training.infer import Eye
from chajong.training.sight import Sight
from chajong.training.views import VIEWS, side_of


class Looks(nn.Module):
    """Networks that look at photos through views.

    Args:
        eyes: k networks of one run.
        views: v names of `VIEWS`.
        size_px: The side s of a photo.

    Attributes:
        outputs: What it gives, in order.
        seen: The view of all outputs but the first.
    """

    def __init__(self, eyes: Sequence[Eye], views: Sequence[str], size_px: int) -> None:
        super().__init__()
        self.eye, self.views = eyes[0], tuple(views)
        sides = [side_of(view, size_px) for view in views]
        # The views of one side go through a network together. Each side has a copy of its own,
        # because graphs are not fused where two places share a weight.
        self.places = [
            [place for place, side in enumerate(sides) if side == one]
            for one in dict.fromkeys(sides)
        ]
        sights = [[Sight(eye, sides[of_side[0]]) for eye in eyes] for of_side in self.places]
        self.sights = nn.ModuleList(nn.ModuleList(of_side) for of_side in sights)
        self.seen = next((view for view in views if view in WHOLE), views[0])
        has_heat = all(sight.has_heat for sight in sights[0])
        self.outputs: tuple[Output, ...] = OUTPUTS if has_heat else OUTPUTS[:-1]

    def forward(self, photos: Tensor) -> tuple[Tensor, ...]:
        """Look.

        Args:
            photos: uint8 (n, s, s, 3).

        Returns:
            (n, k, v, c) log-probabilities; of the view `seen` (n, k, d) what the last layers get,
            (n, k) the logarithm of the sum of exp(logits) and, where logits are means over
            places, (n, k, c, h, w) those of each place.
        """
        whole = to_float(photos)
        n = photos.shape[0]
        said: dict[int, Tensor] = {}
        extras: tuple[Tensor, ...] = ()
        for sights, places in zip(self.sights, self.places, strict=True):
            seen = torch.cat([VIEWS[self.views[place]](whole) for place in places])
            seen = normalise(seen, self.eye.mean, self.eye.std)
            answers = [sight(seen) for sight in sights]  # type: ignore[attr-defined]
            for row, place in enumerate(places):
                part = slice(row * n, row * n + n)
                logits = torch.stack([each[0][part] for each in answers], dim=1)
                said[place] = logits.log_softmax(dim=2)
                if self.views[place] == self.seen:
                    extras = self._extras(sights, answers, part)
        log_probs = torch.stack([said[place] for place in range(len(self.views))], dim=2)
        return (log_probs, *extras)

    def _extras(
        self, sights: Any, answers: Sequence[tuple[Tensor, ...]], part: slice
    ) -> tuple[Tensor, ...]:
        embeddings = torch.stack([seen[part] for _, seen, _ in answers], dim=1)
        totals = torch.stack([logits[part].logsumexp(dim=1) for logits, _, _ in answers], dim=1)
        if "heat" not in self.outputs:
            return embeddings, totals
        pairs = zip(sights, answers, strict=True)
        heat = [sight.heat(features[part]) for sight, (_, _, features) in pairs]
        return embeddings, totals, torch.stack(heat, dim=1)


def write_graph(
    eyes: Sequence[Eye], views: Sequence[str], size_px: int, path: Path
) -> tuple[tuple[Output, ...], str]:
    """Write networks as one graph, for any number of photos.

    Args:
        eyes: k networks of one run, on the CPU.
        views: v names of `VIEWS`.
        size_px: The side of a photo.
        path: The file to make.

    Returns:
        What the graph gives, and the view of all that but the answers.
    """
    looks = Looks(eyes, views, size_px).eval()
    # Two photos, because a size of one is taken for a constant.
    photos = torch.zeros(2, size_px, size_px, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), redirect_stdout(StringIO()), quiet_logging():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            looks,
            (photos,),
            path,
            input_names=["photos"],
            output_names=list(looks.outputs),
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    _forget_where(path)
    return looks.outputs, looks.seen


def _forget_where(path: Path) -> None:
    # The exporter notes at each node which line of which file on this machine it comes from.
    model = onnx.load(path)
    for graph in (model.graph, *model.functions):
        for node in (graph, *graph.node):
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
    onnx.save(model, path)


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Keep remarks of exporters on their own steps from users, to whom they are of no use.

    Yields:
        Nothing.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
