"""Whether one side predicts better than another, and whether that could be chance.

Two kinds of chance are told apart: that of the photos, which the grouped bootstrap measures, and
that of the training: the same recipe trained again with another seed scores otherwise. A verdict
other than noise needs a difference that both together do not explain.

The variance of the difference is V + (1 / s_a + 1 / s_b) max(0, r**2 - e**2). V is that of the
bootstrap over groups, r the spread of a score over trainings, and e the part of r that is chance
on each photo for itself, which V holds already (photos and trainings are crossed random effects;
Searle et al. 1992, "Variance Components"). V of g groups has g - 1 degrees of freedom, a measured r
few; those of the sum follow Satterthwaite (1946), and the interval is that of Student's t. Where r
is assumed, e is not known and taken as 0, so that noise is called noise rather too often than not
often enough.

Shapes: n photos, g groups of near-duplicates, s trainings of a side.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chajong.errors import PredictionsError
from chajong.files import read_json, write_json
from chajong.intervals import NORMAL, student, widening
from chajong.metrics import Estimate
from chajong.pairs import Floats, Pairs

Verdict = Literal["better", "worse", "noise"]

RETRAINING = 0.006
"""By how much retraining moves a log loss, as a standard deviation, where it is not measured."""

_NUM_RESAMPLES = 2000
_AT_ONCE = 500_000  # groups drawn, so that memory stays small
_SHOWN = 3


@dataclass(frozen=True)
class ClassChange:
    """What became of a class.

    Attributes:
        name: The class; of equal ones the first.
        num_photos: How many were compared.
        log_loss_a: The first side's on them, in nats.
        log_loss_b: The second's.
        share: What the class adds to the difference of the log losses.
    """

    name: str
    num_photos: int
    log_loss_a: float
    log_loss_b: float
    share: float


@dataclass(frozen=True)
class Comparison:
    """Two sides on the same held-out photos.

    Attributes:
        a: Name of the first side.
        b: Name of the second, of which the verdict speaks.
        num_trainings: Trainings of the first and of the second.
        num_photos: Photos compared.
        num_groups: The same with near-duplicates counted as one.
        left_out: How many photos are not compared, by the reason.
        log_loss_a: In nats.
        log_loss_b: In nats.
        difference: The second's log loss less the first's, below 0 where the second is better;
            its 95 % interval holds the chance in the photos (bootstrap over groups).
        with_training: The same, its 95 % interval holds the chance in the training too.
        retraining: By how much retraining moves a log loss: a standard deviation.
        degrees: Degrees of freedom by which it is measured; 0 where it is assumed.
        top1_a: Share of photos whose true class is the likeliest.
        top1_b: The same of the second.
        num_won: Groups on which the second is right more often than the first, by as many
            trainings of each side.
        num_lost: Groups on which it is right less often.
        p_top1: Two-sided p of McNemar's exact test of these two numbers (McNemar 1947).
        classes: All classes, the one that the second gains most in first.
        differs: What is known to be different, a line each.
    """

    a: str
    b: str
    num_trainings: tuple[int, int]
    num_photos: int
    num_groups: int
    left_out: tuple[tuple[str, int], ...]
    log_loss_a: float
    log_loss_b: float
    difference: Estimate
    with_training: Estimate
    retraining: float
    degrees: int
    top1_a: float
    top1_b: float
    num_won: int
    num_lost: int
    p_top1: float
    classes: tuple[ClassChange, ...]
    differs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse intervals that do not hold their value.

        Raises:
            PredictionsError: If a figure is not finite, or out of order.
        """
        for figure in (self.difference, self.with_training):
            if not -math.inf < figure.low <= figure.value <= figure.high < math.inf:
                raise PredictionsError(
                    "A difference must lie in its interval, all finite; got "
                    f"{figure.low}, {figure.value} and {figure.high}. Compare again."
                )

    @property
    def verdict(self) -> Verdict:
        """Whether the second side is better, worse, or not to be told from the first."""
        if self.with_training.high < 0:
            return "better"
        return "worse" if self.with_training.low > 0 else "noise"

    def as_dict(self) -> dict[str, Any]:
        """Give the comparison as JSON can hold it.

        Returns:
            Every attribute by its name, and the verdict.
        """
        return {**asdict(self), "verdict": self.verdict}

    def lines(self) -> list[str]:
        """Give the comparison as a table for a terminal.

        Returns:
            What differs, a line a figure, the classes, then the verdict.
        """
        return [*self._about(), *self._figures(), *_class_lines(self.classes), self._verdict()]

    def save(self, path: Path) -> None:
        """Write the comparison as JSON.

        Args:
            path: The file.
        """
        write_json(path, self.as_dict())

    @classmethod
    def load(cls, path: Path) -> "Comparison":
        """Read a comparison that `save` wrote.

        Args:
            path: The file.

        Returns:
            The comparison.

        Raises:
            PredictionsError: If it is missing or damaged.
        """  # noqa: DOC502 raised by `read_json`
        return read_json(path, cls, PredictionsError, "Make it again: chajong compare A B --out.")

    def _about(self) -> Iterator[str]:
        for place, name in enumerate((self.a, self.b)):
            count = self.num_trainings[place]
            more = f" and {count - 1} more of its recipe, other seeds" if count > 1 else ""
            yield f"{'AB'[place]}            {name}{more}"
        yield from self.differs
        distinct = self.num_groups
        groups = f", {distinct:,} but for near-duplicates" if distinct < self.num_photos else ""
        yield f"photos       {self.num_photos:,}{groups}"
        yield from (f"left out     {count:,} photo(s) {why}" for why, count in self.left_out)

    def _figures(self) -> Iterator[str]:
        loss, total = self.difference, self.with_training
        yield (
            f"log loss     {self.log_loss_a:.4f} -> {self.log_loss_b:.4f}   {loss.value:+.4f}"
            f"   95 % interval {loss.low:+.4f} to {loss.high:+.4f} (chance in the photos)"
        )
        how = "assumed; --noise, or more seeds with --also-a, --also-b"
        if self.degrees:
            how = f"measured on {sum(self.num_trainings)} trainings"
        yield (
            f"retraining   moves a log loss by about {self.retraining:.4f} ({how});"
            f" with it {total.low:+.4f} to {total.high:+.4f}"
        )
        yield (
            f"top-1        {self.top1_a:.4f} -> {self.top1_b:.4f}   "
            f"{self.top1_b - self.top1_a:+.4f}   {self.num_won:,} won, {self.num_lost:,} lost, "
            f"p = {self.p_top1:.2g} (McNemar, exact)"
        )

    def _verdict(self) -> str:
        if not np.any([self.difference.value, self.difference.low, self.difference.high]):
            return "verdict      noise: both say the same of every photo"
        said = {
            "better": f"better: {self.b} beats {self.a}",
            "worse": f"worse: {self.b} loses to {self.a}",
            "noise": "noise: chance in the photos and in the training explains the difference",
        }
        return f"verdict      {said[self.verdict]}"


def compare(
    pairs: Pairs,
    names: tuple[str, str] = ("A", "B"),
    *,
    noise: float | None = None,
    differs: Sequence[str] = (),
    seed: int = 0,
    num_resamples: int = _NUM_RESAMPLES,
) -> Comparison:
    """Compare two sides, as the head of this file says.

    Args:
        pairs: What both lost.
        names: Of the sides.
        noise: By how much retraining moves a log loss, a standard deviation; if none, as measured
            where a side has several trainings, else `RETRAINING`.
        differs: What is known to be different, for the reader.
        seed: Of the bootstrap.
        num_resamples: Of the bootstrap, at least 2.

    Returns:
        The comparison.

    Raises:
        PredictionsError: If the noise is negative or not finite, or all photos are of one group.
    """
    if noise is not None and not 0 <= noise < math.inf:
        raise PredictionsError(f"The noise must be a number of 0 or more; got {noise}.")
    num_groups = _num_groups(pairs)
    draws = _bootstrap(pairs.gaps, pairs.groups, seed, num_resamples)
    value = float(pairs.gaps.mean())
    ends = np.percentile(draws, [2.5, 97.5]) - draws.mean()
    low, high = value + ends * widening(num_groups)
    spread = _measured(pairs) if noise is None else _Spread(noise)
    degrees = num_groups - 1
    margin = _margin(float(draws.var(ddof=1)) * num_groups / degrees, degrees, spread, pairs)
    won, lost = _won_and_lost(pairs)
    return Comparison(
        a=names[0],
        b=names[1],
        num_trainings=(len(pairs.losses_a), len(pairs.losses_b)),
        num_photos=len(pairs.ids),
        num_groups=num_groups,
        left_out=tuple(pairs.left_out.items()),
        log_loss_a=float(pairs.losses_a.mean()),
        log_loss_b=float(pairs.losses_b.mean()),
        difference=Estimate(value, min(float(low), value), max(float(high), value)),
        with_training=Estimate(value, value - margin, value + margin),
        retraining=spread.total,
        degrees=spread.degrees,
        top1_a=float(pairs.right_a.mean()),
        top1_b=float(pairs.right_b.mean()),
        num_won=won,
        num_lost=lost,
        p_top1=mcnemar(won, lost),
        classes=class_changes(pairs),
        differs=tuple(differs),
    )


def mcnemar(num_won: int, num_lost: int) -> float:
    """Test whether two classifiers are right equally often (McNemar 1947), exactly.

    Args:
        num_won: Cases that only the second has right.
        num_lost: Cases that only the first has right.

    Returns:
        The two-sided p: twice the binomial chance of at most the smaller number among both, at
        one half each; at most 1.
    """
    num = num_won + num_lost
    tail = ways = 1
    for k in range(min(num_won, num_lost)):
        ways = ways * (num - k) // (k + 1)  # from `num` over k to `num` over k + 1
        tail += ways
    return min(1.0, 2 * tail / (1 << num))


def class_changes(pairs: Pairs) -> tuple[ClassChange, ...]:
    """Say what became of each class.

    Args:
        pairs: What both sides lost.

    Returns:
        The classes, the one that the second side gains most in first.
    """
    names, places = np.unique(np.array(pairs.classes), return_inverse=True)
    sizes = np.bincount(places)
    a, b = (np.bincount(places, losses.mean(axis=0)) for losses in (pairs.losses_a, pairs.losses_b))
    shares = np.bincount(places, pairs.gaps) / len(places)
    order = np.argsort(shares, kind="stable").tolist()
    return tuple(
        ClassChange(
            str(names[k]), int(sizes[k]), float(a[k] / sizes[k]), float(b[k] / sizes[k]),
            float(shares[k]),
        )
        for k in order
    )  # fmt: skip


def _num_groups(pairs: Pairs) -> int:
    num = len(np.unique(pairs.groups))
    if num < 2:
        raise PredictionsError(
            f"All {len(pairs.ids):,} photo(s) that both sides held out belong together, which is "
            "one case: no two sides can be told apart by it. Compare on more photos."
        )
    return num


def _bootstrap(gaps: Floats, groups: NDArray[np.intp], seed: int, num_resamples: int) -> Floats:
    # (r,) means over groups drawn with replacement (Efron 1979), photos of a group together.
    sums, sizes = np.bincount(groups, gaps), np.bincount(groups)
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    rng, num = np.random.default_rng(seed), len(sizes)
    draws = []
    for start in range(0, num_resamples, rows := max(1, _AT_ONCE // num)):
        drawn = rng.integers(num, size=(min(rows, num_resamples - start), num), dtype=np.int32)
        draws.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(draws)


class _Spread(NamedTuple):
    # Of a score over trainings: a standard deviation, the part that is chance on each photo for
    # itself, and by how many degrees of freedom it is measured.
    total: float
    of_photos: float = 0.0
    degrees: int = 0


def _measured(pairs: Pairs) -> _Spread:
    # Within each side, both sides pooled.
    sides = [losses for losses in (pairs.losses_a, pairs.losses_b) if len(losses) > 1]
    degrees = sum(len(losses) - 1 for losses in sides)
    if not degrees:
        return _Spread(RETRAINING)
    squares = single = 0.0
    for losses in sides:
        apart = losses - losses.mean(axis=0)
        shifts = apart.mean(axis=1, keepdims=True)
        squares += float((shifts**2).sum())
        sums = [np.bincount(pairs.groups, each) for each in apart - shifts]
        single += float(np.square(sums).sum()) / losses.shape[1] ** 2
    return _Spread(math.sqrt(squares / degrees), math.sqrt(single / degrees), degrees)


def _margin(variance: float, degrees: int, spread: _Spread, pairs: Pairs) -> float:
    # Degrees of freedom of a sum of variances (Satterthwaite 1946).
    share = 1 / len(pairs.losses_a) + 1 / len(pairs.losses_b)
    trained = share * spread.total**2
    total = variance + max(0.0, trained - share * spread.of_photos**2)
    doubt = variance**2 / degrees + (trained**2 / spread.degrees if spread.degrees else 0.0)
    quantile = student(max(1.0, total**2 / doubt)) if doubt else NORMAL
    return quantile * math.sqrt(total)


def _won_and_lost(pairs: Pairs) -> tuple[int, int]:
    # By groups, because near-duplicates are no independent evidence; and by as many trainings of
    # each side, because one training is wholly right more often than several are.
    num = min(len(pairs.right_a), len(pairs.right_b))
    gains = pairs.right_b[:num].mean(axis=0) - pairs.right_a[:num].mean(axis=0)
    totals = np.bincount(pairs.groups, gains)
    return int((totals > 1e-9).sum()), int((totals < -1e-9).sum())


def _class_lines(classes: Sequence[ClassChange]) -> Iterator[str]:
    won = [each for each in classes if each.share < 0]
    lost = [each for each in reversed(classes) if each.share > 0]
    same = len(classes) - len(won) - len(lost)
    unchanged = f", {same:,} the same" if same else ""
    yield f"classes      {len(won):,} won, {len(lost):,} lost{unchanged}"
    for what, changed in (("gained", won), ("lost", lost)):
        for each in changed[:_SHOWN]:
            yield (
                f"{'most ' + what:<12} {each.share:+.4f}   {each.name}: {each.log_loss_a:.3f} -> "
                f"{each.log_loss_b:.3f} on {each.num_photos:,} photo(s)"
            )
