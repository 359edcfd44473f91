"""Out-of-fold predictions of a finished run through more views."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chajong.errors import DataError
from chajong.evidence import MIN_PHOTOS
from chajong.files import sha256_if_any
from chajong.held_out import learned, whole_table
from chajong.manifest import Manifest
from chajong.photos.layout import PhotoRef, find_unlabelled
from chajong.predictions import OK, Predictions
from chajong.progress import say
from chajong.run import Run
from chajong.training.predict import look, look_apart
from chajong.wording import listed

_FILE = "views.parquet"
_MOST_ASKED = 1000


def look_again(run: Run, views: tuple[str, ...]) -> Predictions:
    """Let the model of each fold look at the photos it did not learn from, through many views.

    What was looked at before is reused; each fold is written when it is done.

    Args:
        run: A run of which every fold is trained.
        views: Names of views.

    Returns:
        The out-of-fold table with these views in this order.

    Raises:
        RunError: If the run is of one model of every photo, or not all folds are trained.
        DataError: If a photo has changed or gone.
    """  # noqa: DOC502 raised by what it calls
    whole_table(run)
    manifest = run.manifest()
    return Predictions.merge_folds([_of_fold(run, name, manifest, views) for name in run.models])


def asker(
    photos: Path, runs: Sequence[Run]
) -> Callable[[Run, tuple[str, ...]], NDArray[np.float32]]:
    """Ask every model of a run about photos that none has learned from.

    Args:
        photos: A folder, a table of paths, or a DACON folder (its test photos); of many photos a
            thousand, spread evenly, are asked about.
        runs: Those that will be asked; photos that they learned from are left out, which is said.

    Returns:
        From a run of j models and v names of views to (j, u, v, c) log-probabilities, NaN where a
        photo cannot be read.

    Raises:
        DataError: If there are too few photos.
    """
    refs = find_unlabelled(photos)
    most = min(len(refs), _MOST_ASKED)
    # Models are too sure of what they learned, and all that is calibrated by it would be, too.
    known = set().union(*map(learned, runs))
    some: list[PhotoRef] = []
    num_learned = 0
    # First those that are spread evenly, then the others, as far as they are needed.
    for place in dict.fromkeys(
        [*(num * len(refs) // most for num in range(most)), *range(len(refs))]
    ):
        if len(some) == most:
            break
        if sha256_if_any(refs[place].path) in known:
            num_learned += 1
        else:
            some.append(refs[place])
    if num_learned:
        say(f"{photos}: {num_learned:,} photos were learned from and are left out")
    if len(some) < MIN_PHOTOS:
        raise DataError(
            f"{photos} holds {len(some):,} photos that no model learned from. Give {MIN_PHOTOS} or "
            "more with --photos, best the test photos."
        )

    def ask(run: Run, views: tuple[str, ...]) -> NDArray[np.float32]:
        return look_apart(run, some, views)

    return ask


def _of_fold(run: Run, name: str, manifest: Manifest, views: tuple[str, ...]) -> Predictions:
    first = Predictions.load(run.held_out_path(name))
    path = run.model_folder(name) / _FILE
    known = Predictions.load(path) if path.exists() else first
    own = [known.views.index(view) for view in first.views if view in known.views]
    # By what the model says, as it may have been trained again by the same recipe.
    if known.ids != first.ids or not np.array_equal(known.log_probs[:, own], first.log_probs):
        known = first
    missing = tuple(view for view in views if view not in known.views)
    if missing:
        say(f"fold {name}: {len(first.ids):,} photos through {len(missing)} more views")
        seen = np.concatenate(
            [known.log_probs, _held_out(run, name, manifest, first, missing)], axis=1
        )
        known = replace(known, views=(*known.views, *missing), log_probs=seen)
        known.save(path)
    places = [known.views.index(view) for view in views]
    return replace(known, views=views, log_probs=known.log_probs[:, places])


def _held_out(
    run: Run, name: str, manifest: Manifest, first: Predictions, views: tuple[str, ...]
) -> NDArray[np.float32]:
    known = {id_: (path, sha) for id_, path, sha in manifest.table["id", "path", "sha256"].rows()}
    refs = [PhotoRef(id_, manifest.path_of(known[id_][0]), "test") for id_ in first.ids]
    if changed := [ref.id for ref in refs if _is_another(ref.path, known[ref.id][1])]:
        raise DataError(
            f"{len(changed):,} photo(s) that {run.folder} was trained on are no longer what they "
            f"were: {listed(changed)}. Put them back, or train again."
        )
    # One model, so either mean is what it says.
    statuses, log_probs = look(run, (name,), refs, views, "log")
    if bad := [id_ for id_, status in zip(first.ids, statuses, strict=True) if status != OK]:
        raise DataError(
            f"{len(bad):,} photo(s) that {run.folder} was trained on cannot be read any more: "
            f"{listed(bad)}. Put them back, or train again without them."
        )
    return log_probs


def _is_another(path: Path, sha256: str) -> bool:
    return sha256_if_any(path) not in (sha256, None)
