"""What a network learns from beside the label: relatives of the class, and what a teacher said.

Shapes: n photos, c classes.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from chajong.blending.blend import Blend
from chajong.blending.members import answers_of, members_of
from chajong.catalogue import known_catalogue
from chajong.errors import PredictionsError, RecipeError, RunError
from chajong.file_names import OUT_OF_FOLD
from chajong.files import fingerprint, sha256_of
from chajong.labels import Labels
from chajong.pooling import log_total
from chajong.predictions import Predictions
from chajong.recipe_model import Data
from chajong.recipe_train import Distil, Taxonomy
from chajong.run import Run
from chajong.split import Split
from chajong.training.infer import Eye
from chajong.training.predict import open_eye
from chajong.training.sides import why_not
from chajong.training.weights import empty_network


def load_teacher(path: Path) -> Run | Blend:
    """Open a run or a blend that teaches.

    Args:
        path: Its folder.

    Returns:
        Whichever it is.

    Raises:
        RunError: If it is neither, or is not trained yet.
    """
    if Blend.is_in(path):
        return Blend.load(path)
    run = Run.load(path)
    if run.done != run.models:
        raise RunError(f"The teacher {path} is not trained to the end. Train it first.")
    return run


def fingerprint_of(teacher: Run | Blend) -> str:
    """Name a teacher by what it says: one that was trained anew is another.

    Args:
        teacher: The teacher.

    Returns:
        16 hexadecimal digits.
    """
    said = []
    for run in _runs_of(teacher):
        # A model of every photo has no table; it says what its weights say.
        weights = sorted(run.folder.glob("all/weights.*.safetensors"))
        said += [answers_of(run), *map(sha256_of, weights)]
    return fingerprint("teacher", teacher.fingerprint, said)


def check_sides(teacher: Run | Blend, data: Data) -> None:
    """Refuse a teacher that does not take the student's photos.

    Args:
        teacher: The teacher.
        data: The student's photos.

    Raises:
        RecipeError: If it does not take one of their sizes.
    """
    for run in _runs_of(teacher):
        network = empty_network(run.recipe.model, 2)
        for side_px in data.trained_px:
            if reason := why_not(network, side_px):
                raise RecipeError(
                    f"The teacher {run.folder} ('{run.recipe.model.backbone}') takes no photos of "
                    f"{side_px} px: {reason}. Set data.size_px and data.grow to what it takes, or "
                    "let its out-of-fold table teach (distil.online=false)."
                )


def networks_of(
    teacher: Run | Blend, labels: Labels, split: Split | None, name: str, device: torch.device
) -> tuple[Eye, ...]:
    """Open the teacher's networks that have not seen what the student will be checked on.

    Args:
        teacher: The teacher.
        labels: The student's classes.
        split: The student's folds; none for a model of all photos.
        name: Number of the student's fold, or `all`.
        device: Where to compute.

    Returns:
        One network of each of the teacher's runs; all of them for a model of all photos.

    Raises:
        RunError: If the teacher has other classes, or other folds.
    """
    eyes: list[Eye] = []
    for run in _runs_of(teacher):
        if run.labels.names != labels.names:
            raise RunError(
                f"The teacher {run.folder} tells {len(run.labels.names)} classes that are not the "
                f"{len(labels.names)} of this data. Train a teacher on the same data."
            )
        if split is not None and (name not in run.done or not _same_folds(run, split)):
            raise RunError(
                f"The teacher {run.folder} has no model that left out the photos of fold {name}: "
                "it must be trained with the same folds (folds.num_folds, folds.seed) of the same "
                "data. Or train one model of every photo with --fold all."
            )
        models = run.done if split is None else (name,)
        eyes += [open_eye(run, model, device) for model in models]
    return tuple(eyes)


def _runs_of(teacher: Run | Blend) -> Sequence[Run]:
    return members_of(teacher) if isinstance(teacher, Blend) else (teacher,)


def _same_folds(run: Run, split: Split) -> bool:
    if run.models == ("all",):
        return False
    theirs = run.split().table.sort("id")
    return theirs.select("id", "fold").equals(split.table.sort("id").select("id", "fold"))


def soft_targets(
    classes: NDArray[np.intp],
    labels: Labels,
    taxonomy: Taxonomy | None,
    distil: Distil | None = None,
    said: NDArray[np.float64] | None = None,
) -> NDArray[np.float32] | None:
    """Make the targets of training photos, where they are not just their classes.

    Args:
        classes: (n,) the class of each photo.
        labels: c classes.
        taxonomy: The recipe's part, if any.
        distil: Likewise.
        said: (n, c) what the teacher said of the photos, where its out-of-fold table teaches.

    Returns:
        (n, c) probabilities; none where the classes are all.
    """
    if taxonomy is None and said is None:
        return None
    whole = np.eye(len(labels.names)) if taxonomy is None else relatives(labels, taxonomy)
    targets = whole[classes]
    if said is not None and distil is not None:
        with np.errstate(divide="ignore"):
            logs = np.log(said) / distil.temperature
        probs = np.exp(logs - log_total(logs))
        targets = (1 - distil.alpha) * targets + distil.alpha * probs
    return targets.astype(np.float32)


def relatives(labels: Labels, taxonomy: Taxonomy) -> NDArray[np.float64]:
    """Spread a share of each class over its relatives by the catalogue.

    Args:
        labels: c classes.
        taxonomy: The shares.

    Returns:
        (c, c) target probabilities of each class, a row a class.
    """
    levels = known_catalogue().levels(labels)
    targets = np.zeros((len(labels.names), len(labels.names)))
    kept = np.ones(len(labels.names))
    for share, level in (
        (taxonomy.generation, levels.generation),
        (taxonomy.model, levels.model),
        (taxonomy.maker, levels.maker),
    ):
        others = (level.groups[:, None] == level.groups[None, :]).astype(np.float64)
        np.fill_diagonal(others, 0)
        counts = others.sum(axis=1)
        targets += share * others / np.maximum(counts, 1)[:, None]
        kept -= np.where(counts > 0, share, 0)
    return targets + np.diag(kept)


def out_of_fold(path: Path, ids: Sequence[str], labels: Labels) -> NDArray[np.float64]:
    """Read what a teacher says of photos that it did not learn.

    Args:
        path: The folder of a run or a blend.
        ids: n photos.
        labels: c classes.

    Returns:
        (n, c) probabilities.

    Raises:
        RunError: If the teacher has not said it of every photo, or has other classes.
    """
    try:
        table = Predictions.load(path / OUT_OF_FOLD)
    except PredictionsError as error:
        raise RunError(
            f"The teacher {path} has no out-of-fold table: {error} Train it with folds."
        ) from error
    missing = set(ids) - set(table.ids)
    if missing or table.classes != labels.names or not table.ok.all():
        what = (
            f"{len(missing):,} of {len(ids):,} training photos are not in it"
            if missing
            else ("its classes are others, or photos are without an answer")
        )
        raise RunError(
            f"The out-of-fold table of the teacher {path} cannot teach: {what}. Train a teacher "
            "on the same data, all of its folds."
        )
    return np.exp(table.log_probs_of(ids))
