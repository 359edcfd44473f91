"""Classes grouped from coarse to fine: by maker, model, generation, and each for itself.

Shapes: c classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from chajong.errors import DataError


@dataclass(frozen=True, eq=False)
class Level:
    """Classes put into groups.

    Attributes:
        name: What makes a group: maker, model, generation or exact.
        groups: (c,) the group of each class, counted from 0 in the order of the classes.
        names: What each group is called.
    """

    name: str
    groups: NDArray[np.intp]
    names: tuple[str, ...]

    @property
    def canonical(self) -> NDArray[np.intp]:
        """Give each class the first class of its group, as the metrics take it.

        Returns:
            (c,) places of classes.
        """
        first = np.unique(self.groups, return_index=True)[1]
        return first[self.groups]


@dataclass(frozen=True, eq=False)
class Levels:
    """The four levels of one set of classes; each refines the one before it.

    Attributes:
        maker: Classes of one maker.
        model: Classes of one model line.
        generation: Classes of one generation of a model.
        exact: Each class for itself, equal classes together.
    """

    maker: Level
    model: Level
    generation: Level
    exact: Level

    def __post_init__(self) -> None:
        """Refuse levels that are not nested.

        Raises:
            DataError: If two classes are together at one level and apart at a coarser one.
        """
        for coarse, fine in pairwise(self):
            if len(set(zip(fine.groups, coarse.groups, strict=True))) > len(fine.names):
                raise DataError(
                    f"The level {fine.name!r} must refine the level {coarse.name!r}, but some of "
                    "its groups reach across several of those."
                )

    def __iter__(self) -> Iterator[Level]:
        """Go through the levels.

        Yields:
            maker, model, generation, exact.
        """
        yield from (self.maker, self.model, self.generation, self.exact)
