"""Whether two runs are the same to the bit, and if not, what differs and by how much.

Shapes: n photos, v views, c classes.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from filecmp import cmp
from typing import Any

import numpy as np

from chajong.experiments.changes import Changes, changes_between
from chajong.predictions import Predictions
from chajong.run import Run


@dataclass(frozen=True)
class Drift:
    """How far the out-of-fold predictions of one model lie apart in two runs.

    Attributes:
        num_photos: Photos that both predicted.
        num_unshared: Photos that only one of them predicted.
        equal: Whether every number is the same to the bit.
        most: The largest change of a probability, 0 to 1.
        mean: The mean change of the probability of the likeliest class, 0 to 1.
        num_top: Photos whose likeliest class is another one.
    """

    num_photos: int
    num_unshared: int
    equal: bool
    most: float
    mean: float
    num_top: int

    def line(self) -> str:
        """Give the drift as part of a line.

        Returns:
            Such as `the same to the bit, 20 photos`.
        """
        lonely = f"; {self.num_unshared:,} photo(s) in one of them only" * bool(self.num_unshared)
        if self.equal:
            return f"the same to the bit, {self.num_photos:,} photo(s){lonely}"
        return (
            f"probabilities differ by up to {self.most:.2g} (the likeliest by {self.mean:.2g} on "
            f"average), another likeliest class on {self.num_top:,} of {self.num_photos:,} photos"
            f"{lonely}"
        )


@dataclass(frozen=True)
class Sameness:
    """How alike two runs are.

    Attributes:
        a: One run's folder.
        b: The other's.
        changes: What on record is not the same.
        models: The models that both trained.
        weights: Files of weights that are not the same to the bit, with their models' folders.
        num_weights: Files of weights that were looked at.
        drifts: For each model that held out photos, its name and how its predictions differ.
        scores: The log losses of both, where both have one.
    """

    a: str
    b: str
    changes: Changes
    models: tuple[str, ...]
    weights: tuple[str, ...]
    num_weights: int
    drifts: tuple[tuple[str, Drift], ...]
    scores: tuple[float, float] | None

    @property
    def bit_equal(self) -> bool:
        """Whether all weights and predictions are the same to the bit."""
        same = all(drift.equal and not drift.num_unshared for _, drift in self.drifts)
        return bool(self.num_weights) and not self.weights and same

    def as_dict(self) -> dict[str, Any]:
        """Give the result as JSON can hold it.

        Returns:
            Every attribute by its name, and whether the runs are bit-equal.
        """
        return {**asdict(self), "bit_equal": self.bit_equal}

    def lines(self) -> list[str]:
        """Say how alike the runs are, for a terminal.

        Returns:
            The verdict first, then what differs.
        """
        return list(self._lines())

    def _lines(self) -> Iterator[str]:
        num = len(self.models)
        if self.bit_equal:
            yield f"bit-equal: {self.num_weights} file(s) of weights of {num} model(s)"
        else:
            yield f"not bit-equal: {self.a} and {self.b}"
            for name in self.weights:
                yield f"{'weights file':<12} {name} differs"
            if not self.weights:
                yield f"{'weights file':<12} the same, {self.num_weights} file(s)"
        for name, drift in self.drifts:
            yield f"{'predictions':<12} fold {name}: {drift.line()}"
        if self.scores is not None:
            change = self.scores[1] - self.scores[0]
            yield f"{'log loss':<12} {self.scores[0]:.6f} -> {self.scores[1]:.6f}   {change:+.2g}"
        for part, changed in vars(self.changes).items():
            yield from (f"{part:<12} {change}" for change in changed)
        if self.changes.none:
            yield f"{'on record':<12} the same recipe, data, weights, teacher, code and environment"
            if not self.bit_equal:
                yield (
                    f"{'':<12} so this machine does not compute the same twice, as GPUs may not; "
                    "on a CPU that would be a mistake of this program"
                )


def sameness(a: Run, b: Run) -> Sameness:
    """Compare two runs bit by bit.

    Args:
        a: One run.
        b: The other.

    Returns:
        How alike they are, in the models that both trained.

    Raises:
        ChajongError: If what is needed of a run is damaged.
    """  # noqa: DOC502 raised by what it calls
    models = tuple(name for name in a.done if name in b.done)
    unlike, num_weights = [], 0
    for name in models:
        folders = a.model_folder(name), b.model_folder(name)
        for file in sorted({p.name for each in folders for p in each.glob("*.safetensors")}):
            num_weights += 1
            here, there = (folder / file for folder in folders)
            if not (here.exists() and there.exists() and cmp(here, there, shallow=False)):
                unlike.append(f"{folders[0].name}/{file}")
    scores = a.score(), b.score()
    losses = [score.log_loss.value for score in scores if score is not None]
    return Sameness(
        a=str(a.folder),
        b=str(b.folder),
        changes=changes_between(a, b),
        models=models,
        weights=tuple(unlike),
        num_weights=num_weights,
        drifts=tuple(_drifts(a, b, models)),
        scores=(losses[0], losses[1]) if len(losses) == 2 else None,
    )


def _drifts(a: Run, b: Run, models: tuple[str, ...]) -> Iterator[tuple[str, Drift]]:
    for name in models:
        paths = [run.held_out_path(name) for run in (a, b)]
        if all(path.exists() for path in paths):
            yield name, drift(*map(Predictions.load, paths))


def drift(a: Predictions, b: Predictions) -> Drift:
    """Measure how far two tables lie apart.

    Args:
        a: One table.
        b: The other, with the same classes and views.

    Returns:
        The drift on the photos that both have.
    """
    places = {id_: place for place, id_ in enumerate(b.ids)}
    rows = [(row, places[id_]) for row, id_ in enumerate(a.ids) if id_ in places]
    if not rows or a.classes != b.classes or a.views != b.views:
        return Drift(0, len({*a.ids, *b.ids}), False, 1.0, 1.0, 0)
    here, there = (list(each) for each in zip(*rows, strict=True))
    said_a, said_b = a.log_probs[here], b.log_probs[there]
    probs_a, probs_b = a.probabilities()[here], b.probabilities()[there]
    top = probs_a.argmax(axis=1)
    every = np.arange(len(top))
    return Drift(
        num_photos=len(rows),
        num_unshared=len({*a.ids} ^ {*b.ids}),
        equal=said_a.tobytes() == said_b.tobytes(),
        most=float(np.abs(probs_a - probs_b).max()),
        mean=float(np.abs(probs_a[every, top] - probs_b[every, top]).mean()),
        num_top=int((top != probs_b.argmax(axis=1)).sum()),
    )
