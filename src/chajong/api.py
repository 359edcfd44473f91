"""The verbs of the package, as functions: each does what the command of its name does.

They take paths and nouns and return nouns or tables; nothing is kept between two calls. What a
verb needs is imported when it is called, so that importing this costs nothing. Progress goes to
standard error; `with chajong.quiet():` silences it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from chajong.blending.blend import Blend
    from chajong.choices import Layout
    from chajong.expectation import Expectation
    from chajong.photos.audit import Audit
    from chajong.recipe import Recipe
    from chajong.run import Run

StrPath: TypeAlias = str | os.PathLike[str]
"""A path as text or as a `pathlib.Path`."""


def demo_photos(
    out: StrPath,
    models: int = 12,
    per_model: int = 60,
    *,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
) -> Path:
    """Draw car photos to try everything with, laid out like a DACON download.

    Several processes draw: in a script it must stand below `if __name__ == "__main__":`.

    Args:
        out: Folder to make; the same photos are not drawn twice.
        models: How many car models, 1 or more; not looked at where `class_names` are given.
        per_model: Training photos of each, 4 to 9,999; a quarter as many test photos come along.
        seed: Another seed, other cars.
        class_names: Names of the models; made up if none.

    Returns:
        The folder.

    Raises:
        DataError: If an argument cannot be used, or the folder holds something else.
    """  # noqa: DOC502 raised by what it calls
    from chajong.photos.demo import render_demo

    render_demo(Path(out), models, per_model, seed, class_names)
    return Path(out)


def audit(
    data: StrPath,
    *,
    out: StrPath | None = None,
    layout: Layout | None = None,
    cache: StrPath | None = None,
    weights: str = "none",
    backbone: str | None = None,
    allow_noncommercial: bool = False,
    corrections: StrPath | None = None,
) -> Audit:
    """Look through photos for what spoils a training: damage, duplicates, odd ones, a shift.

    Args:
        data: The photos: a DACON folder, class folders or a table.
        out: Folder for tables, a picture and a page; none to write nothing.
        layout: How the photos lie; found by itself if none.
        cache: Folder for what is known of photos; the user's cache if none.
        weights: A safetensors file or `pretrained`, to let a network look too; or `none`.
        backbone: The network: a timm name, or `torchvision/NAME`; `mobilenetv2_100` if none.
        allow_noncommercial: Whether weights that may not be used commercially are fine.
        corrections: A file of decisions about photos to carry out first.

    Returns:
        All that was found; `manifest.table` and `manifest.issues` are tables.

    Raises:
        DataError: If there are no labelled photos, the corrections are of others, or something is
            said of a network though none looks.
    """
    from chajong.corrections import Corrections
    from chajong.errors import DataError
    from chajong.photos.audit import full_audit
    from chajong.run import refuse_run

    if out is not None:
        refuse_run(Path(out), "an audit")
    if weights == "none" and (backbone is not None or allow_noncommercial):
        raise DataError(
            "--backbone and --allow-noncommercial are about a network, and none looks without "
            "--weights FILE or --weights pretrained."
        )
    decided = None if corrections is None else Corrections.load(Path(corrections))
    look = None
    if weights != "none":
        from chajong.recipe_model import Model
        from chajong.training.look import network_look

        model = Model(backbone=backbone or "mobilenetv2_100", weights=weights)
        look = network_look(model, path_of(cache), allow_noncommercial=allow_noncommercial)
    found = full_audit(Path(data), layout, path_of(cache), look, decided)
    if out is not None:
        from chajong.reporting.audit_page import save_audit

        save_audit(found, Path(out))
    return found


def load_recipe(recipe: Recipe | StrPath, changes: Sequence[str] = ()) -> Recipe:
    """Get a recipe by its name or from a YAML file, with changes.

    Args:
        recipe: A named recipe, a file that ends in `.yaml` or `.yml`, or a recipe to change.
        changes: Each `dotted.key=value`, the value in YAML, such as `train.epochs=3`.

    Returns:
        The checked recipe.

    Raises:
        RecipeError: If the name is unknown or anything in it is not allowed; all at once.
    """  # noqa: DOC502 raised by what it calls
    from chajong.recipe import Recipe
    from chajong.recipes import load_recipe as load

    return load(recipe if isinstance(recipe, Recipe) else os.fspath(recipe), changes)


def train(
    data: StrPath,
    recipe: Recipe | StrPath,
    *,
    changes: Sequence[str] = (),
    fold: int | str | None = None,
    out: StrPath | None = None,
    layout: Layout | None = None,
    cache: StrPath | None = None,
    cache_limit: str | None = None,
    allow_noncommercial: bool = False,
    corrections: StrPath | None = None,
    teacher: StrPath | None = None,
    track: Sequence[str] = (),
    jobs: int = 1,
) -> Run:
    """Train every fold that is not trained yet, then score the out-of-fold predictions.

    Args:
        data: The photos with their labels.
        recipe: A recipe, the name of one, or a YAML file.
        changes: What to change in it, as for `load_recipe`.
        fold: One fold by its number, `all` for one model of every photo, or none for all folds.
        out: The run's folder; made up under `runs` if none.
        layout: How the photos lie; found by itself if none.
        cache: Folder for resized photos; the user's cache if none.
        cache_limit: Most that resized photos may take, such as `20GB`.
        allow_noncommercial: Whether weights that may not be used commercially are fine.
        corrections: A file of decisions about photos to carry out first.
        teacher: The folder of a run or a blend to learn from, for recipes that distil.
        track: Services that show the run: `wandb`, `mlflow`, `tensorboard`.
        jobs: Folds at a time; above 1 a script keeps its work under `if __name__ == "__main__":`.

    Returns:
        The run.

    Raises:
        ChajongError: If anything in data, recipe, weights or folder cannot be used.
        Interrupted: If the user stopped it; the same call goes on.
        SystemExit: On processes that only help the first (`torchrun`), when all is trained.
    """  # noqa: DOC502 raised by what it calls
    from chajong.tracking.tracker import check_services

    services, chosen = check_services(track), load_recipe(recipe, changes)
    from chajong.training import train as training

    options = training.Options(
        out=path_of(out),
        fold=None if fold is None else str(fold),
        layout=layout,
        cache_folder=path_of(cache),
        cache_limit_bytes=_bytes_of(cache_limit),
        allow_noncommercial=allow_noncommercial,
        corrections=path_of(corrections),
        teacher=path_of(teacher),
        track=services,
        jobs=jobs,
    )
    return training.train(Path(data), chosen, options) or sys.exit(0)


def _bytes_of(limit: str | None) -> int | None:
    from chajong.sizes import parse_bytes

    return None if limit is None else parse_bytes(limit)


def blend(
    runs: Sequence[Run | StrPath],
    out: StrPath,
    *,
    budget: int = 4,
    photos: StrPath | None = None,
) -> Blend:
    """Learn from out-of-fold predictions which runs and views to believe, and how much.

    Args:
        runs: The runs, all folds trained.
        out: The blend's folder.
        budget: Most views of a photo for each run, 1 or more.
        photos: Photos that no model learned from, to calibrate the mean of the folds; their labels
            are not needed.

    Returns:
        The blend; `out_of_fold(out)` gives its nested predictions.

    Raises:
        RunError: If the runs are not of the same photos and classes, or one is there twice.
    """  # noqa: DOC502 raised by what it calls
    from chajong.training.blend import blend_runs

    return blend_runs([open_run(run) for run in runs], Path(out), budget, path_of(photos)).blend


def expect(
    runs: Sequence[Run | StrPath], test: StrPath, *, cache: StrPath | None = None
) -> Expectation:
    """Say what the log loss on photos without answers will be, with a 90 % interval.

    Args:
        runs: The runs, all folds trained; their mean is what will be submitted.
        test: The photos without answers.
        cache: Folder for resized photos; the user's cache if none.

    Returns:
        The expectation.

    Raises:
        RunError: If a run has no out-of-fold table, or the runs are not of the same photos.
        DataError: If no photo can be read.
    """  # noqa: DOC502 raised by what it calls
    from chajong.training.expect import expect as foresee

    return foresee([open_run(run) for run in runs], Path(test), cache_folder=path_of(cache))


def path_of(where: StrPath | None) -> Path | None:
    """Make a path of what stands for one.

    Args:
        where: Text, a path or none.

    Returns:
        The path, if any.
    """
    return None if where is None else Path(where)


def open_run(run: Run | StrPath) -> Run:
    """Take a run as it is, or open its folder.

    Args:
        run: Either.

    Returns:
        The run.

    Raises:
        RunError: If there is none in the folder.
    """  # noqa: DOC502 raised by `load`
    from chajong.run import Run

    return run if isinstance(run, Run) else Run.load(Path(run))


def folder_of(of: Run | StrPath) -> Path:
    """Say where a run lies.

    Args:
        of: A run, or a folder.

    Returns:
        The folder.

    Raises:
        RunError: If it is a blend in memory, which does not say where it lies.
    """
    from chajong.blending.blend import Blend
    from chajong.errors import RunError
    from chajong.run import Run

    if isinstance(of, Blend):
        raise RunError(
            "A blend in memory does not say where it lies. Give the folder that it was blended "
            "into, the `out` of chajong.blend()."
        )
    return of.folder if isinstance(of, Run) else Path(of)
