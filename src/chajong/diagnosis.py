"""What held-out predictions tell beyond their score: where they are wrong, and how sure of it.

Equal classes count as one everywhere.

Shapes: n photos, d distinct classes (equal ones merged), b bins.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chajong.intervals import wilson
from chajong.labels import Labels
from chajong.metrics import Outcomes, calibration_bins, outcomes
from chajong.predictions import Predictions

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Shares of the photos that are answered, the surest first."""


@dataclass(frozen=True)
class Bin:
    """Photos of which the models are about equally sure.

    Attributes:
        num_photos: How many.
        confidence: Mean probability of the likeliest class.
        right: Share for which it is the true one.
        low: Lower end of its 95 % interval (Wilson 1927), photos of a group taken for one.
        high: Upper end.
    """

    num_photos: int
    confidence: float
    right: float
    low: float
    high: float


@dataclass(frozen=True)
class Coverage:
    """The surest of the answers.

    Attributes:
        share: Of the photos, above 0 to 1.
        least_prob: The least probability of a likeliest class among them.
        risk: Share of them that are wrong.
    """

    share: float
    least_prob: float
    risk: float


@dataclass(frozen=True)
class ClassResult:
    """How one class fares.

    Attributes:
        name: The class; of equal ones the first.
        num_photos: How many there are.
        log_loss: Mean of theirs, in nats.
        top1: Share of them that are answered right.
        taken_for: What they are most often taken for when they are not; empty if never.
        num_taken: How many.
    """

    name: str
    num_photos: int
    log_loss: float
    top1: float
    taken_for: str
    num_taken: int


@dataclass(frozen=True)
class Mistaken:
    """Two classes that are taken for each other.

    Attributes:
        name: The first, by its name.
        other: The second.
        num: Photos of the first taken for the second.
        num_back: Photos of the second taken for the first.
        num_photos: Photos of both.
    """

    name: str
    other: str
    num: int
    num_back: int
    num_photos: int


@dataclass(frozen=True)
class Answer:
    """What was answered to one photo.

    Attributes:
        id: The photo.
        truth: Its true class.
        top: The likeliest class.
        confidence: Its probability.
        loss: In nats.
    """

    id: str
    truth: str
    top: str
    confidence: float
    loss: float


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Held-out predictions, ready to be asked.

    Attributes:
        ids: n photos that have a prediction.
        names: d names of classes; of equal ones the first.
        found: What became of each photo.
        groups: (n,) of each photo; those of near-duplicates are one.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    found: Outcomes
    groups: NDArray[np.intp]

    @classmethod
    def of(
        cls, predictions: Predictions, labels: Labels, groups: Mapping[str, int] | None = None
    ) -> "Diagnosis":
        """Look up what became of each photo.

        Args:
            predictions: With their true classes.
            labels: The classes.
            groups: Group of each photo by its id; if none, each photo is one of its own.

        Returns:
            The diagnosis.

        Raises:
            PredictionsError: If no photo has a prediction, true classes are not known, or the
                classes are others.
        """  # noqa: DOC502 raised by what it calls
        predictions.check_classes(labels)
        known, rows = predictions.truth(), np.flatnonzero(predictions.ok)
        ids = tuple(predictions.ids[row] for row in rows)
        truth = labels.indices([known[id_] for id_ in ids])
        found = outcomes(predictions.probabilities()[rows], truth, labels.canonical)
        names = tuple(labels.names[place] for place in np.unique(labels.canonical))
        of_each = range(len(ids)) if groups is None else [groups[id_] for id_ in ids]
        return cls(ids, names, found, np.array(of_each, np.intp))

    @property
    def right(self) -> NDArray[np.bool_]:
        """(n,) whether the likeliest class is the true one."""
        right: NDArray[np.bool_] = self.found.truth == self.found.top
        return right

    def reliability(self) -> tuple[Bin, ...]:
        """Compare how sure answers are with how often they are right.

        Returns:
            The bins of `metrics.calibration_error` that hold photos, the least sure first.
        """
        bins = calibration_bins(self.found.confidence)
        made = []
        for place in np.unique(bins):
            mine = bins == place
            right, sure = self.right[mine], self.found.confidence[mine]
            share = float(right.mean())
            low, high = map(float, wilson(share, len(np.unique(self.groups[mine]))))
            made.append(Bin(len(right), float(sure.mean()), share, low, high))
        return tuple(made)

    def answered(self) -> tuple[Coverage, ...]:
        """Tell how often the surest answers are wrong.

        Returns:
            A row for each of `SHARES`.
        """
        order = np.argsort(-self.found.confidence, kind="stable")
        wrong, confidence = ~self.right[order], self.found.confidence[order]
        counts = [max(1, round(share * len(order))) for share in SHARES]
        return tuple(
            Coverage(share, float(confidence[count - 1]), float(wrong[:count].mean()))
            for share, count in zip(SHARES, counts, strict=True)
        )

    def classes(self) -> tuple[ClassResult, ...]:
        """Tell how each class fares.

        Returns:
            The classes that have photos, the one with the highest log loss first.
        """
        truth, top = self.found.truth, self.found.top
        made = []
        for place in np.unique(truth):
            mine = truth == place
            others = Counter(top[mine & ~self.right].tolist()).most_common(1)
            other, num = others[0] if others else (0, 0)
            made.append(
                ClassResult(
                    name=self.names[place],
                    num_photos=int(mine.sum()),
                    log_loss=float(self.found.losses[mine].mean()),
                    top1=float(self.right[mine].mean()),
                    taken_for=self.names[other] if num else "",
                    num_taken=num,
                )
            )
        return tuple(sorted(made, key=lambda one: (-one.log_loss, one.name)))

    def mistaken(self) -> tuple[Mistaken, ...]:
        """Tell which classes are taken for each other.

        Returns:
            Pairs, the one with the most mistakes first.
        """
        wrong = np.flatnonzero(~self.right)
        counts = Counter(
            zip(self.found.truth[wrong].tolist(), self.found.top[wrong].tolist(), strict=True)
        )
        sizes = Counter(self.found.truth.tolist())
        pairs = [
            Mistaken(
                self.names[one],
                self.names[other],
                counts[one, other],
                counts[other, one],
                sizes[one] + sizes[other],
            )
            for one, other in sorted({(min(pair), max(pair)) for pair in counts})
        ]
        return tuple(sorted(pairs, key=lambda pair: -(pair.num + pair.num_back)))

    def answers(self, rows: NDArray[np.intp]) -> tuple[Answer, ...]:
        """Give answers with what is true.

        Args:
            rows: Which of the n photos.

        Returns:
            One for each row.
        """
        found = self.found
        return tuple(
            Answer(
                self.ids[row],
                self.names[found.truth[row]],
                self.names[found.top[row]],
                float(found.confidence[row]),
                float(found.losses[row]),
            )
            for row in rows
        )

    def surest_mistakes(self, num: int) -> tuple[Answer, ...]:
        """List the wrong answers of which the models are the surest.

        Args:
            num: At most how many.

        Returns:
            The surest first.
        """
        wrong = np.flatnonzero(~self.right)
        order = np.argsort(-self.found.confidence[wrong], kind="stable")
        return self.answers(wrong[order[:num]])

    def taken(self, truth: str, top: str, num: int) -> tuple[Answer, ...]:
        """List photos of one class that are answered with some class.

        Args:
            truth: The true class.
            top: The answer; may be the same.
            num: At most how many.

        Returns:
            The surest first.
        """
        one, other = self.names.index(truth), self.names.index(top)
        rows = np.flatnonzero((self.found.truth == one) & (self.found.top == other))
        order = np.argsort(-self.found.confidence[rows], kind="stable")
        return self.answers(rows[order[:num]])
