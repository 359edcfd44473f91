"""Pooling: from what several voices say of a photo to one answer.

A voice is one view of one member. Everything is in natural logarithms of probabilities.

Shapes: n photos, k voices, c classes, g groups of equal classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Pooling = Literal["log", "linear"]
"""The weighted geometric mean (Hinton 1999, "products of experts"), or the arithmetic one."""

Floats = NDArray[np.float32]
AnyFloat = TypeVar("AnyFloat", np.float32, np.float64)


def pool(voices: Floats, weights: NDArray[np.float64], pooling: Pooling) -> Floats:
    """Join voices to one distribution.

    `log`: p is proportional to the product of p_k ** w_k; the weights need not sum to 1, and a
    larger sum makes it more sure: the inverse of their sum is the temperature.
    `linear`: p is the sum of w_k p_k; the weights are divided by their sum.

    Args:
        voices: (n, k, c).
        weights: (k,), not negative, not all 0.
        pooling: How.

    Returns:
        (n, c), normalised.
    """
    used = np.flatnonzero(weights)
    scale = weights if pooling == "log" else weights / weights.sum()
    if pooling == "log":
        return normalised(sum_of(voices, scale, used))
    pooled = voices[:, used[0]] + np.float32(np.log(scale[used[0]]))
    for k in used[1:]:
        np.logaddexp(pooled, voices[:, k] + np.float32(np.log(scale[k])), out=pooled)
    return normalised(pooled)


def sum_of(voices: Floats, weights: NDArray[np.float64], used: NDArray[np.intp]) -> Floats:
    """Add up voices with weights.

    Args:
        voices: (n, k, c).
        weights: (k,).
        used: Which voices to add.

    Returns:
        (n, c), not normalised.
    """
    total = np.zeros((voices.shape[0], voices.shape[2]), np.float32)
    for k in used:
        total += np.float32(weights[k]) * voices[:, k]
    return total


def normalised(logits: Floats) -> Floats:
    """Turn logits into log-probabilities.

    Args:
        logits: (n, c).

    Returns:
        (n, c).
    """
    return logits - log_total(logits)


def log_total(logits: NDArray[AnyFloat]) -> NDArray[AnyFloat]:
    """Give the logarithm of the sum of exp(logits) over the classes.

    Args:
        logits: (..., c).

    Returns:
        (..., 1).
    """
    top = logits.max(axis=-1, keepdims=True)
    with np.errstate(under="ignore"):
        total: NDArray[AnyFloat] = np.log(np.exp(logits - top).sum(axis=-1, keepdims=True))
    total += top
    return total


@dataclass(frozen=True)
class Vector:
    """A scale and a shift of each class's log-probability (Guo et al. 2017, "vector scaling").

    Attributes:
        scale: (c,).
        shift: (c,).
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def __call__(self, log_probs: Floats) -> Floats:
        """Apply it.

        Args:
            log_probs: (n, c).

        Returns:
            (n, c), normalised.
        """
        scale, shift = np.array(self.scale, np.float32), np.array(self.shift, np.float32)
        return normalised(log_probs * scale + shift)


@dataclass(frozen=True, eq=False)
class Fitted:
    """Weights and calibration.

    Attributes:
        weights: (k,).
        pooling: Which mean.
        temperature: Divides the pooled logits.
        vector: Scale and shift of each class, or none.
    """

    weights: NDArray[np.float64]
    pooling: Pooling
    temperature: float = 1.0
    vector: Vector | None = None

    def __call__(self, voices: Floats) -> Floats:
        """Answer.

        Args:
            voices: (n, k, c).

        Returns:
            (n, c) log-probabilities.
        """
        made = pool(voices, self.weights, self.pooling)
        made = normalised(made / np.float32(self.temperature))
        return made if self.vector is None else self.vector(made)


def geometric_mean(members: NDArray[np.floating], axis: int = 0) -> NDArray[np.float64]:
    """Give the geometric mean of distributions, all weighing alike.

    It beats the arithmetic mean wherever we measured it (docs/results.md).

    Args:
        members: (..., c) log-probabilities.
        axis: Along which to take the mean, not the last.

    Returns:
        The same without that axis, normalised.
    """
    logits = members.mean(axis=axis, dtype=np.float64)
    mean: NDArray[np.float64] = logits - log_total(logits)
    return mean


def in_turn(runs: Sequence[NDArray[AnyFloat]]) -> list[NDArray[AnyFloat]]:
    """Let the k-th model of a run go with the k-th of the others, each as often as its fellows.

    Args:
        runs: Of each run, (j, ...) what its j models say; j may differ.

    Returns:
        The same, (l, ...): three models of one run and five of another go together in fifteen
        ways.
    """
    turns = np.arange(math.lcm(*map(len, runs)))
    return [said[turns % len(said)] for said in runs]


def merged(voices: NDArray[AnyFloat], canonical: NDArray[np.intp]) -> NDArray[AnyFloat]:
    """Add the probabilities of equal classes.

    Args:
        voices: (..., c).
        canonical: (c,) the class that each class counts as.

    Returns:
        (..., g), a column for each class that others count as or that stands alone, in order; the
        very voices, if no class is equal to another.
    """
    if _stand_alone(canonical):
        return voices
    kept = np.unique(canonical)
    made = voices[..., kept].copy()
    for column in np.flatnonzero(canonical != np.arange(len(canonical))):
        place = np.searchsorted(kept, canonical[column])
        made[..., place] = np.logaddexp(made[..., place], voices[..., column])
    return made


def _stand_alone(canonical: NDArray[np.intp]) -> bool:
    return np.array_equal(canonical, np.arange(len(canonical)))


def mean_of_networks(said: Floats, pooling: Pooling, canonical: NDArray[np.intp]) -> Floats:
    """Take the mean of networks that count alike, view by view, equal classes as one.

    Args:
        said: (n, k, v, c) log-probabilities of k networks through v views.
        pooling: Which mean.
        canonical: (c,) the class that each class counts as.

    Returns:
        (n, v, c).
    """
    num_networks, num_views = said.shape[1:3]
    alike = np.full(num_networks, 1 / num_networks)
    means = []
    for view in range(num_views):
        voices = said[:, :, view]
        means.append(spread(pool(merged(voices, canonical), alike, pooling), voices, canonical))
    return np.stack(means, axis=1)


def spread(pooled: Floats, voices: Floats, canonical: NDArray[np.intp]) -> Floats:
    """Share the probability of a group of equal classes out among them, as the voices do.

    Args:
        pooled: (n, g) as `merged` orders them.
        voices: (n, k, c), whose mean share each class of a group gets.
        canonical: (c,) the class that each class counts as.

    Returns:
        (n, c).
    """
    if _stand_alone(canonical):
        return pooled
    place = np.unique(canonical, return_inverse=True)[1]
    made: Floats = pooled[:, place].copy()
    sizes = np.bincount(place)
    whole = merged(voices, canonical)
    for column in np.flatnonzero(sizes[place] > 1):
        share = np.exp(voices[..., column] - whole[..., place[column]]).mean(axis=1)
        made[:, column] += np.log(np.maximum(share, 1e-30)).astype(np.float32)
    return normalised(made)
