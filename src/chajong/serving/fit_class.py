"""What makes a photo one of a new class, learned from the gallery of the learned ones.

Each learned class in turn plays the new one: its held-out photos are to be found by as many of its
others, and held-out photos of other classes are not to be lost to it. What it would cost these is
then also measured for the new photos themselves.

Shapes: h held-out photos, m photos of the new class, a classes that may be new, l learned classes,
d features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chajong.gallery import Gallery
from chajong.pooling import Floats
from chajong.serving.newcomers import Space, logit

_MOST_COST = 0.005  # nats a photo of a learned class may lose on average; half of what is promised
_NUM_STEPS = 30
_RIDGE = 1e-3


def fit(
    gallery: Gallery, space: Space, names: tuple[str, ...], embeddings: Floats
) -> tuple[tuple[float, ...], float, float]:
    """Learn what makes a photo one of a new class.

    Args:
        gallery: Photos of the learned classes.
        space: Of this gallery.
        names: These classes.
        embeddings: (m, d) of the new class.

    Returns:
        The weights of the three figures and the shift; what the new class costs the learned ones
        in nats; and the share of photos found where learned classes play the new one.
    """
    pretended = _pretend(gallery, names, space, len(embeddings))
    weights = _regress(pretended)
    seen = space.put(gallery.embeddings[gallery.held_out])
    own = Table(
        (seen @ space.middle(embeddings))[:, None],
        (seen @ space.learned.T).max(axis=1, keepdims=True),
        gallery.log_probs.max(axis=1, keepdims=True),
        np.zeros((len(seen), 1), np.bool_),
    )
    weights = _made_cheap(weights, (pretended, own))
    made = tuple(float(weight) for weight in weights.astype(np.float32))
    return made, own.cost(weights), pretended.recall(weights)


@dataclass(frozen=True, eq=False)
class Table:
    """Held-out photos against classes that may be new.

    Attributes:
        like_new: (h, a) cosine with the mean of the new class.
        like_old: (h, a) the greatest cosine with the mean of another class.
        sure: (h, a) the greatest log-probability of another class.
        is_new: (h, a) whether the photo is of the new class.
    """

    like_new: Floats
    like_old: Floats
    sure: Floats
    is_new: NDArray[np.bool_]

    def logits(self, weights: NDArray[np.float64]) -> Floats:
        """Tell how likely the photos are of the new classes.

        Args:
            weights: (4,).

        Returns:
            (h, a) logarithms of odds.
        """
        rows = np.tile(weights.astype(np.float32), (self.like_new.shape[1], 1))
        return logit(self.like_new, self.like_old, self.sure, rows)

    def cost(self, weights: NDArray[np.float64]) -> float:
        """Tell what a new class costs the photos of others.

        Args:
            weights: (4,).

        Returns:
            Nats, the mean over these photos.
        """
        return float(np.logaddexp(0, self.logits(weights)[~self.is_new]).mean())

    def recall(self, weights: NDArray[np.float64]) -> float:
        """Tell how many photos of new classes are found.

        Args:
            weights: (4,).

        Returns:
            The share whose likeliest class is the new one; NaN if there are no such photos.
        """
        found = (self.logits(weights) > self.sure)[self.is_new]
        return float(found.mean()) if len(found) else float("nan")


def _pretend(gallery: Gallery, names: tuple[str, ...], space: Space, num_photos: int) -> Table:
    # Each learned class is the new one in turn, known by as many photos as there are of it.
    places = {name: place for place, name in enumerate(names)}
    classes = np.array([places[name] for name in gallery.names], np.intp)
    held = gallery.held_out
    is_learned = np.ones(len(classes), np.bool_)
    is_learned[held] = False
    rng = np.random.default_rng(0)
    middles = np.zeros_like(space.learned)
    for place in range(len(names)):
        own = np.flatnonzero(is_learned & (classes == place))
        chosen = rng.permutation(own)[:num_photos]
        if len(chosen):
            middles[place] = space.middle(gallery.embeddings[chosen])
    seen = space.put(gallery.embeddings[held])
    with np.errstate(divide="ignore"):
        rest = np.log1p(-np.exp(gallery.log_probs.astype(np.float64)).clip(max=1 - 1e-6))
    sure = _greatest_other(gallery.log_probs) - rest.astype(np.float32)
    played = np.flatnonzero(middles.any(axis=1))
    return Table(
        (seen @ middles.T)[:, played],
        _greatest_other(seen @ space.learned.T)[:, played],
        sure[:, played],
        (classes[held][:, None] == np.arange(len(names)))[:, played],
    )


def _greatest_other(values: Floats) -> Floats:
    # (h, l): for each class the greatest value of the others.
    order = np.argpartition(values, -2, axis=1)[:, -2:]
    two = np.take_along_axis(values, order, axis=1)
    best = order[np.arange(len(order)), two.argmax(axis=1)]
    is_best = best[:, None] == np.arange(values.shape[1])
    made: Floats = np.where(is_best, two.min(axis=1, keepdims=True), two.max(axis=1, keepdims=True))
    return made


def _regress(table: Table) -> NDArray[np.float64]:
    # Logistic regression by Newton's method; the ridge keeps it finite where all is told apart.
    figures = (table.like_new, table.like_old, table.sure)
    x = np.stack([*(each.ravel() for each in figures), np.ones(table.is_new.size)], axis=1)
    x, y = x.astype(np.float64), table.is_new.ravel()
    weights: NDArray[np.float64] = np.array([0.0, 0.0, 0.0, np.log(max(y.mean(), 1e-6))])

    def loss(weights: NDArray[np.float64]) -> float:
        odds = x @ weights
        return float((np.logaddexp(0, odds) - y * odds).sum() + _RIDGE * (weights**2).sum() / 2)

    for _ in range(_NUM_STEPS):
        prob = 1 / (1 + np.exp(-(x @ weights).clip(-50, 50)))
        slope = x.T @ (prob - y) + _RIDGE * weights
        curve = (x * (prob * (1 - prob))[:, None]).T @ x + _RIDGE * np.eye(x.shape[1])
        step: NDArray[np.float64] = np.linalg.solve(curve, slope)
        # A whole step may go too far where nearly all is told apart.
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-6:
            step = step / 2
        weights = weights - step
    return weights


def _made_cheap(weights: NDArray[np.float64], tables: Sequence[Table]) -> NDArray[np.float64]:
    # Shifted down as far as it takes to cost little, by halving.
    def shifted(by: float) -> NDArray[np.float64]:
        made: NDArray[np.float64] = weights - np.array([0.0, 0.0, 0.0, by])
        return made

    def is_cheap(by: float) -> bool:
        return all(table.cost(shifted(by)) <= _MOST_COST for table in tables)

    low, high = 0.0, 32.0
    if is_cheap(low):
        return weights
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if is_cheap(middle) else (middle, high)
    return shifted(high)
