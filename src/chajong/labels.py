"""Class names in one order, and which of them count as the same car.

Shapes: c classes.
"""

import csv
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chajong.errors import DataError
from chajong.files import fingerprint, read_json, write_json
from chajong.tables import read_columns
from chajong.wording import did_you_mean, listed, nfc

_DATA = files("chajong") / "data"


@dataclass(frozen=True)
class Labels:
    """The classes of a data set: their names in code-point order, and pairs that count as one.

    The order is that of the columns of every prediction, so it never depends on a file system.

    Attributes:
        names: Class names: NFC, unique, sorted by code point, at least one.
        equal: Pairs of names that are scored as one class.
    """

    names: tuple[str, ...]
    equal: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that are not in the one order.

        Raises:
            DataError: If there are no names, or if they repeat, are blank, not NFC or not sorted,
                or if a pair names an unknown class.
        """
        for problem in _problems(self.names, self.equal):
            raise DataError(problem)

    @classmethod
    def of(cls, names: Iterable[str]) -> "Labels":
        """Make labels of names as they come, with the equal pairs that are known.

        Args:
            names: Class names in any order and any Unicode form; repeated ones count once.

        Returns:
            The labels.

        Raises:
            DataError: If there are no names or one is blank.
        """  # noqa: DOC502 raised by `__post_init__`
        tidy = tuple(sorted({nfc(name) for name in names}))
        return cls(tidy, known_equal(tidy))

    def index(self, name: str) -> int:
        """Find a class by its name.

        Args:
            name: A class name, in any Unicode form.

        Returns:
            Its place in `names`.

        Raises:
            DataError: If there is no such class.
        """  # noqa: DOC502 raised by `indices`
        return int(self.indices([name])[0])

    def indices(self, names: Collection[str]) -> NDArray[np.intp]:
        """Find many classes by their names.

        Args:
            names: n class names, in any Unicode form.

        Returns:
            (n,) places in `names`.

        Raises:
            DataError: If any of them is unknown; the message lists them and what was meant.
        """
        places = [self._places.get(nfc(name)) for name in names]
        unknown = dict.fromkeys(
            name for name, place in zip(names, places, strict=True) if place is None
        )
        if unknown:
            meant = "".join(
                f"\n  {name!r}{did_you_mean(nfc(name), self.names)}" for name in list(unknown)[:5]
            )
            rest = f"\n  and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
            raise DataError(
                f"{len(unknown):,} label(s) are not among the {len(self.names)} classes:"
                f"{meant}{rest}\nCorrect them, or use the data that these classes come from."
            )
        return np.array(places, dtype=np.intp)

    @cached_property
    def canonical(self) -> NDArray[np.intp]:
        """Give each class the first class that it is equal to.

        Returns:
            (c,) for each class, the least index among the classes joined to it by `equal`.
        """
        first = list(range(len(self.names)))

        def root(place: int) -> int:
            while first[place] != place:
                place = first[place]
            return place

        for one, other in self.equal:
            low, high = sorted((root(self.index(one)), root(self.index(other))))
            first[high] = low
        found = np.array([root(place) for place in first], dtype=np.intp)
        found.setflags(write=False)  # it is everybody's
        return found

    @cached_property
    def merged_places(self) -> NDArray[np.intp]:
        """Give each class its column once equal classes are one.

        Returns:
            (c,) columns, in the order of `pooling.merged` and `metrics.merged_probs`.
        """
        return np.unique(self.canonical, return_inverse=True)[1]

    @property
    def fingerprint(self) -> str:
        """Name these labels by their content.

        Returns:
            16 hexadecimal digits.
        """
        return fingerprint("labels", self.names, self.equal)

    def save(self, path: Path) -> None:
        """Write the labels as JSON.

        Args:
            path: The file to make or replace.
        """
        write_json(path, {"names": self.names, "equal": self.equal})

    @classmethod
    def load(cls, path: Path) -> "Labels":
        """Read labels that `save` wrote.

        Args:
            path: The file.

        Returns:
            The labels.

        Raises:
            DataError: If the file is missing or damaged, or its labels are refused.
        """
        if not path.exists():
            raise DataError(f"There are no labels at {path}: no such file.")
        saved = read_json(path, _Saved, DataError, "Make it again by the command that made it.")
        return cls(saved.names, saved.equal)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


def known_equal(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Choose the competition's equal pairs that concern these classes.

    DACON 236493 scores five pairs of class names as one class each; they stand in the column
    equal_to of the catalogue that comes along.

    Args:
        names: Class names, in any Unicode form.

    Returns:
        The pairs of which both names are there, in NFC.
    """
    present = {nfc(name) for name in names}
    return tuple(pair for pair in _equal_pairs() if present.issuperset(pair))


def read_equal(path: Path) -> tuple[tuple[str, str], ...]:
    """Read pairs of equal classes from a CSV file.

    Args:
        path: The file: columns class and equal_to, UTF-8, with or without a BOM.

    Returns:
        The pairs, in NFC.

    Raises:
        DataError: If the file cannot be read, a column is missing or a cell is empty.
    """  # noqa: DOC502 raised by `read_columns`
    table = read_columns(path, {"class": pl.String, "equal_to": pl.String})
    return tuple((nfc(one), nfc(other)) for one, other in table.rows())


def known_names() -> tuple[str, ...]:
    """Give the class names of the competition, DACON 236493.

    Returns:
        396 names in code-point order.
    """
    return tuple((_DATA / "hecto_class_names.txt").read_text(encoding="utf-8").splitlines())


@cache
def _equal_pairs() -> tuple[tuple[str, str], ...]:
    text = (_DATA / "catalogue.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple((row["class"], row["equal_to"]) for row in rows if row["equal_to"])


@dataclass(frozen=True)
class _Saved:
    # Without defaults: a file that tells no pairs is not whole.
    names: tuple[str, ...]
    equal: tuple[tuple[str, str], ...]


def _problems(names: tuple[str, ...], equal: tuple[tuple[str, str], ...]) -> Iterator[str]:
    if not names:
        yield "There are no classes: labels need at least one class name."
    if any(not name.strip() for name in names):
        yield "A class name is blank: give every class a name."
    if odd := [name for name in names if name != nfc(name)]:
        yield f"Class names must be in Unicode NFC, but {listed(odd)} are not."
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        yield f"Class names must be unique, but {listed(repeated)} are repeated."
    if late := [f"{high} before {low}" for high, low in pairwise(names) if low < high]:
        yield f"Class names must be sorted by code point, but there is {listed(late)}."
    if unknown := sorted({name for pair in equal for name in pair} - set(names)):
        yield f"Equal pairs must be of known classes, but {listed(unknown)} are not classes."
