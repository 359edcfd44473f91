"""What lies between two runs: what was changed, and what that did to the score."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chajong.comparison import Comparison, compare
from chajong.errors import PredictionsError, RunError
from chajong.experiments.changes import Changes, changes_between
from chajong.pairs import Pairs, pair, side_of
from chajong.run import Run

_SHOWN = 3


@dataclass(frozen=True)
class PhotoChange:
    """What became of a photo.

    Attributes:
        id: The photo.
        label: Its class.
        log_loss_a: What the first run lost on it, in nats.
        log_loss_b: What the second did.
    """

    id: str
    label: str
    log_loss_a: float
    log_loss_b: float

    def line(self) -> str:
        """Give the change as part of a line.

        Returns:
            By how much, which photo, from what to what.
        """
        change = self.log_loss_b - self.log_loss_a
        return (
            f"{change:+.2f}   {self.id} ({self.label}): {self.log_loss_a:.2f} -> "
            f"{self.log_loss_b:.2f}"
        )


@dataclass(frozen=True)
class RunDiff:
    """What lies between two runs.

    Attributes:
        changes: What on record is not the same.
        score: What became of the out-of-fold score on shared photos; none without such.
        not_scored: Why there is no score.
        gained: The photos on which the second lost least against the first, that first.
        lost: Those on which it lost most, that first.
        num_better: Photos on which the second lost less.
        num_worse: Those on which it lost more.
        num_half: As many photos, those that changed most, make up half of all that changed.
    """

    changes: Changes
    score: Comparison | None
    not_scored: str = ""
    gained: tuple[PhotoChange, ...] = ()
    lost: tuple[PhotoChange, ...] = ()
    num_better: int = 0
    num_worse: int = 0
    num_half: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Give the differences as JSON can hold them.

        Returns:
            Every attribute by its name.
        """
        return asdict(self)

    def lines(self) -> list[str]:
        """Say what lies between the runs, for a terminal.

        Returns:
            What on record is not the same, then what became of the score, classes and photos.
        """
        if self.score is None:
            return [*self.changes.lines(), f"{'score':<12} {self.not_scored}"]
        return [*self.changes.lines(), *self.score.lines(), *self._photos()]

    def _photos(self) -> Iterator[str]:
        half = f"; {self.num_half:,} make up half of all change" if self.num_half else ""
        yield f"{'each photo':<12} {self.num_better:,} better, {self.num_worse:,} worse{half}"
        yield from (f"{'most gained':<12} {photo.line()}" for photo in self.gained)
        yield from (f"{'most lost':<12} {photo.line()}" for photo in self.lost)


def diff(a: Run, b: Run) -> RunDiff:
    """Find out what lies between two runs.

    Args:
        a: One run.
        b: The other.

    Returns:
        What was changed from the first to the second, and what that did to the score.

    Raises:
        ChajongError: If what is needed of a run is damaged.
    """  # noqa: DOC502 raised by what it calls
    changes = changes_between(a, b)
    try:
        pairs = pair(side_of((a,)), side_of((b,)))
    except (RunError, PredictionsError) as error:
        return RunDiff(changes, None, f"not compared. {error}")
    return RunDiff(changes, compare(pairs, (str(a.folder), str(b.folder))), **_photos(pairs))


def _photos(pairs: Pairs) -> dict[str, Any]:
    order = np.argsort(pairs.gaps, kind="stable").tolist()
    sizes = np.sort(np.abs(pairs.gaps))[::-1]
    half = int(np.searchsorted(sizes.cumsum(), sizes.sum() / 2)) + 1 if sizes.any() else 0

    def change(place: int) -> PhotoChange:
        lost_a, lost_b = pairs.losses_a[0, place], pairs.losses_b[0, place]
        return PhotoChange(pairs.ids[place], pairs.classes[place], float(lost_a), float(lost_b))

    return {
        "gained": tuple(change(k) for k in order[:_SHOWN] if pairs.gaps[k] < 0),
        "lost": tuple(change(k) for k in order[: -_SHOWN - 1 : -1] if pairs.gaps[k] > 0),
        "num_better": int((pairs.gaps < 0).sum()),
        "num_worse": int((pairs.gaps > 0).sum()),
        "num_half": half,
    }
