"""Fitting weights, temperatures and vectors under log loss.

Shapes: n photos, k voices, c classes.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from chajong.metrics import MOST_LOSS
from chajong.pooling import Floats, Pooling, Vector, normalised, pool, sum_of

Weights = NDArray[np.float64]
Places = NDArray[np.intp]

_MAX_TEMPERATURE = 20.0
_MIN_TEMPERATURE = 0.05
_SCALE_SD, _SHIFT_SD = 0.25, 0.5


def losses(log_probs: Floats, truth: Places) -> NDArray[np.float64]:
    """Give each photo its log loss.

    Args:
        log_probs: (n, c).
        truth: (n,).

    Returns:
        (n,), natural logarithms.
    """
    return -log_probs[np.arange(len(truth)), truth].astype(np.float64)


def counted(log_probs: Floats, truth: Places) -> NDArray[np.float64]:
    """Give each photo its log loss as the competition counts it: at most `MOST_LOSS`.

    Fits go by `losses`, which have a slope everywhere.

    Args:
        log_probs: (n, c).
        truth: (n,).

    Returns:
        (n,), natural logarithms.
    """
    return np.minimum(losses(log_probs, truth), MOST_LOSS)


def fit_log(voices: Floats, truth: Places) -> Weights:
    """Fit the weights of a geometric mean, its temperature with them.

    The log loss is convex in the weights, because logits are linear in them.

    Args:
        voices: (n, k, c).
        truth: (n,).

    Returns:
        (k,), not negative; their sum is the inverse of the temperature.
    """
    num_photos, num_voices, _ = voices.shape
    everyone, rows = np.arange(num_voices), np.arange(num_photos)
    said = voices[rows, :, truth].astype(np.float64)

    def loss(weights: Weights) -> tuple[float, Weights]:
        log_probs = normalised(sum_of(voices, weights, everyone))
        with np.errstate(under="ignore"):
            probs = np.exp(log_probs)
        expected = np.array([np.einsum("nc,nc->", probs, voices[:, k]) for k in everyone])
        return float(losses(log_probs, truth).mean()), expected / num_photos - said.mean(axis=0)

    start = np.full(num_voices, 1.0 / num_voices)
    bounds = [(0.0, 1 / _MIN_TEMPERATURE)] * num_voices
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    weights = _worth_a_look(found.x)
    # Where no voice knows anything, the mildest answer that a temperature may make of them.
    return weights if weights.any() else start / _MAX_TEMPERATURE


def fit_linear(voices: Floats, truth: Places, num_steps: int = 500) -> Weights:
    """Fit the weights of an arithmetic mean by expectation maximisation.

    The mixture's log likelihood is concave in its weights, and each step raises it
    (Dempster, Laird & Rubin 1977).

    Args:
        voices: (n, k, c).
        truth: (n,).
        num_steps: Most steps.

    Returns:
        (k,), not negative, summing to 1.
    """
    said = np.exp(voices[np.arange(len(truth)), :, truth].astype(np.float64)) + 1e-300
    weights = np.full(voices.shape[1], 1.0 / voices.shape[1])
    for _ in range(num_steps):
        blame = said * weights
        new = (blame / blame.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(new - weights).max() < 1e-6:
            break
        weights = new
    kept = _worth_a_look(weights)
    shares: Weights = kept / kept.sum()
    return shares


def _worth_a_look(weights: Weights) -> Weights:
    # A weight of next to nothing costs a whole look at the photo. Many alike are not nothing.
    least = min(0.02, 0.5 / len(weights)) * weights.sum()
    return np.where(weights < least, 0.0, weights)


def fit_temperature(log_probs: Floats, truth: Places) -> float:
    """Fit the number that divides logits (Guo et al. 2017, arXiv 1706.04599).

    Args:
        log_probs: (n, c).
        truth: (n,).

    Returns:
        The temperature, 0.05 to 20.
    """
    inverse = float(fit_log(log_probs[:, None], truth)[0])
    return float(np.clip(1 / max(inverse, 1e-9), _MIN_TEMPERATURE, _MAX_TEMPERATURE))


def fit_vector(log_probs: Floats, truth: Places) -> Vector:
    """Fit a scale and a shift of each class, held near 1 and 0 by a Gaussian prior.

    Classes without a photo get the mean of the others: that none was seen among the held-out
    photos, as where only some folds are trained, is no evidence that none will come.

    Args:
        log_probs: (n, c).
        truth: (n,).

    Returns:
        The vector.
    """
    num_classes = log_probs.shape[1]
    seen, truth = np.unique(truth, return_inverse=True)
    log_probs = log_probs[:, seen]
    num_photos, num_seen = log_probs.shape
    rows = np.arange(num_photos)

    def loss(numbers: Weights) -> tuple[float, Weights]:
        scale, shift = np.split(numbers, 2)
        made = normalised(log_probs * np.float32(scale) + np.float32(shift))
        with np.errstate(under="ignore"):
            off = np.exp(made)
        off[rows, truth] -= 1
        prior = ((scale - 1) / _SCALE_SD) ** 2 + (shift / _SHIFT_SD) ** 2
        slope = np.concatenate(
            [
                np.einsum("nc,nc->c", off, log_probs) + (scale - 1) / _SCALE_SD**2,
                off.sum(axis=0) + shift / _SHIFT_SD**2,
            ]
        )
        value = losses(made, truth).mean() + prior.sum() / 2 / num_photos
        return float(value), slope.astype(np.float64) / num_photos

    start = np.repeat((1.0, 0.0), num_seen)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    scale, shift = (np.full(num_classes, part.mean()) for part in np.split(found.x, 2))
    scale[seen], shift[seen] = np.split(found.x, 2)
    return Vector(tuple(scale.tolist()), tuple(shift.tolist()))


def select(
    voices: Floats,
    truth: Places,
    members: Places,
    budget: int,
    pooling: Pooling,
    num_steps: int = 12,
) -> Weights:
    """Choose voices greedily, with replacement (Caruana et al. 2004, "Ensemble selection").

    Each step adds the voice with which the mean of all chosen ones has the least log loss; a
    voice that is chosen twice weighs twice. The best of all steps is taken, the first if several.

    Args:
        voices: (n, k, c).
        truth: (n,).
        members: (k,) whose voice each is.
        budget: Most different voices of a member.
        pooling: Of what mean.
        num_steps: How many voices to choose.

    Returns:
        (k,) weights that sum to 1.
    """
    counts = np.zeros(voices.shape[1])
    total: Floats | None = None
    best = (np.inf, counts)
    for step in range(1, num_steps + 1):
        allowed = _affordable(counts, members, budget)
        # One at a time: all sums at once would take the memory of the voices again.
        means = [
            float(losses(_mean(_added(total, voices[:, k], pooling), step, pooling), truth).mean())
            for k in allowed
        ]
        place = int(np.argmin(means))
        counts[allowed[place]] += 1
        total = _added(total, voices[:, allowed[place]], pooling)
        if means[place] < best[0] - 1e-6:
            best = (means[place], counts / counts.sum())
    return best[1]


def prune(
    voices: Floats,
    truth: Places,
    members: Places,
    budget: int,
    groups: Places,
    fit: Callable[[Floats, Places], Weights],
    pooling: Pooling,
) -> Weights:
    """Fit the weights of all voices, then drop those that earn less than they cost.

    The largest weights of each member are kept, as many as the budget allows. Then the smallest
    goes as long as the loss does not rise by more than the standard error of its rise.

    Args:
        voices: (n, k, c).
        truth: (n,).
        members: (k,) whose voice each is.
        budget: Most different voices of a member.
        groups: (n,) photos that belong together, whose losses are no independent evidence.
        fit: Finds weights of voices.
        pooling: Of what mean the weights are.

    Returns:
        (k,) weights.
    """
    weights = fit(voices, truth)
    kept = [k for k in np.argsort(-weights, kind="stable") if weights[k] > 0]
    ranks = {k: [j for j in kept if members[j] == members[k]].index(k) for k in kept}
    kept = [k for k in kept if ranks[k] < budget]

    def refit(places: list[np.intp]) -> tuple[Weights, NDArray[np.float64]]:
        some = voices[:, places]
        made = fit(some, truth)
        return made, losses(pool(some, made, pooling), truth)

    weights, now = refit(kept)
    while len(kept) > 1:
        fewer = [k for i, k in enumerate(kept) if i != int(weights.argmin())]
        new_weights, new = refit(fewer)
        if (new - now).mean() > standard_error(new - now, groups):
            break
        kept, weights, now = fewer, new_weights, new
    whole = np.zeros(voices.shape[1])
    whole[kept] = weights
    return whole


def standard_error(values: NDArray[np.float64], groups: Places) -> float:
    """Give the standard error of a mean over photos that come in groups.

    Args:
        values: (n,).
        groups: (n,) from 0.

    Returns:
        The cluster-robust standard error (Liang & Zeger 1986).
    """
    sums = np.bincount(groups, values - values.mean())
    num_groups = np.unique(groups).size
    return float(np.sqrt((sums**2).sum() * num_groups / max(num_groups - 1, 1)) / len(values))


def _affordable(counts: Weights, members: Places, budget: int) -> list[int]:
    spent = np.bincount(members, counts > 0, minlength=int(members.max()) + 1)
    return [k for k in range(len(counts)) if counts[k] or spent[members[k]] < budget]


def _added(total: Floats | None, voice: Floats, pooling: Pooling) -> Floats:
    if total is None:
        return voice
    if pooling == "log":
        return total + voice
    return np.logaddexp(total, voice)


def _mean(total: Floats, step: int, pooling: Pooling) -> Floats:
    if pooling == "log":
        return normalised(total / np.float32(step))
    return total - np.float32(np.log(step))
