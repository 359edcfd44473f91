"""Whether a bundle answers as its networks did in torch: compared photo by photo, and gated.

Shapes: n photos, m members, k networks, v views, c classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chajong.blending.blend import Blend
from chajong.bundle_facts import Proof
from chajong.labels import Labels
from chajong.metrics import photo_losses
from chajong.pooling import Floats

MIN_PHOTOS = 500
"""Fewer prove nothing."""

UNJUDGED = (
    "a coarser number format is judged by its log loss, which needs at least "
    f"{MIN_PHOTOS} photos of known class"
)
"""Why none is taken where too few classes are known."""

_LEAST_AGREEMENT, _MOST_PROB_GAP, _MOST_LOSS_GAP = 0.999, 1e-3, 1e-4
_MOST_LOSS_SHARE = 0.01  # of the log loss, lost by a coarser number format


@dataclass(frozen=True, eq=False)
class Answers:
    """What networks say of photos.

    Attributes:
        said: For each member (n, k, v, c) log-probabilities.
    """

    said: tuple[Floats, ...]

    def pooled(self, blend: Blend) -> Floats:
        """Answer with all networks.

        Args:
            blend: How members are joined.

        Returns:
            (n, c).
        """
        return blend.answer_of_networks(self.said)

    def held_out(
        self, blend: Blend, rows: NDArray[np.intp], networks: Sequence[NDArray[np.intp]]
    ) -> Floats:
        """Answer each photo with the network of each member that did not learn it.

        Args:
            blend: How members are joined.
            rows: (r,) which photos.
            networks: For each member (r,) which network.

        Returns:
            (r, c).
        """
        pairs = zip(self.said, networks, strict=True)
        return blend.answer([each[rows, network] for each, network in pairs])


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of the photos that are compared.

    Attributes:
        rows: (r,) photos whose class is known.
        classes: (r,) those classes.
        networks: For each member (r,) the network that did not learn the photo; none where all
            learned it, or none did.
    """

    rows: NDArray[np.intp]
    classes: NDArray[np.intp]
    networks: tuple[NDArray[np.intp], ...] | None


def prove(
    candidate: Proof, found: Answers, torch: Answers, blend: Blend, labels: Labels, truth: Truth
) -> Proof:
    """Compare answers with those of torch.

    Args:
        candidate: What computed.
        found: What it said.
        torch: What torch said of the same photos.
        blend: How members are joined.
        labels: The classes.
        truth: What is known of the photos.

    Returns:
        The proof, whether it is good enough or not.
    """
    mine, theirs = found.pooled(blend), torch.pooled(blend)
    proof = replace(
        candidate,
        num_photos=len(mine),
        top1_agreement=float((mine.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
        max_prob_gap=float(np.abs(np.exp(mine) - np.exp(theirs)).max()),
        num_labelled=len(truth.rows),
        held_out=truth.networks is not None,
    )
    if not len(truth.rows):
        return proof
    if truth.networks is not None:
        mine = found.held_out(blend, truth.rows, truth.networks)
        theirs = torch.held_out(blend, truth.rows, truth.networks)
    else:
        mine, theirs = mine[truth.rows], theirs[truth.rows]
    losses, wanted = (
        photo_losses(np.exp(said.astype(np.float64)), truth.classes, labels.canonical)
        for said in (mine, theirs)
    )
    return replace(
        proof,
        log_loss=float(losses.mean()),
        torch_log_loss=float(wanted.mean()),
        gap_error=float((losses - wanted).std() / np.sqrt(len(losses))),
    )


def failures(proof: Proof) -> Iterator[str]:
    """Say what is not good enough.

    Args:
        proof: What was found.

    Yields:
        Each requirement that is missed, and by how much.
    """
    if proof.num_photos < MIN_PHOTOS:
        yield f"{proof.num_photos:,} photos were compared, at least {MIN_PHOTOS} are needed"
    if proof.precision == "fp32":
        yield from _differences(proof)
    elif proof.num_labelled < MIN_PHOTOS or proof.log_loss is None or proof.torch_log_loss is None:
        yield UNJUDGED
    elif not proof.log_loss_gap <= _MOST_LOSS_SHARE * proof.torch_log_loss:
        share = proof.log_loss_gap / proof.torch_log_loss
        yield (
            f"log loss {proof.log_loss:.4f} instead of {proof.torch_log_loss:.4f}, {share:.1%} "
            f"worse; at most {_MOST_LOSS_SHARE:.0%} is allowed"
        )


def _differences(proof: Proof) -> Iterator[str]:
    if not proof.top1_agreement >= _LEAST_AGREEMENT:
        yield (
            f"top-1 agrees on {proof.top1_agreement:.2%} of photos, at least "
            f"{_LEAST_AGREEMENT:.1%} is needed"
        )
    if not proof.max_prob_gap <= _MOST_PROB_GAP:
        yield f"a probability differs by {proof.max_prob_gap:.2g}, at most {_MOST_PROB_GAP} may"
    if not abs(proof.log_loss_gap) <= _MOST_LOSS_GAP:
        yield f"log loss differs by {proof.log_loss_gap:+.2g}, at most {_MOST_LOSS_GAP} may"
