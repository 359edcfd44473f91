"""Make a run's folder, or go on with the one that is there."""

from pathlib import Path

from chajong.errors import RunError
from chajong.file_names import RECIPE, RUN, SPLIT
from chajong.files import locked, write_text
from chajong.manifest import Manifest
from chajong.recipe import Recipe
from chajong.recipe_file import differences
from chajong.record import Record
from chajong.run import Run
from chajong.split import Split
from chajong.wording import listed

# Marks a folder as a run's from its first moment on, and keeps others out while it is made.
_STARTED = ".started"


def start_run(
    folder: Path, recipe: Recipe, manifest: Manifest, split: Split | None, facts: Record
) -> Run:
    """Make a run's folder, or go on with the one that is there.

    Args:
        folder: The folder.
        recipe: How to train.
        manifest: The photos.
        split: The folds; none for a model of all photos.
        facts: What is known at the start.

    Returns:
        The run.

    Raises:
        RunError: If the folder holds something else, such as a run of another recipe or data.
    """  # noqa: DOC502 raised by what it calls
    _refuse_strangers(folder)
    with locked(folder / _STARTED, wait=True):
        if Run.is_in(folder):
            run = Run.load(folder)
            _refuse_another(run, recipe, facts)
            return run
        write_text(folder / RECIPE, recipe.to_yaml())
        manifest.save(folder)
        # A process that was killed here may have meant to train folds.
        (folder / SPLIT).unlink(missing_ok=True)
        if split is not None:
            split.save(folder / SPLIT)
        # Last: with it the run exists.
        write_text(folder / RUN, facts.model_dump_json(indent=2) + "\n")
    return Run(folder, recipe, manifest.labels, facts)


def _refuse_strangers(folder: Path) -> None:
    begun = any((folder / name).exists() for name in (RUN, _STARTED))
    if begun or not folder.is_dir():
        return
    strangers = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if strangers:
        raise RunError(
            f"{folder} is not empty and holds no run, but {listed(strangers, 3)}. "
            "Choose another folder with --out."
        )


def _refuse_another(run: Run, recipe: Recipe, facts: Record) -> None:
    if unlike := differences(run.recipe, recipe):
        said = ", ".join(f"{k} was {a!r} and is now {b!r}" for k, (a, b) in unlike.items())
        raise RunError(
            f"{run.folder} holds a run of another recipe: {said}. Choose another folder with --out."
        )
    if facts.data_fingerprint != run.record.data_fingerprint:
        raise RunError(
            f"{run.folder} holds a run of other data: {run.record.num_photos} photos of "
            f"{run.record.data} then, {facts.num_photos} of {facts.data} now (or their "
            "labels, contents, groups or folds differ). Choose another folder with --out."
        )
    if facts.weights != run.record.weights:
        raise RunError(
            f"{run.folder} started from {run.record.weights}; now there is "
            f"{facts.weights}. Restore them, or choose another folder with --out."
        )
    if facts.teacher_fingerprint != run.record.teacher_fingerprint:
        raise RunError(
            f"{run.folder} was taught by {run.record.teacher or 'no one'}; now the teacher "
            f"is {facts.teacher or 'no one'}, or was trained anew. Give the same teacher, or "
            "choose another folder with --out."
        )
    if ("all" in run.models) != ("all" in facts.models):
        raise RunError(
            f"{run.folder} holds a run of {', '.join(run.models)}. A model of all photos "
            "and models of folds are different runs: choose another folder with --out."
        )
