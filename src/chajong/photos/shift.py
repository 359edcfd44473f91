"""The shift: how test photos differ from the train photos, how much, and what helps.

Shapes: n photos of a manifest, d features of a network.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chajong.errors import DataError
from chajong.files import read_json, write_json
from chajong.manifest import Manifest
from chajong.metrics import Estimate
from chajong.photos.measures import MEASURES, Measures
from chajong.photos.two_sample import auc, likeness_to_test, principal
from chajong.recipe import Recipe
from chajong.recipe_augment import ColorJitter, Light

Verdict = Literal["none", "small", "medium", "large"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The quantiles that a spread tells."""

MIN_PHOTOS = 10
"""Test photos, and train photos, below which nothing can be said; a group of them counts once."""

_FROM: tuple[tuple[float, Verdict], ...] = ((0.474, "large"), (0.33, "medium"), (0.147, "small"))
_MARGIN, _STEP = 1.15, 0.05  # single photos change more than their quantiles; of a factor
_NUM_TOLD = 24
_FILE = "shift.json"


@dataclass(frozen=True)
class Spread:
    """How a measure is distributed over photos.

    Attributes:
        mean: Its mean.
        quantiles: Its quantiles by `QUANTILES`.
    """

    mean: float
    quantiles: tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Difference:
    """How one measure differs between test and train photos.

    Attributes:
        measure: A column of `Measures`.
        train: Its distribution over train photos.
        test: The same over test photos.
        effect: Cliff's delta (1993), -1 to 1: the probability that a test photo has more than a
            train photo, less that of the contrary; with a 95 % interval (`two_sample.auc`).
    """

    measure: str
    train: Spread
    test: Spread
    effect: Estimate

    @property
    def verdict(self) -> Verdict:
        """How much that is, by the thresholds of Romano et al. (2006); none if by chance."""
        return _verdict(self.effect)


@dataclass(frozen=True)
class Telltale:
    """Whether a network's features give away which photos are test photos.

    Attributes:
        auc: How well classifiers tell photos that they have not seen apart, 0.5 (not at all) to
            1; with a 95 % interval.
        test_like: Ids of the test photos that look the most like test photos, the first most.
        train_like: Ids of the train photos that look the least like test photos.
    """

    auc: Estimate
    test_like: tuple[str, ...]
    train_like: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """How much that is, by the same thresholds; an area of 0.5 or less is a delta of 0."""
        return _verdict(_delta(self.auc)) if self.auc.low > 0.5 else "none"


@dataclass(frozen=True)
class Shift:
    """How test photos differ from train photos.

    Attributes:
        num_train: Readable train photos.
        num_test: Readable test photos.
        differences: A row a measure, in the order of `MEASURES`.
        telltale: What a network's features say; none if no network has looked.
    """

    num_train: int
    num_test: int
    differences: tuple[Difference, ...]
    telltale: Telltale | None = None

    def __post_init__(self) -> None:
        """Refuse a shift without its measures.

        Raises:
            DataError: If a measure is missing, or there are too few photos.
        """
        found = tuple(difference.measure for difference in self.differences)
        if found != MEASURES or min(self.num_train, self.num_test) < MIN_PHOTOS:
            raise DataError(
                f"A shift needs the measures {', '.join(MEASURES)} of {MIN_PHOTOS} train and"
                f" {MIN_PHOTOS} test photos or more. Got {', '.join(found) or 'none'} of"
                f" {self.num_train} and {self.num_test}. Make it again with: chajong audit DATA"
            )

    def of(self, measure: str) -> Difference:
        """Give the row of a measure.

        Args:
            measure: One of `MEASURES`.

        Returns:
            Its row.
        """
        return self.differences[MEASURES.index(measure)]

    def proposal(self) -> Light | None:
        """Propose a change to training photos that covers the difference in brightness.

        The n-th darkest train photo, made as bright as the n-th darkest test photo, needs the
        quotient of both; the range covers these quotients, and 1, with some margin.

        Returns:
            The change, or none if test photos are not darker or brighter.
        """
        brightness = self.of("brightness")
        if brightness.verdict == "none":
            return None
        pairs = zip(brightness.train.quantiles, brightness.test.quantiles, strict=True)
        factors = [test / train for train, test in pairs if min(train, test) > 0]
        low, high = min([1.0, *factors]), max([1.0, *factors])
        low = low if low == 1 else max(_STEP, _STEP * math.floor(low / _MARGIN / _STEP))
        high = high if high == 1 else _STEP * math.ceil(high * _MARGIN / _STEP)
        return Light(factor=(round(low, 2), round(high, 2)))

    def lines(self) -> Iterator[str]:
        """Tell the shift.

        Yields:
            A table with a row a measure, and what a network's features say.
        """
        yield f"{self.num_test:,} test photos beside {self.num_train:,} train photos:"
        yield f"  {'':<12}{'train':>9}{'test':>9}  Cliff's delta"
        for row in self.differences:
            yield (
                f"  {row.measure:<12}{_short(row.train.mean):>9}{_short(row.test.mean):>9}"
                f"  {_interval(row.effect, '+.2f'):<25}{_named(row.verdict)}"
            )
        if self.telltale is not None:
            yield (
                f"  by a network's features, AUC {_interval(self.telltale.auc, '.3f')}:"
                f" {_named(self.telltale.verdict)}"
            )

    def save(self, folder: Path) -> None:
        """Write `shift.json`.

        Args:
            folder: Where to; made where it is missing.
        """
        write_json(folder / _FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Shift":
        """Read what `save` wrote.

        Args:
            folder: Where it was saved.

        Returns:
            The shift.

        Raises:
            DataError: If there is none, or it is damaged.
        """
        path = folder / _FILE
        if not path.is_file():
            raise DataError(
                f"There is no shift in {folder}; data without test photos have none. Look for one"
                f" with: chajong audit DATA --out {folder}"
            )
        return read_json(
            path, cls, DataError, f"Make it again with: chajong audit DATA --out {folder}"
        )


def find_shift(
    manifest: Manifest, measures: Measures, embeddings: NDArray[np.floating[Any]] | None = None
) -> Shift | None:
    """Compare the test photos of a data set with its train photos.

    Args:
        manifest: The photos; photos of one group do not count as independent.
        measures: n rows, as those of the manifest.
        embeddings: (n, d) features of a network, NaN where a photo could not be read.

    Returns:
        The shift; none with fewer than `MIN_PHOTOS` readable photos of either part, those of one
        group counted once.
    """
    readable = manifest.table["readable"].to_numpy()
    is_test = (manifest.table["part"] == "test").to_numpy()[readable]
    num_test, num_train = int(is_test.sum()), int((~is_test).sum())
    groups = manifest.table["group"].to_numpy()[readable].astype(np.intp)
    if not _are_enough(groups, is_test):
        return None
    differences = []
    for measure in MEASURES:
        values = measures.table[measure].to_numpy()[readable].astype(np.float64)
        effect = _delta(auc(values, is_test, groups))
        spreads = _spread(values[~is_test]), _spread(values[is_test])
        differences.append(Difference(measure, *spreads, effect))
    telltale = None
    if embeddings is not None:
        ids = manifest.table["id"].to_numpy()[readable]
        telltale = _telltale(embeddings[readable], is_test, groups, ids)
    return Shift(num_train, num_test, tuple(differences), telltale)


def as_set(light: Light, recipe: Recipe) -> str:
    """Write a proposal as a change of a recipe.

    Args:
        light: The change to photos.
        recipe: The recipe to change.

    Returns:
        What `--set` takes: the recipe's changes to photos, and this one in the place of what
        changed the light before; both together would darken too much.
    """
    kept = [
        change.model_copy(update={"brightness": 0.0}) if isinstance(change, ColorJitter) else change
        for change in recipe.augment
        if not isinstance(change, Light)
    ]
    told = []
    for change in (*kept, light):
        values = change.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
        inner = ", ".join(
            f"{key}: {value}" for key, value in {"kind": change.kind, **values}.items()
        )
        told.append(f"{{{inner}}}")
    return f"augment=[{', '.join(told)}]"


def _telltale(
    embeddings: NDArray[np.floating[Any]],
    is_test: NDArray[np.bool_],
    groups: NDArray[np.intp],
    ids: NDArray[np.str_],
) -> Telltale | None:
    # What changed since the scan may lack features.
    seen = np.isfinite(embeddings).all(axis=1)
    is_test, ids = is_test[seen], ids[seen]
    if not _are_enough(groups[seen], is_test):
        return None
    likeness = likeness_to_test(principal(embeddings[seen]), is_test, groups[seen])
    order = np.argsort(likeness, kind="stable")
    train_like, test_like = ids[order][~is_test[order]], ids[order[::-1]][is_test[order[::-1]]]
    return Telltale(
        auc(likeness, is_test, groups[seen], cross_validated=True),
        tuple(map(str, test_like[:_NUM_TOLD])),
        tuple(map(str, train_like[:_NUM_TOLD])),
    )


def _are_enough(groups: NDArray[np.intp], is_test: NDArray[np.bool_]) -> bool:
    return min(len(np.unique(groups[mine])) for mine in (is_test, ~is_test)) >= MIN_PHOTOS


def _spread(values: NDArray[np.float64]) -> Spread:
    low, lower, middle, upper, high = np.quantile(values, QUANTILES).tolist()
    return Spread(float(values.mean()), (low, lower, middle, upper, high))


def _delta(area: Estimate) -> Estimate:
    return Estimate(2 * area.value - 1, 2 * area.low - 1, 2 * area.high - 1)


def _verdict(delta: Estimate) -> Verdict:
    if delta.low <= 0 <= delta.high:
        return "none"
    return next((name for least, name in _FROM if abs(delta.value) >= least), "none")


def _named(verdict: Verdict) -> str:
    return "no difference" if verdict == "none" else f"{verdict} difference"


def _interval(estimate: Estimate, form: str) -> str:
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
