"""The gallery of a bundle: photos that were learned, as a network saw them, and what is like them.

    gallery/gallery.json      names, classes, which were held out, scores of strangeness
    gallery/embeddings.npy    float16 (n, d)
    gallery/axes.npy          float16 (d, a), along which strangeness is told; all if not there
    gallery/log_probs.npy     float16 (h, c), held-out answers
    gallery/photos/           a small JPEG of each photo, only where they were asked for

All embeddings are by one network, the first of the first member. Photos that it did not learn are
held out: what is usual for a known car is measured on them alone.

Shapes: n photos, h held-out photos, c classes, d features, a axes, q photos that are asked about.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chajong.arrays import load_array, save_array
from chajong.checksums import COPY_AGAIN
from chajong.errors import BundleError
from chajong.files import make_folder, read_json, write_json
from chajong.labels import Labels
from chajong.pooling import Floats

STRANGE_FROM = 0.99
"""Strangeness from which a photo is called strange: one of a hundred photos of known cars is."""

PICTURES = "photos"
"""The folder of small pictures, in that of the gallery."""

_FOLDER, _FACTS, _AXES = "gallery", "gallery.json", "axes.npy"
_NUM_NEAREST, _NUM_NEAR = 5, 10  # of which means are taken
# On file, as older bundles had others.
_FIGURES = ("far_distance", "generalised_entropy", "no_nearest")
_ON_AXES = (*_FIGURES, "on_axes")
_FAR_FROM, _FAR_COUNTS, _NO_NEAREST_COUNTS = 2.0, 2.0, 0.25
_GAMMA = 0.1
_BLOCK = 512
# Cars of unknown models and other things are told as well by 64 to 512 axes as by all 1,280, and a
# product with learned photos takes an eighth of the time.
_NUM_AXES = 256


@dataclass(frozen=True)
class Neighbour:
    """A photo of the gallery that is like another one.

    Attributes:
        place: In the gallery.
        photo: Its id.
        name: Its class.
        similarity: The cosine of the two embeddings, in [-1, 1].
    """

    place: int
    photo: str
    name: str
    similarity: float


@dataclass(frozen=True, eq=False)
class Gallery:
    """Photos with their classes and embeddings.

    Attributes:
        photos: n ids; no folder of a machine is in them.
        names: n class names.
        embeddings: (n, d) of length 1.
        held_out: h places of photos that the network did not learn.
        log_probs: (h, c) what the bundle's networks that did not learn them answer.
        usual: How strange the held-out photos are, in order; empty if none is held out, or where
            an older version scored them.
        axes: (d, a) along which the learned photos vary most; none where all features count.
        scales: Mean and standard deviation of each figure of strangeness, of held-out photos.
        folder: Where small photos lie; none if there are none.
        folder_inode: Tells this folder from one that takes its place.
    """

    photos: tuple[str, ...]
    names: tuple[str, ...]
    embeddings: NDArray[np.float16]
    held_out: NDArray[np.intp]
    log_probs: Floats
    usual: NDArray[np.float64]
    axes: NDArray[np.float16] | None = None
    scales: tuple[tuple[float, float], ...] = ((0.0, 1.0),) * 3
    folder: Path | None = None
    folder_inode: int | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together.

        Raises:
            BundleError: If their lengths differ.
        """
        sizes = (len(self.photos), len(self.names), len(self.embeddings))
        if len(set(sizes)) != 1 or len(self.held_out) != len(self.log_probs):
            raise BundleError(
                f"The gallery has {sizes[0]:,} photos, {sizes[1]:,} classes and {sizes[2]:,} "
                f"embeddings, and {len(self.held_out):,} held-out photos with "
                f"{len(self.log_probs):,} answers. {COPY_AGAIN}"
            )

    def nearest(self, embedding: Floats, num: int = 5) -> tuple[Neighbour, ...]:
        """Find the photos that are most like another one.

        Args:
            embedding: (d,) of the other one, of length 1.
            num: How many, at most.

        Returns:
            The photos, the most similar first.
        """
        agree = self._embeddings @ embedding
        order = np.argsort(-agree, kind="stable")[:num].tolist()
        return tuple(
            Neighbour(place, self.photos[place], self.names[place], float(agree[place]))
            for place in order
        )

    def thumbnail(self, place: int) -> bytes | None:
        """Give a small picture of a photo.

        Args:
            place: Its place in the gallery.

        Returns:
            A JPEG, or none if the bundle has no photos, or another one lies in its place by now.
        """
        if self.folder is None or inode(self.folder) != self.folder_inode:
            return None
        return (self.folder / f"{place}.jpg").read_bytes()

    def strangeness(self, embeddings: Floats, log_probs: Floats) -> NDArray[np.float64] | None:
        """Tell how unlike all that was learned photos are.

        Args:
            embeddings: (q, d) of length 1.
            log_probs: (q, c) what the bundle answers.

        Returns:
            (q,) the share of photos of known cars that are less strange, in [0, 1], by the held-out
            ones; none if no photo is held out.
        """
        if not len(self.usual):
            return None
        return self.ranks(self.scores(embeddings, log_probs))

    def ranks(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put scores among those of held-out photos.

        A new photo of a known car is as likely to come first, second, ... or last among it and the
        h held-out ones, so that these are h + 1 places. What is stranger than all is 1.

        Args:
            scores: (q,).

        Returns:
            (q,) in [0, 1].
        """
        num = len(self.usual)
        places = np.searchsorted(self.usual, scores, "left")
        return np.where(places == num, 1.0, places / (num + 1))

    def scores(self, embeddings: Floats, log_probs: Floats) -> NDArray[np.float64]:
        """Score how unlike the learned photos are; held-out ones are not compared with.

        Args:
            embeddings: (q, d) of length 1.
            log_probs: (q, c) what the bundle answers.

        Returns:
            (q,) in no unit, the strangest is highest.
        """
        return self._score(self._figures(embeddings, _unsureness(log_probs)))

    def scores_untaught(self, labels: Labels) -> NDArray[np.float64]:
        """Score held-out photos as if the class of each had never been learned.

        Its photos are not compared with, and its probability goes to the other classes. The
        networks did learn it, so that this is an estimate of what cars of new models will score.

        Args:
            labels: The classes; equal ones are taken away together.

        Returns:
            (h,) in the unit of `scores`.
        """
        kinds = labels.canonical
        of = kinds[labels.indices(self.names)]
        own = of[self.held_out]
        is_own = kinds == own[:, None]
        others = np.where(is_own, -np.inf, self.log_probs.astype(np.float64))
        others -= np.logaddexp.reduce(others, axis=1, keepdims=True)
        # The fewer classes, the less there is to be torn between.
        unsure = _unsureness(others) / (1 - is_own.mean(axis=1))
        kinds_of_both = (own, np.delete(of, self.held_out))
        return self._score(self._figures(self._embeddings[self.held_out], unsure, kinds_of_both))

    def calibrated(self, embeddings: Floats) -> "Gallery":
        """Learn what is usual.

        Args:
            embeddings: (h, d) of length 1, of the held-out photos.

        Returns:
            The same gallery; it now tells how strange a photo is, if any was held out.
        """
        if not len(embeddings):
            return self
        made = replace(self, axes=self._principal_axes())
        figures = made._figures(embeddings, _unsureness(self.log_probs))
        scales = tuple((float(each.mean()), max(float(each.std()), 1e-6)) for each in figures)
        made = replace(made, scales=scales)
        return replace(made, usual=np.sort(made._score(figures)))

    def _score(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        # Cars of unknown models lie as near as known ones: a distance that is not unusual says
        # nothing, and one that is tells of other things.
        far, unsure, no_nearest = (
            (figure - mean) / width
            for figure, (mean, width) in zip(figures, self.scales, strict=True)
        )
        distant = _FAR_COUNTS * np.maximum(far - _FAR_FROM, 0)
        return np.asarray(unsure + _NO_NEAREST_COUNTS * no_nearest + distant)

    def _figures(
        self,
        embeddings: Floats,
        unsure: NDArray[np.float64],
        kinds: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None,
    ) -> NDArray[np.float64]:
        # (3, q). Far from all learned photos (Sun et al. 2022, arXiv 2204.06507) tells other things
        # best. Cars of unknown models have neighbours too, but none that is nearer than the rest,
        # as photos of a known model have (a density as in Breunig et al. 2000, "LOF").
        # With `kinds`, of those that ask and of the learned ones, from those of another kind alone.
        far, no_nearest = np.empty((2, len(embeddings)))
        learned = self._learned
        num, num_near = (min(most, learned.shape[1]) for most in (_NUM_NEAREST, _NUM_NEAR))
        for start in range(0, len(embeddings), _BLOCK):
            block = slice(start, start + _BLOCK)
            agree = self._on_axes(embeddings[block]) @ learned
            if kinds is not None:
                agree[kinds[0][block, None] == kinds[1]] = -1
            near = np.sort(np.partition(agree, -num_near, axis=1)[:, -num_near:], axis=1)
            far[block] = -near[:, -num:].mean(axis=1)
            no_nearest[block] = near.mean(axis=1) - near[:, -1]
        return np.stack([far, unsure, no_nearest])

    def save(self, bundle: Path) -> None:
        """Write the gallery, all but its small photos.

        Args:
            bundle: The bundle's folder.
        """
        folder = make_folder(bundle / _FOLDER)
        save_array(folder / "embeddings.npy", self.embeddings)
        if self.axes is not None:
            save_array(folder / _AXES, self.axes)
        save_array(folder / "log_probs.npy", self.log_probs.astype(np.float16))
        facts = _Facts(
            self.photos,
            self.names,
            tuple(self.held_out.tolist()),
            tuple(self.usual.tolist()),
            self.scales,
            _FIGURES if self.axes is None else _ON_AXES,
        )
        write_json(folder / _FACTS, vars(facts))

    @classmethod
    def load(cls, bundle: Path) -> "Gallery | None":
        """Read the gallery of a bundle.

        Args:
            bundle: The bundle's folder.

        Returns:
            The gallery; none if there is none.
        """
        folder = bundle / _FOLDER
        if not (folder / _FACTS).is_file():
            return None
        facts = read_json(folder / _FACTS, _Facts, BundleError, COPY_AGAIN)
        photos = folder / PICTURES
        axes = load_array(folder / _AXES) if facts.figures == _ON_AXES else None
        is_known = facts.figures in (_FIGURES, _ON_AXES)
        return cls(
            facts.photos,
            facts.names,
            load_array(folder / "embeddings.npy"),
            np.array(facts.held_out, np.intp),
            load_array(folder / "log_probs.npy").astype(np.float32),
            np.array(facts.usual if is_known else (), np.float64),
            axes,
            facts.scales,
            photos if photos.is_dir() else None,
            inode(photos),
        )

    @cached_property
    def _embeddings(self) -> Floats:
        return self.embeddings.astype(np.float32)

    @cached_property
    def _learned(self) -> Floats:
        # (a, n): a few embeddings times this take two thirds of the time that (n, a) takes.
        return np.ascontiguousarray(self._on_axes(self._not_held_out()).T)

    @cached_property
    def _axes(self) -> Floats | None:
        return None if self.axes is None else self.axes.astype(np.float32)

    def _on_axes(self, embeddings: Floats) -> Floats:
        # Not brought to length 1 again: what lies off the axes is like no learned photo.
        return embeddings if self._axes is None else embeddings @ self._axes

    def _not_held_out(self) -> Floats:
        return np.delete(self.embeddings, self.held_out, axis=0).astype(np.float32)

    def _principal_axes(self) -> NDArray[np.float16] | None:
        learned = self._not_held_out()
        if min(learned.shape) <= _NUM_AXES:
            return None
        _, axes = np.linalg.eigh(learned.T @ learned)  # the longest last
        return axes[:, -_NUM_AXES:].astype(np.float16)


@dataclass(frozen=True)
class _Facts:
    photos: tuple[str, ...]
    names: tuple[str, ...]
    held_out: tuple[int, ...]
    usual: tuple[float, ...]
    scales: tuple[tuple[float, float], ...]
    figures: tuple[str, ...] = ()


def _unsureness(log_probs: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    # Tells cars of unknown models best: probability where a sure answer has none. Generalised
    # entropy (Liu et al. 2023, CVPR, "GEN"), of all classes.
    probs = np.exp(log_probs.astype(np.float64)).clip(0, 1)
    unsure: NDArray[np.float64] = ((probs * (1 - probs)) ** _GAMMA).sum(axis=1)
    return unsure


def inode(path: Path) -> int | None:
    """Tell what lies at a path from what may take its place.

    Args:
        path: The path.

    Returns:
        Its inode; none if there is nothing.
    """
    try:
        return path.stat().st_ino
    except OSError:
        return None


def unit(embeddings: NDArray[np.floating[Any]]) -> Floats:
    """Bring embeddings to length 1, so that their products are cosines.

    Args:
        embeddings: (..., d).

    Returns:
        The same shape; zeros stay zeros.
    """
    length = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    made: Floats = (embeddings / np.maximum(length, 1e-12)).astype(np.float32)
    return made


def public_id(id_: str) -> str:
    """Name a photo without the folder of a machine.

    Args:
        id_: Its id, a whole path where it lies outside the folder that was asked for.

    Returns:
        The id, or the file's name alone.
    """
    path = Path(id_)
    return path.name if path.is_absolute() or ".." in path.parts else id_
