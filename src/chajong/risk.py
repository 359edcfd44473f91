"""How deep an answer may go for a risk that the user states, learned from held-out answers.

An answer says the exact class, or only its generation, its model or its maker, or nothing. What is
said at a level is the likeliest group of classes, if its probability reaches the level's threshold.
Thresholds are fitted one after another, from the deepest level to the coarsest, each on the photos
that deeper levels leave: a threshold is as low as it can be while, of all that is answered down to
it, the share of wrong answers is surely at most the stated risk. "Surely" is the upper end of the
95 % interval of that share (Wilson 1927, as in "selection with guaranteed risk" of Geifman &
El-Yaniv 2017, arXiv 1705.08500, which is the case of one level). Where no threshold will do, the
level is never said.

The interval is that of a single threshold, and the lowest of many good ones is taken, so that it
is no proof. In worlds whose truth is known (tests/test_risk.py) the error of new photos stays below
the risk + 0.01.

Shapes: n photos, c classes, four levels, the deepest first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chajong.depths import DEEPEST_FIRST, NONE, Depths
from chajong.errors import DataError, PredictionsError
from chajong.files import write_table
from chajong.intervals import wilson
from chajong.labels import Labels
from chajong.parquet import read_parquet
from chajong.predictions import Predictions

Places = NDArray[np.intp]

SHOWN_RISKS = (0.01, 0.02, 0.05)
"""The risks that reports and cards tell of."""

_NUM_FOLDS = 5


@dataclass(frozen=True)
class Thresholds:
    """From which probability on each level is said.

    Attributes:
        risk: The share of wrong answers that was stated.
        least: Four thresholds, the deepest level's first; None where it is never said.
    """

    risk: float
    least: tuple[float | None, ...]

    def deepest(self, sayable: NDArray[np.float32]) -> Places:
        """Choose how deep to answer.

        Args:
            sayable: (n, 4) as `Likeliest.sayable`.

        Returns:
            (n,) the place of the deepest level that reaches its threshold; 4 if none does.
        """
        least = np.array([np.inf if t is None else t for t in self.least], np.float32)
        reached = sayable >= least
        return np.where(reached.any(axis=1), reached.argmax(axis=1), NONE)


@dataclass(frozen=True)
class Stated:
    """What became of photos that were answered for a stated risk.

    Attributes:
        risk: The risk.
        shares: The share of photos answered at each level, the deepest first, and `none`; like the
            error, with near-duplicates counted as one photo.
        num_photos: How many photos there are.
        num_answered: How many of them are answered at some level.
        error: Share of those that are answered wrongly; none where there are none.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    risk: float
    shares: dict[str, float]
    num_photos: int
    num_answered: int
    error: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(
        cls, risk: float, places: Places, right: NDArray[np.bool_], groups: NDArray[np.int64]
    ) -> "Stated":
        """Count.

        Args:
            risk: The stated risk.
            places: (n,) the level at which each photo is answered, 4 for none.
            right: (n, 4) whether the likeliest group is the true one.
            groups: (n,) near-duplicates have the same number, from 0.

        Returns:
            The counts.
        """
        counts = _weights(groups)
        at_each = np.bincount(places, counts, minlength=NONE + 1) / max(counts.sum(), 1)
        shares = dict(zip((*DEEPEST_FIRST, "none"), at_each.tolist(), strict=True))
        rows = np.flatnonzero(places < NONE)
        if not len(rows):
            return cls(risk, shares, len(places), 0, None, None, None)
        error = float(np.average(~right[rows, places[rows]], weights=counts[rows]))
        low, high = map(float, wilson(error, counts[rows].sum()))
        return cls(risk, shares, len(places), len(rows), error, low, high)

    def line(self) -> str:
        """Say it for a terminal.

        Returns:
            One line.
        """
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())
        if self.error is None:
            return f"risk {self.risk:g}: {shares}"
        return (
            f"risk {self.risk:g}: {shares}; wrong {self.error:.2%} ({self.low:.2%} to "
            f"{self.high:.2%}) of {self.num_answered:,} answered"
        )


@dataclass(frozen=True, eq=False)
class Risks:
    """How sure and how right held-out answers were at each level.

    Attributes:
        sayable: (n, 4) the probability of the likeliest group, NaN where it has no name.
        right: (n, 4) whether it is the true one.
        groups: (n,) near-duplicates have the same number; a group counts as one photo.
    """

    sayable: NDArray[np.float32]
    right: NDArray[np.bool_]
    groups: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse a record that does not fit together.

        Raises:
            DataError: If shapes differ, there is no photo, a probability lies outside of 0 to 1,
                or an exact class has none.
        """
        shape = (len(self.groups), NONE)
        fits = self.sayable.shape == self.right.shape == shape and shape[0] > 0
        known = self.sayable[~np.isnan(self.sayable)]
        if not fits or known.min(initial=0) < 0 or known.max(initial=0) > 1:
            raise DataError(
                "A record of risks needs a probability of 0 to 1 and whether it was right for each "
                f"photo at {NONE} levels; got shapes {self.sayable.shape} and {self.right.shape}."
            )
        if np.isnan(self.sayable[:, 0]).any():
            raise DataError("A record of risks needs a probability of each exact class.")

    @classmethod
    def of(
        cls,
        predictions: Predictions,
        labels: Labels,
        depths: Depths,
        group_of: Mapping[str, int] | None = None,
    ) -> "Risks":
        """Look up how sure and how right predictions were.

        Args:
            predictions: Held-out ones, with their true classes.
            labels: The classes.
            depths: Their levels.
            group_of: The group of near-duplicates of each id; every photo its own, if none.

        Returns:
            The record of those that have a prediction.

        Raises:
            PredictionsError: If true classes are not known, none has a prediction, or a photo has
                no group.
        """  # noqa: DOC503 DataError raised by `labels.indices`
        predictions.check_classes(labels)
        known, rows = predictions.truth(), np.flatnonzero(predictions.ok)
        ids = [predictions.ids[row] for row in rows]
        if not ids:
            raise PredictionsError("No photo has a prediction: nothing is known of the risk.")
        if group_of is not None and (lost := [id_ for id_ in ids if id_ not in group_of]):
            raise PredictionsError(f"{len(lost):,} photos have no group, the first is {lost[0]!r}.")
        found = depths.likeliest(predictions.probabilities()[rows])
        truth = labels.indices([known[id_] for id_ in ids])
        true = np.stack([level.groups[truth] for level in depths.levels], axis=1)
        names = np.arange(len(ids)) if group_of is None else [group_of[id_] for id_ in ids]
        groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
        return cls(found.sayable, found.groups == true, groups)

    def thresholds(self, risk: float) -> Thresholds:
        """Fit thresholds, as the head of this file says.

        Args:
            risk: The share of wrong answers among those given, above 0 and below 1.

        Returns:
            The thresholds.

        Raises:
            DataError: If there is no such risk.
        """
        if not 0 < risk < 1:
            raise DataError(
                f"A risk is the share of answers that may be wrong, such as 0.02 for one in fifty: "
                f"above 0 and below 1. Got {risk}."
            )
        return _fit(self.sayable, self.right, self.groups, risk)

    def stated(self, risk: float) -> Stated:
        """Tell how photos fare whose answers the thresholds are not fitted on.

        Args:
            risk: As in `thresholds`.

        Returns:
            What became of all photos, in five parts, near-duplicates together, each by thresholds
            that were fitted on the other four.
        """
        num_groups = int(self.groups.max()) + 1
        order = np.random.default_rng(num_groups).permutation(num_groups)
        folds = (order % _NUM_FOLDS)[self.groups]
        places = np.full(len(folds), NONE)
        for fold in range(_NUM_FOLDS):
            rest = folds != fold
            fitted = _fit(self.sayable[rest], self.right[rest], self.groups[rest], risk)
            places[~rest] = fitted.deepest(self.sayable[~rest])
        return Stated.of(risk, places, self.right, self.groups)

    def save(self, path: Path) -> None:
        """Write the record as Parquet.

        Args:
            path: The file.
        """
        columns = {"group": pl.Series(self.groups, dtype=pl.Int64)}
        for place, name in enumerate(DEEPEST_FIRST):
            columns[f"{name}_prob"] = pl.Series(self.sayable[:, place], dtype=pl.Float32)
            columns[f"{name}_right"] = pl.Series(self.right[:, place], dtype=pl.Boolean)
        write_table(path, pl.DataFrame(columns))

    @classmethod
    def load(cls, path: Path) -> "Risks":
        """Read a record that `save` wrote.

        Args:
            path: The file.

        Returns:
            The record.

        Raises:
            DataError: If it cannot be read, or is refused.
        """
        try:
            table = read_parquet(path)
            return cls(
                np.stack([table[f"{name}_prob"].to_numpy() for name in DEEPEST_FIRST], axis=1),
                np.stack([table[f"{name}_right"].to_numpy() for name in DEEPEST_FIRST], axis=1),
                table["group"].to_numpy(),
            )
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{path} holds no record of risks: {error}.") from error


def table_of(rows: Sequence[Stated]) -> Iterator[tuple[str, ...]]:
    """Lay what was stated out for people.

    Args:
        rows: What became of photos for some risks.

    Yields:
        A row each: the risk, the shares from exact to none, the error among answers.
    """
    for row in rows:
        error = "" if row.error is None else f"{row.error:.2%} ({row.low:.2%} to {row.high:.2%})"
        yield (f"{row.risk:.0%}", *(f"{share:.1%}" for share in row.shares.values()), error)


def _weights(groups: NDArray[np.int64]) -> NDArray[np.float64]:
    # Copies of a photo are one piece of evidence: each weighs as its share of them.
    made: NDArray[np.float64] = 1 / np.bincount(groups)[groups]
    return made


def _fit(
    sayable: NDArray[np.float32],
    right: NDArray[np.bool_],
    groups: NDArray[np.int64],
    risk: float,
) -> Thresholds:
    weights = _weights(groups)
    left = np.ones(len(groups), np.bool_)
    num, num_wrong = 0.0, 0.0
    least: list[float | None] = []
    for place in range(NONE):
        rows = np.flatnonzero(left & ~np.isnan(sayable[:, place]))
        rows = rows[np.argsort(-sayable[rows, place], kind="stable")]
        probs, weight = sayable[rows, place], weights[rows]
        nums = num + np.cumsum(weight)
        wrongs = num_wrong + np.cumsum(weight * ~right[rows, place])
        # Rounding may leave a sum a little above what it is the sum of.
        most = wilson(np.minimum(wrongs / nums, 1.0), nums)[1]
        ends = np.append(probs[1:] < probs[:-1], True) if len(rows) else np.zeros(0, np.bool_)
        good = np.flatnonzero(ends & (most <= risk))
        if not len(good):
            least.append(None)
            continue
        least.append(float(probs[good[-1]]))
        num, num_wrong = float(nums[good[-1]]), float(wrongs[good[-1]])
        left &= ~(sayable[:, place] >= probs[good[-1]])
    return Thresholds(risk, tuple(least))
