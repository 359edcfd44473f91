"""The ways to blend that are compared, the simplest first.

Shapes: n photos, k voices, c classes (equal ones merged).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from chajong.blending.fit import (
    Places,
    Weights,
    fit_linear,
    fit_log,
    fit_temperature,
    fit_vector,
    prune,
    select,
)
from chajong.pooling import Fitted, Floats, Pooling, pool

_USUAL = ("plain", "flip")


@dataclass(frozen=True, eq=False)
class Table:
    """Out-of-fold voices with the truth.

    Attributes:
        voices: (n, k, c) log-probabilities.
        truth: (n,).
        groups: (n,) photos that belong together, numbered from 0.
        members: (k,) the member of each voice, numbered from 0.
        views: k names of views.
        budget: Most views of a member.
    """

    voices: Floats
    truth: Places
    groups: Places
    members: Places
    views: tuple[str, ...]
    budget: int

    def rows(self, chosen: NDArray[np.bool_]) -> "Table":
        """Choose photos.

        Args:
            chosen: (n,).

        Returns:
            The table of these.
        """
        groups = np.unique(self.groups[chosen], return_inverse=True)[1]
        voices, truth = self.voices[chosen], self.truth[chosen]
        return Table(voices, truth, groups, self.members, self.views, self.budget)

    def named(self, *views: str) -> Weights:
        """Weigh the voices of some views alike.

        Args:
            *views: Names; those that are not there are left out.

        Returns:
            (k,) weights that sum to 1.
        """
        chosen = np.isin(self.views, views)
        weights: Weights = chosen / max(int(chosen.sum()), 1)
        return weights

    @cached_property
    def convex_log(self) -> Weights:
        """Fit the weights of a geometric mean.

        Returns:
            (k,) weights; their sum is the inverse of the temperature.
        """
        return prune(*self.parts, self.groups, fit_log, "log")

    @property
    def parts(self) -> tuple[Floats, Places, Places, int]:
        """Voices, truth, members and budget."""
        return self.voices, self.truth, self.members, self.budget


@dataclass(frozen=True)
class Method:
    """A way to blend.

    Attributes:
        name: Its name.
        about: What it does, for people.
        fit: Finds its numbers.
    """

    name: str
    about: str
    fit: Callable[[Table], Fitted]


def _plain(table: Table) -> Fitted:
    return Fitted(table.named("plain"), "log")


def _flip(table: Table) -> Fitted:
    return Fitted(table.named(*_USUAL[: table.budget]), "log")


def _warm(table: Table) -> Fitted:
    return _calibrated(table, table.named(*_USUAL[: table.budget]), "log")


def _greedy_linear(table: Table) -> Fitted:
    return _calibrated(table, select(*table.parts, "linear"), "linear")


def _greedy_log(table: Table) -> Fitted:
    return _calibrated(table, select(*table.parts, "log"), "log")


def _convex_linear(table: Table) -> Fitted:
    weights = prune(*table.parts, table.groups, fit_linear, "linear")
    return _calibrated(table, weights, "linear")


def _convex_log(table: Table) -> Fitted:
    weights = table.convex_log
    total = float(weights.sum())
    return Fitted(weights / total, "log", temperature=1 / total)


def _vector(table: Table) -> Fitted:
    made = _convex_log(table)
    return replace(made, vector=fit_vector(made(table.voices), table.truth))


def _calibrated(table: Table, weights: Weights, pooling: Pooling) -> Fitted:
    made = pool(table.voices, weights, pooling)
    return Fitted(weights, pooling, fit_temperature(made, table.truth))


METHODS: tuple[Method, ...] = (
    Method("plain", "one look, the mean of the runs", _plain),
    Method("flip", "plain and flip", _flip),
    Method("temperature", "plain and flip, a temperature", _warm),
    Method("greedy-linear", "chosen greedily, arithmetic mean, a temperature", _greedy_linear),
    Method("greedy-log", "chosen greedily, a temperature", _greedy_log),
    Method("convex-linear", "fitted weights, arithmetic mean, a temperature", _convex_linear),
    Method("convex-log", "fitted weights, a temperature", _convex_log),
    Method("vector", "the same, and a scale and a shift of each class", _vector),
)  # fmt: skip
"""Ordered by how much is fitted; the mean is geometric where nothing else is said."""

LINEAR_IN_LOGITS = tuple(
    method for method in METHODS if method.name not in ("greedy-linear", "convex-linear", "vector")
)
"""Those of which it is known what the mean of several models gains (`average.py`)."""
