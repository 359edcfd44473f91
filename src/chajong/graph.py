"""A run's networks as one graph: what it takes and what it gives.

Shapes: n photos, s side, k networks, v views, c classes, d features, h w places.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from chajong.photos.preprocess import Preprocess

Output = Literal["log_probs", "embeddings", "log_totals", "heat"]

OUTPUTS: tuple[Output, ...] = get_args(Output)
"""What a graph may give, in order: log-probabilities (n, k, v, c); of one view what the last
layers get (n, k, d), the logarithm of the sum of exp(logits) (n, k), and the logits of each place
(n, k, c, h, w), whose means are the logits."""

WHOLE = ("plain", "flip", "small", "large", "large_flip", "blur", "brighter", "darker")
"""Views of the whole photo and nothing else."""


@dataclass(frozen=True)
class Graph:
    """A run's networks in one graph: from uint8 (n, s, s, 3) to (n, k, v, c) log-probabilities.

    Attributes:
        size_px: The side s of the squares that it takes.
        aspect: How a photo becomes a square.
        networks: k names: numbers of folds, or `all`.
        files: The graph's file for fp32, and for int8 where there is one.
        outputs: What it gives, of `OUTPUTS`; bundles of format 1 only answer.
        seen: The view of all that but the answers.
    """

    size_px: int
    aspect: Literal["squash", "letterbox", "crop"]
    networks: tuple[str, ...]
    files: dict[Literal["fp32", "int8"], str]
    outputs: tuple[Output, ...] = ("log_probs",)
    seen: str = ""

    @property
    def preprocess(self) -> Preprocess:
        """The pixel half of the evaluation transform."""
        return Preprocess(self.size_px, self.aspect)
