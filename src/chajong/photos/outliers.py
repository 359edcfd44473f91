"""Photos that a network finds unlike the others: no whole car, or not like those of their class.

Two photos agree by the cosine of their features. A wheel, a lamp, an interior agrees with few
photos, so its `k`-th nearest photo is far (Ramaswamy et al., 2000); `k` is large, because an
interior has other interiors near it. A photo of another class agrees with photos of other classes
more than with its own (as in the silhouette of Rousseeuw, 1987); features are centred for that,
because what all cars have in common says nothing of a class.

Shapes: n photos, d features, c classes, b photos of a block.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chajong.manifest import Manifest
from chajong.photos.groups import Issue
from chajong.progress import Progress

MIN_PHOTOS = 50
"""Photos below which nothing is said."""

# Measured on 4,893 photos of 196 cars (benchmarks/outliers_planted.py): from so many times the way
# from the median to the 95 % quantile on. Whatever the network, no more than a share is listed.
_NOT_WHOLE_FROM, _NOT_LIKE_FROM = 1.5, 1.7
_MOST = 0.02

_NEIGHBOUR, _NEIGHBOUR_SHARE = 50, 0.05  # the k-th, and at most that share of the photos
_NUM_NEAREST = 5  # of which the mean is taken, in a class
_BLOCK = 512

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scores:
    """How unlike the others photos are.

    Attributes:
        not_whole_car: (n,) 1 less the agreement with the k-th nearest photo; NaN if not known.
        not_like_class: (n,) mean agreement with the nearest photos of other classes less that
            with those of its own; NaN if not known, as for test photos.
        nearest: (n,) place of the nearest photo of another class; -1 if there is none.
        neighbour: Which neighbour k is.
    """

    not_whole_car: NDArray[np.float64]
    not_like_class: NDArray[np.float64]
    nearest: NDArray[np.intp]
    neighbour: int


def find_outliers(manifest: Manifest, features: NDArray[np.floating[Any]]) -> list[Issue]:
    """List the photos that are perhaps no whole car, and those that are not like their class.

    Args:
        manifest: n photos.
        features: (n, d) features of a network, NaN where a photo could not be read.

    Returns:
        The issues `not_whole_car` and `not_like_class`; no photo has both.
    """
    scores = outlier_scores(manifest, features)
    ids, labels = manifest.table["id"].to_list(), manifest.table["label"].to_list()
    is_test = (manifest.table["part"] == "test").to_numpy()
    issues: list[Issue] = []
    listed = np.zeros(len(ids), np.bool_)
    for part in (is_test, ~is_test):  # a shift makes all test photos somewhat unlike the others
        chosen, usual = _far(np.where(part, scores.not_whole_car, np.nan), _NOT_WHOLE_FROM)
        listed[chosen] = True
        told = f"its {scores.neighbour}. nearest photo agrees by {{:.2f}}, usually {1 - usual:.2f}"
        for place in chosen:
            score = float(scores.not_whole_car[place])
            issues.append((ids[place], "not_whole_car", score, told.format(1 - score)))
    for place in _far(np.where(listed, np.nan, scores.not_like_class), _NOT_LIKE_FROM)[0]:
        other = int(scores.nearest[place])
        detail = f"looks less like {labels[place]} than like {labels[other]}, such as {ids[other]}"
        issues.append((ids[place], "not_like_class", float(scores.not_like_class[place]), detail))
    return issues


def outlier_scores(manifest: Manifest, features: NDArray[np.floating[Any]]) -> Scores:
    """Score how unlike the others photos are; copies of a photo do not count as others.

    Args:
        manifest: n photos.
        features: (n, d) features of a network, NaN where a photo could not be read.

    Returns:
        The scores.
    """
    num = manifest.table.height
    whole, like = np.full(num, np.nan), np.full(num, np.nan)
    nearest = np.full(num, -1)
    seen = np.flatnonzero(np.isfinite(features).all(axis=1) & (features != 0).any(axis=1))
    k = max(1, min(_NEIGHBOUR, int(_NEIGHBOUR_SHARE * len(seen))))
    if len(seen) < MIN_PHOTOS:
        return Scores(whole, like, nearest, k)
    unit = _unit(features[seen].astype(np.float32))
    groups = manifest.table["group"].to_numpy()[seen]
    classes = _classes(manifest)[seen]
    centre = unit.mean(axis=0)
    centred = _unit(unit - centre)
    own = _own(centred, classes, groups)
    with Progress("comparing photos", len(seen)) as progress:
        for start in range(0, len(seen), _BLOCK):
            rows = slice(start, start + _BLOCK)
            same = groups[rows, None] == groups
            agree = np.where(same, -1, unit[rows] @ unit.T)
            whole[seen[rows]] = 1 - np.partition(agree, -k, axis=1)[:, -k]
            not_other = same | (classes == classes[rows, None]) | (classes < 0)
            agree = np.where(not_other, -np.inf, centred[rows] @ centred.T)
            # NaN where there is no own class, or no other.
            like[seen[rows]] = _mean_of_nearest(agree) - own[rows]
            best = np.where(not_other.all(axis=1), -1, seen[agree.argmax(axis=1)])
            nearest[seen[rows]] = best
            progress.advance(len(same))
    return Scores(whole, like, nearest, k)


def _far(scores: NDArray[np.float64], least: float) -> tuple[list[int], float]:
    # The places of scores that are far above the usual, the highest first, and the usual.
    known = scores[np.isfinite(scores)]
    if len(known) < MIN_PHOTOS:
        return [], float("nan")
    usual, high = np.quantile(known, (0.5, 0.95)).tolist()
    order = np.argsort(-scores, kind="stable")[: max(1, int(_MOST * len(known)))]
    return [int(place) for place in order if scores[place] > usual + least * (high - usual)], usual


def _unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / np.maximum(lengths, np.float32(1e-12))
    return unit


def _classes(manifest: Manifest) -> NDArray[np.intp]:
    # (n,) the class of each train photo, equal ones as one; -1 for test photos.
    canonical = manifest.labels.canonical.tolist()
    class_of = dict(zip(manifest.labels.names, canonical, strict=True))
    return np.array([class_of.get(label, -1) for label in manifest.table["label"]], np.intp)


def _own(centred: Floats, classes: NDArray[np.intp], groups: NDArray[np.intp]) -> Floats:
    # (n,) mean agreement with the nearest photos of the own class; NaN where there are none.
    found = np.full(len(centred), np.nan, np.float32)
    for places in _members(classes):
        for start in range(0, len(places), _BLOCK):
            rows = places[start : start + _BLOCK]
            agree = centred[rows] @ centred[places].T
            agree[groups[rows, None] == groups[places]] = -np.inf
            found[rows] = _mean_of_nearest(agree)
    return found


def _mean_of_nearest(agree: Floats) -> Floats:
    # (n,) of (n, m), -inf where there is no neighbour; NaN where there is none at all.
    num = min(_NUM_NEAREST, agree.shape[1])
    nearest = np.partition(agree, -num, axis=1)[:, -num:]
    known = np.isfinite(nearest)
    total, count = np.where(known, nearest, 0).sum(axis=1), known.sum(axis=1)
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def _members(classes: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    for number in np.unique(classes[classes >= 0]):
        yield np.flatnonzero(classes == number)
