"""The score of the competition and its companions, each with an interval.

Classes that are equal count as one everywhere: their probabilities are added and the sum stands
for all of them.

Shapes: n photos, c classes, d distinct classes (equal ones merged), b bins, r resamples.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chajong.errors import PredictionsError
from chajong.intervals import widening, wilson

CLIP = 1e-15
"""The competition clips probabilities to [CLIP, 1 - CLIP] before it takes logarithms."""

MOST_LOSS = -math.log(CLIP)
"""What a photo can cost at most."""

_TOP = 5
_NUM_BINS = 15
_NUM_RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A figure and how far it may be off.

    Attributes:
        value: The figure on the photos as they are.
        low: Lower end of its bootstrap 95 % interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimates:
    """The figures by which predictions are judged.

    Attributes:
        log_loss: Mean of -log of the probability of the true class, in nats; lower is better.
        top1: Share of photos whose true class is the likeliest.
        top5: Share of photos whose true class is among the five likeliest.
        macro_f1: Mean F1 of the classes.
        ece: Expected calibration error of the likeliest class, 0 to 1; lower is better.
    """

    log_loss: Estimate
    top1: Estimate
    top5: Estimate
    macro_f1: Estimate
    ece: Estimate


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of each photo: all that the figures need to know of (n, c) probabilities.

    Attributes:
        losses: (n,) -log of the clipped probability of the true class, in nats.
        truth: (n,) the true class, 0 to d - 1.
        top: (n,) the likeliest class, 0 to d - 1; of equally likely ones the first; -1 for none.
        in_top5: (n,) whether fewer than five classes come before the true one.
        confidence: (n,) the probability of the likeliest class.
    """

    losses: NDArray[np.float64]
    truth: NDArray[np.intp]
    top: NDArray[np.intp]
    in_top5: NDArray[np.bool_]
    confidence: NDArray[np.float64]


def outcomes(
    probs: NDArray[np.float64],
    truth: NDArray[np.intp],
    canonical: NDArray[np.intp] | None = None,
) -> Outcomes:
    """Look up what became of each photo.

    Args:
        probs: (n, c) probabilities, finite and not negative; rows are divided by their sums.
        truth: (n,) the true class of each photo, 0 to c - 1.
        canonical: (c,) the class that each class counts as; None if all are distinct.

    Returns:
        The outcomes, on distinct classes.

    Raises:
        PredictionsError: If there are no photos, shapes do not fit, a probability is negative or
            not finite, a row is all zero, or a true class is out of range.
    """  # noqa: DOC502 raised by `_check`
    _check(probs, truth)
    merged, truth = _merge(np.asarray(probs, dtype=np.float64), truth, canonical)
    merged /= merged.sum(axis=1, keepdims=True)
    rows = np.arange(len(truth))
    of_truth = merged[rows, truth]
    top = merged.argmax(axis=1)
    places = np.arange(merged.shape[1])
    before = (merged > of_truth[:, None]).sum(axis=1) + (
        (merged == of_truth[:, None]) & (places < truth[:, None])
    ).sum(axis=1)
    return Outcomes(
        losses=-np.log(np.clip(of_truth, CLIP, 1 - CLIP)),
        truth=truth,
        top=top,
        in_top5=before < _TOP,
        confidence=merged[rows, top],
    )


def photo_losses(
    probs: NDArray[np.float64],
    truth: NDArray[np.intp],
    canonical: NDArray[np.intp] | None = None,
) -> NDArray[np.float64]:
    """Give each photo its share of the log loss, for comparing predictions photo by photo.

    Args:
        probs: (n, c) probabilities, finite and not negative.
        truth: (n,) the true class of each photo, 0 to c - 1.
        canonical: (c,) the class that each class counts as; None if all are distinct.

    Returns:
        (n,) losses in nats, 1e-15 to 34.5; their mean is `log_loss`.

    Raises:
        PredictionsError: If the arguments do not fit, as in `outcomes`.
    """  # noqa: DOC502 raised by `_check`
    return outcomes(probs, truth, canonical).losses


def log_loss(
    probs: NDArray[np.float64],
    truth: NDArray[np.intp],
    canonical: NDArray[np.intp] | None = None,
) -> float:
    """Score probabilities as the competition does.

    In this order: the probabilities of equal classes are added; each row is divided by its sum;
    p is clipped to [1e-15, 1 - 1e-15] and not normalised again; the score is the mean of
    -log p(true class) over photos. On rows so clipped `sklearn.metrics.log_loss` gives the same;
    on others it clips to the machine epsilon of the type instead.

    Args:
        probs: (n, c) probabilities, finite and not negative.
        truth: (n,) the true class of each photo, 0 to c - 1.
        canonical: (c,) the class that each class counts as; None if all are distinct.

    Returns:
        The log loss in nats.

    Raises:
        PredictionsError: If the arguments do not fit, as in `outcomes`.
    """  # noqa: DOC502 raised by `_check`
    return float(photo_losses(probs, truth, canonical).mean())


def macro_f1(
    truth: NDArray[np.intp], top: NDArray[np.intp], weights: NDArray[np.intp] | None = None
) -> float:
    """Average the F1 of the classes, each class counting alike.

    F1 of a class is 2 TP / (2 TP + FP + FN), and 2 TP + FP + FN is how often the class is true
    plus how often it is predicted. Classes that are neither are left out, as in
    `sklearn.metrics.f1_score(average="macro")`.

    Args:
        truth: (n,) true classes.
        top: (n,) predicted classes, -1 for none.
        weights: (n,) how many times each photo counts; None for once each.

    Returns:
        The mean F1, 0 to 1.
    """
    num_classes = int(max(truth.max(), top.max())) + 1
    share = np.ones(len(truth)) if weights is None else weights
    named = top >= 0
    mentions = np.bincount(truth, share, num_classes)
    mentions += np.bincount(top[named], share[named], num_classes)
    hits = np.bincount(truth, share * (truth == top), num_classes)
    present = mentions > 0
    return float((2 * hits[present] / mentions[present]).mean())


def calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], num_bins: int = _NUM_BINS
) -> float:
    """Measure how far confidence and accuracy are apart.

    Photos are sorted by confidence into b bins of equal mass: a photo is in bin
    floor(b * l / n), where l is the number of photos of lower confidence; so equal confidences
    share a bin whatever their order, and fewer than b photos have a bin each. The error is
    sum over bins of |sum of (correct - confidence) in the bin| / n, which is the expected
    calibration error of Guo et al. 2017 (arXiv 1706.04599, eq. 3) with the bins of
    Nguyen & O'Connor 2015 (arXiv 1508.05154). Its expectation is above zero even for perfect
    confidences, about as sqrt(b / n).

    Args:
        confidence: (n,) probabilities of the likeliest classes, 0 to 1.
        correct: (n,) whether these classes are right.
        num_bins: b, at least 1.

    Returns:
        The error, 0 to 1.
    """
    order = np.argsort(confidence, kind="stable")
    gaps = correct[order] - confidence[order]
    first = _first_of_ties(confidence[order])
    return _binned_error(gaps, first, np.ones(len(gaps), dtype=np.intp), num_bins)


def calibration_bins(
    confidence: NDArray[np.float64], num_bins: int = _NUM_BINS
) -> NDArray[np.intp]:
    """Put photos into the bins of `calibration_error`.

    Args:
        confidence: (n,) probabilities of the likeliest classes, 0 to 1.
        num_bins: b, at least 1.

    Returns:
        (n,) the bin of each photo, 0 to b - 1, by ascending confidence.
    """
    lower = np.searchsorted(np.sort(confidence), confidence, side="left")
    return num_bins * lower // len(confidence)


def estimate(
    found: Outcomes,
    groups: ArrayLike | None = None,
    seed: int = 0,
    num_resamples: int = _NUM_RESAMPLES,
) -> Estimates:
    """Compute every figure with its bootstrap 95 % interval.

    Photos, or whole groups of them, are drawn with replacement as many as there are, r times;
    every figure is computed again on each draw; the interval is from the 2.5th to the 97.5th
    percentile (Efron 1979), moved so that the mean of the draws is the value: repeating photos
    raises the calibration error and changes F1 by itself, which has nothing to do with how far
    the value may be off. Few groups are widened (`widening`); of one, any value may be the true
    one, but for shares, which are of one case (Wilson 1927).

    Args:
        found: What became of the photos.
        groups: (n,) names or numbers of groups that are drawn together, such as near-duplicates;
            None to draw photos.
        seed: Seed of the draws.
        num_resamples: r, at least 1.

    Returns:
        The figures.

    Raises:
        PredictionsError: If there is not one group for each photo.
    """  # noqa: DOC502 raised by `_numbered`
    order = np.argsort(found.confidence, kind="stable")
    losses, truth, top = found.losses[order], found.truth[order], found.top[order]
    in_top5, confidence = found.in_top5[order], found.confidence[order]
    correct = truth == top
    means = np.stack([losses, correct, in_top5])
    gaps, first = correct - confidence, _first_of_ties(confidence)

    def figures(counts: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.array(
            [
                *(means @ counts / counts.sum()),
                macro_f1(truth, top, counts),
                _binned_error(gaps, first, counts, _NUM_BINS),
            ]
        )

    values = figures(np.ones(len(losses), dtype=np.intp))
    units = np.arange(len(losses)) if groups is None else _numbered(groups, len(losses))[order]
    draws = np.stack([figures(counts) for counts in _resamples(units, seed, num_resamples)])
    num_units = len(np.unique(units))
    ends = np.percentile(draws, [2.5, 97.5], axis=0) - draws.mean(axis=0)
    most = np.array([MOST_LOSS, 1, 1, 1, 1])
    low, high = (0 * most, most.copy()) if num_units == 1 else values + ends * widening(num_units)
    # Resampling finds nothing in photos that are all right, or all wrong.
    for place in np.flatnonzero((draws[:, 1:3] == values[1:3]).all(axis=0)) + 1:
        low[place], high[place] = wilson(values[place], num_units)
    if (draws[:, 3] == values[3]).all():  # nor for F1, of which no more is known than of top-1
        low[3], high[3] = min(low[3], low[1]), max(high[3], high[1])
    low, high = np.clip(low, 0, values), np.clip(high, values, most)
    return Estimates(*map(Estimate, values.tolist(), low.tolist(), high.tolist()))


def _check(probs: NDArray[np.float64], truth: NDArray[np.intp]) -> None:
    if probs.ndim != 2 or truth.shape != probs.shape[:1] or not probs.size:
        raise PredictionsError(
            "Scoring needs at least one photo, a row of probabilities and a true class for each; "
            f"got probabilities of shape {probs.shape} and true classes of shape {truth.shape}."
        )
    if truth.min() < 0 or truth.max() >= probs.shape[1]:
        raise PredictionsError(
            f"True classes must be 0 to {probs.shape[1] - 1}; got {truth.min()} to {truth.max()}."
        )
    bad = ~(np.isfinite(probs).all(axis=1) & (probs >= 0).all(axis=1) & (probs > 0).any(axis=1))
    if bad.any():
        raise PredictionsError(
            f"{bad.sum():,} of {len(probs):,} rows of probabilities cannot be scored, the first "
            f"is row {bad.argmax()}: probabilities must be finite, not negative and not all zero."
        )


def merged_probs(probs: NDArray[np.float64], canonical: NDArray[np.intp]) -> NDArray[np.float64]:
    """Add the probabilities of classes that count as one.

    Args:
        probs: (n, c).
        canonical: (c,) the class that each class counts as.

    Returns:
        (n, g), a column for each class that others count as or that stands alone, in order.
    """
    kept, place = np.unique(canonical, return_inverse=True)
    merged = probs[:, kept]
    for column in np.flatnonzero(canonical != np.arange(len(canonical))):
        merged[:, place[column]] += probs[:, column]
    return merged


def _merge(
    probs: NDArray[np.float64], truth: NDArray[np.intp], canonical: NDArray[np.intp] | None
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    if canonical is None:
        return probs.copy(), truth
    place = np.unique(canonical, return_inverse=True)[1]
    return merged_probs(probs, canonical), place[truth]


def _numbered(groups: ArrayLike, num_photos: int) -> NDArray[np.intp]:
    names = np.asarray(groups)
    if names.shape != (num_photos,):
        raise PredictionsError(
            f"Groups must name one group for each of {num_photos:,} photos; "
            f"got shape {names.shape}."
        )
    return np.unique(names, return_inverse=True)[1]


def _resamples(
    units: NDArray[np.intp], seed: int, num_resamples: int
) -> Iterator[NDArray[np.intp]]:
    generator = np.random.default_rng(seed)
    num_units = int(units.max()) + 1
    for _ in range(num_resamples):
        drawn = generator.integers(num_units, size=num_units, dtype=np.int32)
        yield np.bincount(drawn, minlength=num_units)[units]


def _first_of_ties(ascending: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.searchsorted(ascending, ascending, side="left")


def _binned_error(
    gaps: NDArray[np.float64], first: NDArray[np.intp], counts: NDArray[np.intp], num_bins: int
) -> float:
    # Photos are sorted by confidence; `first` is where the photos of the same confidence start.
    num_photos = int(counts.sum())
    lower = (np.cumsum(counts) - counts)[first]
    sums = np.bincount(num_bins * lower // num_photos, gaps * counts)
    return float(np.abs(sums).sum() / num_photos)
