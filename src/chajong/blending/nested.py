"""Comparing ways to blend on photos that they were not fitted on.

Shapes: n photos, m methods, c classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chajong.blending.fit import Places, counted, standard_error
from chajong.blending.methods import METHODS, Method, Table
from chajong.pooling import Fitted, Floats
from chajong.progress import Progress

_NUM_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Selection:
    """What every method did on held-out photos.

    Attributes:
        methods: m methods, the simplest first.
        losses: (m, n) the log loss of each photo, by a fit without its fold.
        num_looks: m numbers of voices that each uses, fitted on all photos: what it costs.
        chosen: The place of the method that is taken.
        fitted: The taken method, fitted on all photos.
        folds: (n,) the fold of each photo.
        fits: The taken method, fitted without each fold.
        nested: (n, c) log-probabilities of each photo, by a method that was fitted without its
            fold and chosen by the losses of the other folds. The fits that lost them may have
            learned from the photo.
    """

    methods: tuple[Method, ...]
    losses: NDArray[np.float64]
    num_looks: tuple[int, ...]
    chosen: int
    fitted: Fitted
    folds: Places
    fits: tuple[Fitted, ...]
    nested: Floats


def select_method(table: Table, methods: Sequence[Method] = METHODS, seed: int = 0) -> Selection:
    """Fit every method without each fold in turn, then take the cheapest that is good enough.

    Args:
        table: Out-of-fold voices; groups stay together.
        methods: The simplest first.
        seed: Of the folds.

    Returns:
        The comparison; the same for the same table and seed.
    """
    folds = _folds(table.groups, seed)
    lost = np.zeros((len(methods), len(table.truth)))
    fits: list[list[Fitted]] = []
    with Progress("comparing blends", len(methods) * (_NUM_FOLDS + 1), "fits") as progress:
        for fold in range(_NUM_FOLDS):
            held, rest = table.voices[folds == fold], table.rows(folds != fold)
            fits.append([])
            for place, method in enumerate(methods):
                fit = method.fit(rest)
                lost[place, folds == fold] = counted(fit(held), table.truth[folds == fold])
                fits[-1].append(fit)
                progress.advance(1)
        whole = []
        for method in methods:
            whole.append(method.fit(table))
            progress.advance(1)
    nested = np.zeros((len(table.truth), table.voices.shape[2]), np.float32)
    for fold in range(_NUM_FOLDS):
        others = folds != fold
        place = cheapest_good_enough(lost[:, others], table.groups[others], _looks(fits[fold]))
        nested[~others] = fits[fold][place](table.voices[~others])
    num_looks = _looks(whole)
    chosen = cheapest_good_enough(lost, table.groups, num_looks)
    taken = tuple(some[chosen] for some in fits)
    return Selection(tuple(methods), lost, num_looks, chosen, whole[chosen], folds, taken, nested)


def cheapest_good_enough(
    lost: NDArray[np.float64], groups: Places, num_looks: Sequence[int]
) -> int:
    """Choose by the one-standard-error rule (Breiman et al. 1984), photos paired.

    Args:
        lost: (m, n) losses, the simplest method first.
        groups: (n,).
        num_looks: m numbers of voices.

    Returns:
        Of the methods whose mean loss lies above the least by no more than the standard error of
        their difference, the place of the one with the fewest looks, the simplest of several.
    """
    best = int(lost.mean(axis=1).argmin())
    units = np.unique(groups, return_inverse=True)[1]
    gaps = lost - lost[best]
    good = [place for place, gap in enumerate(gaps) if gap.mean() <= standard_error(gap, units)]
    return min(good, key=lambda place: (num_looks[place], place))


def _looks(fits: Sequence[Fitted]) -> tuple[int, ...]:
    return tuple(int(np.count_nonzero(fit.weights)) for fit in fits)


def _folds(groups: Places, seed: int) -> Places:
    num_groups = int(groups.max()) + 1
    order = np.random.default_rng([seed, num_groups]).permutation(num_groups)
    return (order % _NUM_FOLDS)[groups]
