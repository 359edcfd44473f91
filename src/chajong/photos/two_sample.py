"""How well two sets of photos can be told apart, by one figure or by all features of a network.

Shapes: n photos, d features, k principal components.
"""

import math

import numpy as np
from numpy.typing import NDArray

from chajong.intervals import NORMAL, widening
from chajong.metrics import Estimate

Floats = NDArray[np.float64]

NUM_COMPONENTS = 64
"""Directions in which features are looked at; more of them overfit a few thousand photos."""

_NUM_FOLDS = 5
# Classifiers trained on overlapping folds err together (Nadeau and Bengio, 2003): of 1 / k, the
# variance becomes 1 / k + 1 / (k - 1). Measured on pure chance, the factor is 1.5 as well.
_WIDER = math.sqrt(1 + _NUM_FOLDS / (_NUM_FOLDS - 1))
_NUM_STEPS = 12  # Newton's method is done after half of them
_RIDGE = 1.0


def auc(
    values: Floats,
    is_test: NDArray[np.bool_],
    groups: NDArray[np.intp],
    *,
    cross_validated: bool = False,
) -> Estimate:
    """Estimate the probability that a test photo has a higher value than a train photo.

    Args:
        values: (n,) a figure of each photo; equal ones count half.
        is_test: (n,) which photos are test photos; there are some of both kinds.
        groups: (n,) photos of one group are not independent.
        cross_validated: Whether the values are those of `likeness_to_test`, whose classifiers
            are chance too.

    Returns:
        The area under the ROC curve, 0 to 1, with a 95 % interval by DeLong et al. (1988),
        summed over groups as in Obuchowski (1997), symmetric in log odds (Pepe, 2003) and as wide
        as few groups make it (Student's t of those on the smaller side; all of 0 to 1 for a single
        one). Where all photos of one kind are above all others, it ends where chance alone would
        show that in 1 of 40 sets of so many groups (Clopper and Pearson, 1934).
    """
    placements = np.empty(len(values))
    for mine in (is_test, ~is_test):
        others = np.sort(values[~mine])
        below = np.searchsorted(others, values[mine], "left")
        not_above = np.searchsorted(others, values[mine], "right")
        placements[mine] = (below + not_above) / (2 * len(others))
    area = float(placements[is_test].mean())
    # A train photo's placement is the share of test photos below it.
    away = np.where(is_test, placements - area, 1 - placements - area)
    weighed = away / np.where(is_test, is_test.sum(), (~is_test).sum())
    by_group = np.bincount(np.unique(groups, return_inverse=True)[1], weighed)
    num = min(len(np.unique(groups[mine])) for mine in (is_test, ~is_test))
    if num < 2:
        return Estimate(area, 0.0, 1.0)
    if area in (0, 1):
        most = 1 - 0.025 ** (1 / num)
        return Estimate(area, max(0.0, area - most), min(1.0, area + most))
    half = NORMAL * float(np.sqrt((by_group**2).sum())) * widening(num)
    half *= _WIDER if cross_validated else 1
    # Near 0 and 1 an interval symmetric in the area itself covers 80 % of the time.
    factor = math.exp(min(half / (area * (1 - area)), 100.0))
    return Estimate(area, _at_odds(area, 1 / factor), _at_odds(area, factor))


def _at_odds(area: float, factor: float) -> float:
    return area * factor / (area * factor + 1 - area)


def principal(features: NDArray[np.floating], num: int = NUM_COMPONENTS) -> Floats:
    """Reduce features to their principal components, each of mean 0 and variance 1.

    Args:
        features: (n, d), finite.
        num: Most components; there are no more than the features vary in.

    Returns:
        (n, k), the component of the largest variance first.
    """
    centred = features - features.mean(axis=0, keepdims=True)
    spread = (centred.T @ centred).astype(np.float64) / max(1, len(centred))
    values, vectors = np.linalg.eigh(spread)
    kept = np.argsort(-values)[:num]
    kept = kept[values[kept] > 1e-6 * max(values.max(), 1e-300)]
    components: Floats = centred @ (vectors[:, kept] / np.sqrt(values[kept]))
    return components


def likeness_to_test(
    components: Floats, is_test: NDArray[np.bool_], groups: NDArray[np.intp], seed: int = 0
) -> Floats:
    """Say how much each photo looks like a test photo, by classifiers that have not seen it.

    The classifier two-sample test (Lopez-Paz and Oquab, 2017), with logistic regression, both
    kinds of photos weighing alike.

    Args:
        components: (n, k) of variance about 1.
        is_test: (n,) which photos are test photos.
        groups: (n,) photos of one group are in one fold.
        seed: Seed of the folds.

    Returns:
        (n,) logits; above 0 is more like a test photo.
    """
    _, places = np.unique(groups, return_inverse=True)
    folds = np.random.default_rng(seed).permutation(places.max() + 1)[places] % _NUM_FOLDS
    rows = np.column_stack([components, np.ones(len(components))])
    logits = np.zeros(len(rows))
    for fold in range(_NUM_FOLDS):
        seen = folds != fold
        logits[~seen] = rows[~seen] @ _logistic(rows[seen], is_test[seen])
    return logits


def _logistic(rows: Floats, wanted: NDArray[np.bool_]) -> Floats:
    # Newton's method on the weighed log loss with a ridge on all but the constant.
    num = np.array([max(1, (~wanted).sum()), max(1, wanted.sum())])
    weights = (len(wanted) / 2 / num)[wanted.astype(int)]
    ridge = _RIDGE * np.eye(rows.shape[1])
    ridge[-1, -1] = 1e-9
    chosen = np.zeros(rows.shape[1])
    for _ in range(_NUM_STEPS):
        probs = 1 / (1 + np.exp(-(rows @ chosen).clip(-30, 30)))
        slope = rows.T @ (weights * (probs - wanted)) + ridge @ chosen
        curve = (rows.T * (weights * probs * (1 - probs))) @ rows + ridge
        chosen = chosen - np.linalg.solve(curve, slope)
    return chosen
