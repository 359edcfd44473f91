"""Classes that were added without training: how likely a photo is of one of them.

The networks know nothing of an added class, so its logit is made of three figures: how like its
photos a photo is, how like the likest learned class, and how sure the networks are of a learned
class. Their weights are those of a logistic regression in which each learned class in turn plays
the new one. What is left is shared out among learned classes as it was, so that the order among
them never changes.

Shapes: n photos, l learned classes, a added classes, c both, d features.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chajong.arrays import load_array
from chajong.bundle import Bundle
from chajong.gallery import Gallery, unit
from chajong.pooling import Floats, log_total

# Of the mean scatter, added in every direction: there are fewer photos than directions. Of 20 cars
# that a network a third through its training had not seen, 39 % of photos were found by five
# others; 22 % without whitening.
_SHRINK = 1.0


@dataclass(frozen=True, eq=False)
class Space:
    """Where photos and classes are compared.

    What all cars have in common is taken off, and directions in which photos of one class differ
    from each other count less. Held-out photos have no part in it, so that they are as new to it as
    photos to come.

    Attributes:
        centre: (d,) the mean of the learned photos.
        whitening: (d, d) makes the scatter within classes alike in all directions.
        learned: (l, d) the mean of each learned class, of length 1.
    """

    centre: Floats
    whitening: Floats
    learned: Floats

    @classmethod
    def of(cls, gallery: Gallery, names: tuple[str, ...]) -> "Space":
        """Measure a gallery.

        Args:
            gallery: Photos.
            names: The learned classes.

        Returns:
            Its space.
        """
        places = {name: place for place, name in enumerate(names)}
        classes = np.array([places[name] for name in gallery.names], np.intp)
        classes = np.delete(classes, gallery.held_out)
        seen = np.delete(gallery.embeddings, gallery.held_out, axis=0).astype(np.float32)
        centre = seen.mean(axis=0)
        seen = seen - centre
        apart = seen - _means(seen, classes, len(names))[classes]
        scatter = apart.T @ apart / len(apart)
        scatter += _SHRINK * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
        scatter += 1e-12 * np.eye(len(scatter))  # where photos of a class are all alike
        root = np.linalg.cholesky(scatter)
        whitening = np.linalg.solve(root, np.eye(len(root))).T.astype(np.float32)
        return cls(centre, whitening, unit(_means(unit(seen @ whitening), classes, len(names))))

    def put(self, embeddings: NDArray[np.floating[Any]]) -> Floats:
        """Bring embeddings into the space.

        Args:
            embeddings: (n, d).

        Returns:
            (n, d) of length 1.
        """
        return unit((embeddings.astype(np.float32) - self.centre) @ self.whitening)

    def middle(self, embeddings: NDArray[np.floating[Any]]) -> Floats:
        """Give the mean of a class.

        Args:
            embeddings: (n, d) of its photos.

        Returns:
            (d,) of length 1.
        """
        return unit(self.put(embeddings).mean(axis=0))


@dataclass(frozen=True, eq=False)
class Newcomers:
    """The added classes of a bundle.

    Attributes:
        space: Where photos and classes are compared.
        middles: (a, d) the mean of each added class.
        weights: (a, 4) of the three figures, and the shift.
        order: (c,) the place of each class, in code-point order, among learned then added ones.
    """

    space: Space
    middles: Floats
    weights: Floats
    order: NDArray[np.intp]

    @classmethod
    def of(cls, bundle: Bundle) -> "Newcomers":
        """Open the added classes of a bundle.

        Args:
            bundle: A bundle with a gallery.

        Returns:
            The added classes.
        """
        gallery, added = bundle.gallery, bundle.facts.added
        assert gallery is not None  # classes are added to bundles with one
        space = Space.of(gallery, bundle.learned.names)
        middles = [space.middle(load_array(bundle.folder / each.file)) for each in added]
        names = (*bundle.learned.names, *(each.name for each in added))
        places = {name: place for place, name in enumerate(names)}
        return cls(
            space,
            np.stack(middles),
            np.array([each.weights for each in added], np.float32),
            np.array([places[name] for name in bundle.labels.names], np.intp),
        )

    def join(
        self, log_probs: Floats, embeddings: Floats, strangeness: NDArray[np.float64] | None
    ) -> tuple[Floats, NDArray[np.float64] | None]:
        """Join the added classes with what is known of the learned ones.

        Args:
            log_probs: (n, l) of the learned classes.
            embeddings: (n, d) of length 1.
            strangeness: (n,), or none.

        Returns:
            (n, c) log-probabilities of all classes, and (n,) strangeness, less the probability
            that a photo is of an added class where that is likelier than all learned ones.
        """
        seen = self.space.put(embeddings)
        like_new = seen @ self.middles.T
        like_old = (seen @ self.space.learned.T).max(axis=1, keepdims=True)
        sure = log_probs.max(axis=1, keepdims=True)
        new = logit(like_new, like_old, sure, self.weights)
        odds = np.concatenate([np.zeros_like(sure), new], axis=1)
        shares = odds - log_total(odds)
        joined = np.concatenate([log_probs + shares[:, :1], shares[:, 1:]], axis=1)[:, self.order]
        if strangeness is not None:
            # What is strange to the learned classes is strange, unless it is of an added one.
            learned = np.exp(shares[:, 0].astype(np.float64))
            strangeness = np.where(learned < 0.5, strangeness * learned, strangeness)
        return joined, strangeness


def logit(like_new: Floats, like_old: Floats, sure: Floats, weights: Floats) -> Floats:
    """Tell how likely a photo is of an added class rather than of a learned one.

    Args:
        like_new: (n, a) cosine with the mean of the added class.
        like_old: (n, 1) or (n, a) the greatest cosine with the mean of a learned class.
        sure: (n, 1) or (n, a) the greatest log-probability of a learned class.
        weights: (a, 4).

    Returns:
        (n, a) logarithms of odds.
    """
    figures = (like_new, like_old, sure)
    total = sum(weights[:, place] * figure for place, figure in enumerate(figures))
    made: Floats = (total + weights[:, 3]).astype(np.float32)
    return made


def _means(values: Floats, classes: NDArray[np.intp], num_classes: int) -> Floats:
    # (l, d): the mean of each class, zeros where there is nothing of it.
    sums = np.zeros((num_classes, values.shape[1]), np.float32)
    np.add.at(sums, classes, values)
    counts = np.bincount(classes, minlength=num_classes)
    made: Floats = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    return made
