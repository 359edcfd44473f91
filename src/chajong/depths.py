"""The likeliest group of classes at each level, from the exact class to the maker.

Shapes: n photos, c classes, g groups, four levels, the deepest first.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from chajong.catalogue import Car, Catalogue
from chajong.labels import Labels
from chajong.levels import Level

Places = NDArray[np.intp]
Floats = NDArray[np.float64]

DEEPEST_FIRST = ("exact", "generation", "model", "maker")
"""The levels of an answer; behind them comes `none`, at place 4."""

NONE = len(DEEPEST_FIRST)
"""The place of an answer that says nothing."""


@dataclass(frozen=True, eq=False)
class Likeliest:
    """The likeliest group of each photo at each level.

    Attributes:
        groups: (n, 4) which it is.
        probs: (n, 4) its probability, never less at a coarser level.
        named: (n, 4) whether the catalogue has a name for it.
    """

    groups: Places
    probs: Floats
    named: NDArray[np.bool_]

    @property
    def sayable(self) -> NDArray[np.float32]:
        """Give the probabilities of groups that have a name.

        Returns:
            (n, 4), NaN elsewhere; in the precision in which thresholds are kept.
        """
        return np.where(self.named, self.probs, np.nan).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Depths:
    """The levels of one set of classes, and at which of them each class can be named.

    Attributes:
        levels: The deepest first.
        cars: c cars, that of the first class for all that count as one.
    """

    levels: tuple[Level, ...]
    cars: tuple[Car, ...]

    @classmethod
    def of(cls, catalogue: Catalogue, labels: Labels) -> "Depths":
        """Look classes up.

        Args:
            catalogue: Which car each class is.
            labels: The classes.

        Returns:
            Their levels.
        """
        cars = tuple(catalogue.of(labels.names[place]) for place in labels.canonical)
        return cls(tuple(reversed(tuple(catalogue.levels(labels)))), cars)

    def sums(self, place: int, probs: Floats) -> Floats:
        """Add up the probabilities of each group.

        Args:
            place: Of the level.
            probs: (n, c).

        Returns:
            (n, g), the groups in their order.
        """
        order, starts = self._order[place]
        sums: Floats = np.add.reduceat(probs[:, order], starts, axis=1)
        return sums

    def likeliest(self, probs: Floats) -> Likeliest:
        """Find the likeliest group at each level.

        Args:
            probs: (n, c), finite; rows sum to 1.

        Returns:
            It, photo by photo.
        """
        rows = np.arange(len(probs))
        groups = np.zeros((len(probs), NONE), np.intp)
        best = np.zeros((len(probs), NONE))
        named = np.zeros((len(probs), NONE), np.bool_)
        for place in range(NONE):
            sums = self.sums(place, probs)
            groups[:, place] = sums.argmax(axis=1)
            best[:, place] = np.minimum(sums[rows, groups[:, place]], 1.0)
            named[:, place] = self._named[place][groups[:, place]]
        return Likeliest(groups, best, named)

    @cached_property
    def _order(self) -> list[tuple[Places, Places]]:
        # Classes group by group, and where each group begins.
        orders = [np.argsort(level.groups, kind="stable") for level in self.levels]
        return [
            (order, np.unique(level.groups[order], return_index=True)[1])
            for level, order in zip(self.levels, orders, strict=True)
        ]

    @cached_property
    def _named(self) -> list[NDArray[np.bool_]]:
        # What is not known makes a group of its own, which has no name at that level.
        firsts = [[self.cars[place] for place in np.unique(x.canonical)] for x in self.levels]
        return [
            np.array([getattr(car, fact) is not None for car in cars], np.bool_)
            for cars, fact in zip(firsts, ("name", *DEEPEST_FIRST[1:]), strict=True)
        ]
