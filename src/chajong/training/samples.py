"""Photos on which a bundle is proven.

Shapes: n photos.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chajong.errors import BundleError
from chajong.labels import Labels
from chajong.matching import match_ids
from chajong.photos.layout import PhotoRef, find_unlabelled
from chajong.photos.walk import is_there
from chajong.predictions import Predictions
from chajong.progress import say
from chajong.run import Run
from chajong.score import read_truth
from chajong.serving.proof import MIN_PHOTOS

_NUM_COMPARED, _NUM_MEASURED = 1000, 128


@dataclass(frozen=True, eq=False)
class Samples:
    """Photos to compare answers on.

    Attributes:
        refs: n photos.
        classes: (n,) true classes, -1 where not known.
        folds: For each member (n,) the network that did not learn the photo, -1 for none.
        to_measure: Other photos, on which ranges of 8-bit numbers are measured.
    """

    refs: tuple[PhotoRef, ...]
    classes: NDArray[np.intp]
    folds: tuple[NDArray[np.intp], ...]
    to_measure: tuple[PhotoRef, ...]

    def only(self, good: NDArray[np.bool_]) -> "Samples":
        """Keep some of the photos to compare.

        Args:
            good: (n,) which.

        Returns:
            The rest is as it was.
        """
        kept = tuple(self.refs[row] for row in np.flatnonzero(good))
        folds = tuple(each[good] for each in self.folds)
        return Samples(kept, self.classes[good], folds, self.to_measure)


def check_enough(num_photos: int, what: str) -> None:
    """Refuse fewer photos than a proof needs.

    Args:
        num_photos: How many there are.
        what: What is known of them, behind their number.

    Raises:
        BundleError: If they are too few.
    """
    if num_photos < MIN_PHOTOS:
        raise BundleError(
            f"A bundle is proven on at least {MIN_PHOTOS} photos, but only {num_photos:,} {what}. "
            "Give a folder of more with --photos; they need no labels. Without any: chajong "
            "demo-photos DEMO, then --photos DEMO/train."
        )


def own_samples(runs: Sequence[Run]) -> Samples:
    """Choose photos that the runs were trained on.

    Args:
        runs: The members, trained on the same photos.

    Returns:
        At most 1,000 of them, chosen by chance but always the same; first those that each member
        holds out, if they are enough.

    Raises:
        BundleError: If the photos are not where they were.
    """
    manifest = runs[0].manifest()
    rows = manifest.trainable()
    ids, paths = rows["id"].to_list(), rows["path"].to_list()
    refs = [
        PhotoRef(id_, manifest.path_of(path), "train") for id_, path in zip(ids, paths, strict=True)
    ]
    if not any(is_there(ref.path) for ref in refs):
        raise BundleError(
            f"The photos that {runs[0].folder} was trained on are no longer in {manifest.root}. "
            "Put them back, or prove the bundle on others with --photos."
        )
    classes = runs[0].labels.indices(rows["label"].to_list())
    folds = tuple(folds_of(run, ids) for run in runs)
    return choose(refs, classes, folds)


def samples_of(photos: Path, labels: Path | None, known: Labels) -> Samples:
    """Choose photos that are given.

    Args:
        photos: A folder, a table of paths, or a DACON folder (its test photos).
        labels: A CSV with the columns ID and label, or none.
        known: The classes.

    Returns:
        At most 1,000 of them, chosen by chance but always the same.
    """
    refs = find_unlabelled(photos)
    classes = np.full(len(refs), -1, np.intp)
    if labels is not None:
        truth = read_truth(labels)
        match = match_ids([ref.id for ref in refs], list(truth))
        if match.missing or match.extra:
            say(
                f"{labels}: {len(match.extra):,} photo(s) have no label there, "
                f"{len(match.missing):,} label(s) no photo"
            )
        there = np.flatnonzero(match.rows >= 0)
        said = [*truth.values()]
        classes[match.rows[there]] = known.indices([said[place] for place in there])
    return choose(refs, classes, ())


def choose(
    refs: Sequence[PhotoRef], classes: NDArray[np.intp], folds: tuple[NDArray[np.intp], ...]
) -> Samples:
    """Choose photos to compare answers on, and others to measure ranges on.

    Args:
        refs: n photos.
        classes: (n,) true classes, -1 where not known.
        folds: For each member (n,) the network that did not learn the photo, -1 for none.

    Returns:
        At most 1,000 to compare, first those that each member holds out if they are enough.
    """
    order = np.random.default_rng(0).permutation(len(refs))
    held_out = np.full(len(refs), bool(folds))
    for each in folds:
        held_out &= each >= 0
    # What a coarser format loses on photos that were learned, of next to no loss, tells little.
    if held_out.sum() >= MIN_PHOTOS:
        order = np.concatenate([order[held_out[order]], order[~held_out[order]]])
    rows = np.sort(order[:_NUM_COMPARED])
    # From the other end, so that the two share photos only where there are few.
    measured = order[::-1][:_NUM_MEASURED].tolist()
    return Samples(
        tuple(refs[row] for row in rows.tolist()),
        classes[rows],
        tuple(each[rows] for each in folds),
        tuple(refs[row] for row in measured),
    )


def folds_of(run: Run, ids: Sequence[str]) -> NDArray[np.intp]:
    """Tell which network of a run did not learn each photo.

    Args:
        run: The run.
        ids: n photos.

    Returns:
        (n,) the network's place among those that are done; -1 where all learned it, or none did.
    """
    if not run.predictions_path.is_file():
        return np.full(len(ids), -1, np.intp)
    table = Predictions.load(run.predictions_path)
    places = {name: place for place, name in enumerate(run.done)}
    folds = dict(zip(table.ids, table.folds or (), strict=False))
    return np.array([places.get(str(folds.get(id_)), -1) for id_ in ids], np.intp)
