"""What is known of photos before their answers are, and what the answers of models foretell.

Shapes: n held-out photos, m photos asked about, k models, c classes (equal ones are one),
d measures, f features, t heats.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chajong.errors import PredictionsError
from chajong.metrics import MOST_LOSS
from chajong.photos.tone import AS_IT_IS, ToneChange
from chajong.pooling import geometric_mean

Floats = NDArray[np.float64]

MIN_PHOTOS = 20
"""Fewer say nothing."""

_HEATS = np.exp(np.linspace(np.log(0.1), np.log(8.0), 45))
_LOG_HEATS = np.log(_HEATS)
_CHUNK = 1024  # photos whose distances to all others are in memory at once


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that is known of the photos asked about before their answers are.

    Attributes:
        plain: (n, c) out-of-fold log-probabilities of held-out photos as they are.
        shifted: (n, c) the same once they look like the photos asked about.
        truth: (n,) true classes.
        groups: (n,) near-duplicates have the same number; a group counts as one photo.
        asked: (k, m, c) log-probabilities of the photos asked about, by each model.
        measures: (n, d) of the held-out photos as they are.
        shifted_measures: (n, d) once they look like the others.
        asked_measures: (m, d) of the photos asked about.
        outside: Share of the photos asked about that lie outside of what was learned.
        change: What was done to the held-out photos.
        num_unreadable: Photos asked about that cannot be read, and are not among the m.
        num_learned: Photos asked about that models learned from.
    """

    plain: NDArray[np.float32]
    shifted: NDArray[np.float32]
    truth: NDArray[np.intp]
    groups: NDArray[np.int64]
    asked: NDArray[np.float32]
    measures: NDArray[np.float32]
    shifted_measures: NDArray[np.float32]
    asked_measures: NDArray[np.float32]
    outside: float = 0.0
    change: ToneChange = AS_IT_IS
    num_unreadable: int = 0
    num_learned: int = 0

    def __post_init__(self) -> None:
        """Refuse evidence that does not fit together.

        Raises:
            PredictionsError: If there are too few photos, or numbers are missing.
        """
        n, (k, m, c) = len(self.truth), self.asked.shape
        found = {name: getattr(self, name).shape for name in ("plain", "shifted", "groups")}
        if found != {"plain": (n, c), "shifted": (n, c), "groups": (n,)} or not k:
            raise PredictionsError(
                f"Evidence of {n:,} held-out photos and {c} classes does not fit together: {found}."
            )
        check_enough(self.groups, m)
        measured = (self.measures, self.shifted_measures, self.asked_measures)
        shapes = [len(each) for each in measured]
        said = (self.plain, self.shifted, self.asked)
        whole = all(np.isfinite(each).all() for each in measured)
        if shapes != [n, n, m] or not whole or any(np.isnan(each).any() for each in said):
            raise PredictionsError(
                f"Evidence of {n:,} held-out photos and {m:,} asked about needs measures and an "
                f"answer of each. Got measures of {shapes}, or numbers are missing."
            )


def check_enough(groups: NDArray[np.int64], num_asked: int) -> None:
    """Refuse too few photos to conclude anything from.

    Args:
        groups: (n,) of the held-out photos.
        num_asked: Photos asked about.

    Raises:
        PredictionsError: If there are fewer than `MIN_PHOTOS` of either.
    """
    if min(len(np.unique(groups)), num_asked) < MIN_PHOTOS:
        raise PredictionsError(
            f"An expectation needs {MIN_PHOTOS} held-out photos that are no duplicates, and "
            f"{MIN_PHOTOS} to ask about. Got {len(np.unique(groups)):,} and {num_asked:,}."
        )


def share_outside(
    here: NDArray[np.floating], groups: NDArray[np.int64], there: NDArray[np.floating]
) -> float:
    """Say how many photos are unlike all photos that are known.

    Args:
        here: (n, f) features of the known photos.
        groups: (n,) a photo's near-duplicates have the same number.
        there: (m, f) features of the photos asked about.

    Returns:
        The share of these whose nearest known photo is further away, by the angle, than the
        nearest of another group is for 99 % of the known photos. Without a difference, 0.01.
    """
    here, there = _directions(here), _directions(there)
    near = np.concatenate(
        [
            np.where(groups[rows, None] == groups, -1, here[rows] @ here.T).max(axis=1)
            for rows in _chunks(len(here))
        ]
    )
    limit = np.quantile(near, 0.01)
    away = [(there[rows] @ here.T).max(axis=1) < limit for rows in _chunks(len(there))]
    return float(np.concatenate(away).mean())


def foretold(law: Floats, costs: Floats) -> Floats:
    """Foretell costs by a law of the true class, at every heat.

    Args:
        law: (n, c) log-probabilities.
        costs: (j, n, c) what each class would cost if it were true.

    Returns:
        (j, n, t) mean costs where the true class has probabilities in proportion to
        exp(law / heat).
    """
    means = []
    for heat in _HEATS:
        warm = np.exp((law - law.max(axis=1, keepdims=True)) / heat)
        warm /= warm.sum(axis=1, keepdims=True)
        means.append(np.einsum("nc,jnc->jn", warm, costs))
    stacked: Floats = np.stack(means, axis=2)
    return stacked


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What became of the held-out photos.

    Attributes:
        losses: (n,) once they look like the photos asked about, in nats.
        plain_losses: (n,) as they are.
        own: (n, t) losses that the answers themselves foretell, once they look so.
        units: (n,) their groups, numbered from 0.
        shares: (n,) one by the number of photos of the group.
    """

    losses: Floats
    plain_losses: Floats
    own: Floats
    units: NDArray[np.intp]
    shares: Floats

    def redrawn(self, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw as many groups as there are, with replacement.

        Args:
            rng: The source of chance.

        Returns:
            Rows of all their photos, each as often as it was drawn.
        """
        num = int(self.units.max()) + 1
        times = np.bincount(rng.integers(num, size=num), minlength=num)
        return np.repeat(np.arange(len(self.units)), times[self.units])


@dataclass(frozen=True, eq=False)
class Laws:
    """What the answers foretell of the photos asked about, at every heat.

    Attributes:
        own: (t,) mean loss of one model, by its own answers.
        gain: How much less is the loss of the mean of all, whatever the true classes are.
        mean: (t,) mean loss of the mean of all, by its own answers.
        variance: (t,) variance of the latter loss, for one photo.
        num_photos: m.
    """

    own: Floats
    gain: float
    mean: Floats
    variance: Floats
    num_photos: int

    def conclude(
        self, held: HeldOut, rows: NDArray[np.intp], weights: Floats
    ) -> tuple[float, float]:
        """Conclude from losses of held-out photos to those of the photos asked about.

        Args:
            held: The held-out photos.
            rows: Those of them that are looked at, perhaps repeatedly.
            weights: (rows,) what each counts.

        Returns:
            The mean loss of one model, and that of the mean of all.
        """
        measured = float(np.average(held.losses[rows], weights=weights))
        foreseen = np.average(held.own[rows], axis=0, weights=weights)
        heat = np.interp(measured, foreseen, _LOG_HEATS)
        # What no heat foretells is left over.
        rest = measured - np.interp(heat, _LOG_HEATS, foreseen)
        one_model = max(0.0, float(np.interp(heat, _LOG_HEATS, self.own) + rest))
        return one_model, max(0.0, one_model - self.gain)

    def noise_at(self, loss: float) -> float:
        """Say how far the loss may be off because answers are chance.

        Args:
            loss: Of the mean of all.

        Returns:
            Variance of the mean loss over the m photos.
        """
        heat = np.interp(loss, self.mean, _LOG_HEATS)
        return float(np.interp(heat, _LOG_HEATS, self.variance)) / self.num_photos


def judge_held_out(evidence: Evidence) -> HeldOut:
    """Score the held-out photos.

    Args:
        evidence: What is known.

    Returns:
        What became of them.
    """
    truth = evidence.truth[:, None]
    shifted, plain = _clipped(evidence.shifted), _clipped(evidence.plain)
    _, units, sizes = np.unique(evidence.groups, return_inverse=True, return_counts=True)
    return HeldOut(
        losses=-np.take_along_axis(shifted, truth, axis=1)[:, 0],
        plain_losses=-np.take_along_axis(plain, truth, axis=1)[:, 0],
        own=foretold(shifted, -shifted[None])[0],
        units=units,
        shares=1 / sizes[units],
    )


def foretell(evidence: Evidence) -> Laws:
    """Let the answers to the photos asked about foretell losses.

    Args:
        evidence: What is known.

    Returns:
        Mean losses at every heat.
    """
    asked = _clipped(evidence.asked)
    logits = asked.mean(axis=0)
    mean = geometric_mean(asked)
    own = [foretold(each, -each[None])[0].mean(axis=0) for each in asked]
    loss, square = foretold(mean, np.stack([-mean, mean**2]))
    return Laws(
        own=np.mean(own, axis=0),
        # The geometric mean's loss is that of the models less this, for every class (Heskes 1998).
        gain=float((mean - logits)[:, 0].mean()),
        mean=loss.mean(axis=0),
        variance=(square - loss**2).mean(axis=0),
        num_photos=len(mean),
    )


def _clipped(log_probs: NDArray[np.float32]) -> Floats:
    # As scoring does.
    clipped: Floats = np.maximum(log_probs.astype(np.float64), -MOST_LOSS)
    return clipped


def _directions(features: NDArray[np.floating]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True) + 1e-12
    directions: NDArray[np.float32] = (features / lengths).astype(np.float32)
    return directions


def _chunks(num: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, num, _CHUNK))
