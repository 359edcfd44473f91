"""From a folder of photos and a recipe to a finished run."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import torch
from torch import nn

from chajong.choices import Layout, Service
from chajong.corrections import Corrections
from chajong.environment import describe_environment
from chajong.errors import RecipeError, RunError, TrainingError
from chajong.files import fingerprint
from chajong.manifest import Manifest
from chajong.photos.audit import audit
from chajong.predictions import Predictions
from chajong.progress import say
from chajong.recipe import Recipe
from chajong.record import Record, now
from chajong.run import Run
from chajong.run_start import start_run
from chajong.score import score
from chajong.split import Split, split
from chajong.tracking.guard import LIMIT_S, Trackers, tracked
from chajong.training.allocator import keep_large_blocks
from chajong.training.model import Material, tidy, train_model
from chajong.training.optim import choose_what_learns, make_optimiser
from chajong.training.precision import choose_precision
from chajong.training.remarks import remarks
from chajong.training.side_by_side import train_side_by_side
from chajong.training.sides import why_not
from chajong.training.views import side_of
from chajong.training.weights import build_network, located
from chajong.training.world import World, join_world


@dataclass(frozen=True)
class Options:
    """What a training needs to know beside its recipe.

    Args:
        out: The run's folder; made from the recipe's name and the fingerprints if none.
        fold: Number of the one fold to train, `all` for one model of all photos, or none for
            every fold of the recipe.
        layout: How the photos lie; found by itself if none.
        cache_folder: Where resized photos are kept; the user's cache if none.
        cache_limit_bytes: Most that the cache of this run may take, or none.
        allow_noncommercial: Whether weights that may not be used commercially are fine.
        device: Where to compute; a GPU where there is one, if none.
        checkpoint_s: Seconds between two checkpoints within an epoch.
        corrections: A file of decisions about photos to carry out first, if any.
        track: Services that show the run while it is trained.
        track_limit_s: Most seconds to wait at the end until they have everything.
        teacher: Folder of the run or blend to learn from, where the recipe distils.
        jobs: How many folds to train at the same time.
    """

    out: Path | None = None
    fold: str | None = None
    layout: Layout | None = None
    cache_folder: Path | None = None
    cache_limit_bytes: int | None = None
    allow_noncommercial: bool = False
    device: torch.device | None = None
    checkpoint_s: float = 60.0
    corrections: Path | None = None
    track: tuple[Service, ...] = ()
    track_limit_s: float = LIMIT_S
    teacher: Path | None = None
    jobs: int = 1


def train(data: Path, recipe: Recipe, options: Options = Options()) -> Run | None:
    """Train every model of a run that is not trained yet, then join and score what they predict.

    Args:
        data: The photos with their labels.
        recipe: How to train.
        options: The rest.

    Returns:
        The run; none on the processes that only help the first.

    Raises:
        ChajongError: If anything in the data, recipe, weights or folder cannot be used.
        Interrupted: If the user stopped it; the same call goes on.
    """  # noqa: DOC502 raised by what it calls
    keep_large_blocks()
    with join_world(options.device) as world, ExitStack() as held:
        with world.leader_first():  # the others then find made what it makes
            material = _prepare(data, recipe, options, world)
            if world.leads:
                held.enter_context(material.run.alone())
        services = options.track if world.leads else ()
        trackers = held.enter_context(tracked(services, material.run, options.track_limit_s))
        _train_models(material, options, world, trackers)
        return material.run if world.leads else None


def _prepare(data: Path, recipe: Recipe, options: Options, world: World) -> Material:
    models = _models(recipe, options.fold)
    # Before any work: whether the weights can be had at all, and all of the recipe works here.
    world.check_batch(recipe.train.batch_size)
    _check_jobs(options, world)
    choose_precision(recipe.train.precision, world.device)
    recipe = recipe.model_copy(update={"model": located(recipe.model)})  # to be trained again
    network, source = build_network(recipe.model, 2, options.allow_noncommercial)
    _try_out(network, recipe)
    corrections = Corrections.load(options.corrections) if options.corrections else None
    teacher = _teacher_fingerprint(recipe, options)
    manifest = audit(data, options.layout, options.cache_folder)
    if corrections is not None:
        manifest = corrections.apply(manifest)
    manifest.check_classes()
    folds = (
        None if models == ("all",) else split(manifest, recipe.folds.num_folds, recipe.folds.seed)
    )
    facts = Record(
        recipe=recipe.name,
        recipe_fingerprint=recipe.fingerprint,
        data=str(data.resolve()),
        data_fingerprint=manifest.fingerprint,
        num_photos=manifest.trainable().height,
        models=models,
        weights=source.name,
        licence=source.licence,
        mean=source.mean,
        std=source.std,
        created=now(),
        corrections=corrections.fingerprint if corrections is not None else None,
        corrected=corrections.summary() if corrections is not None else None,
        corrections_file=_absolute(options.corrections),
        teacher=_absolute(options.teacher),
        teacher_fingerprint=teacher,
        layout=options.layout,
        environment={**describe_environment(), "device": _device_name(world.device)},
    )
    folder = options.out or Path("runs") / _folder_name(recipe, facts)
    run = start_run(folder, recipe, manifest, folds, facts) if world.leads else Run.load(folder)
    if folds is not None:
        folds = run.split()  # as it was at the start, should another version deal otherwise
    if world.leads:
        _introduce(run, manifest)
    return Material(
        *(run, manifest, folds, options.cache_folder, options.cache_limit_bytes, options.teacher)
    )


def _check_jobs(options: Options, world: World) -> None:
    if options.jobs < 1:
        raise TrainingError(f"--jobs must be 1 or more. Got {options.jobs}.")
    if options.jobs == 1:
        return
    if world.size > 1:
        raise TrainingError(
            "Under torchrun all processes train one fold together. Leave --jobs out there, or "
            "torchrun: --jobs alone gives each GPU a fold of its own."
        )
    if options.track:
        raise TrainingError(
            "A service is told of one fold at a time. Leave --jobs out, or --track, and send the "
            "run when it is done: chajong runs push RUN --to SERVICE"
        )


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _teacher_fingerprint(recipe: Recipe, options: Options) -> str | None:
    if (recipe.distil is None) != (options.teacher is None):
        raise RecipeError(
            f"The recipe {recipe.name} learns from a teacher: say which run or blend with "
            "--teacher FOLDER, or set distil=null."
            if options.teacher is None
            else f"The recipe {recipe.name} learns from no teacher: leave --teacher out, or set "
            "distil.alpha=0.7."
        )
    if options.teacher is None:
        return None
    # They open models as `predict` does.
    from chajong.training.distil import check_sides, fingerprint_of, load_teacher

    teacher = load_teacher(options.teacher)
    if recipe.distil is not None and recipe.distil.online:
        check_sides(teacher, recipe.data)
    return fingerprint_of(teacher)


def _try_out(network: nn.Module, recipe: Recipe) -> None:
    make_optimiser(network, recipe.optim)
    choose_what_learns(network, False, recipe.model.frozen_stages)
    data, views = recipe.data, recipe.infer.views
    trained_px = set(data.trained_px)
    asked_px = {data.evaluation_px, *(side_of(view, data.evaluation_px) for view in views)}
    for side_px in sorted(trained_px | asked_px):
        if reason := why_not(network, side_px):
            raise RecipeError(
                f"model.backbone '{recipe.model.backbone}' takes no photos of {side_px} px: "
                f"{reason}. Set data.size_px, data.grow, data.eval_px and infer.views (small and "
                "large are other sizes) to what it takes, or choose another backbone."
            )


def _models(recipe: Recipe, fold: str | None) -> tuple[str, ...]:
    if fold == "all":
        return ("all",)
    names = tuple(str(number) for number in range(recipe.folds.num_folds))
    if fold is not None and fold not in names:
        raise RunError(
            f"--fold must be a fold's number, {names[0]} to {names[-1]}, or 'all'. Got '{fold}'."
        )
    trained = tuple(str(number) for number in recipe.folds.to_train)
    if fold is not None and fold not in trained:
        raise RunError(
            f"The recipe trains fold {', '.join(trained)} only. Got --fold {fold}. "
            f"Add --set folds.trained=[{fold}] to train that one instead."
        )
    return trained


def _folder_name(recipe: Recipe, facts: Record) -> str:
    kind = "-all" if facts.models == ("all",) else ""
    taught = [facts.teacher_fingerprint] if facts.teacher_fingerprint is not None else []
    name = fingerprint(facts.recipe_fingerprint, facts.data_fingerprint, *taught)[:8]
    return f"{recipe.name}{kind}-{name}"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"cpu ({torch.get_num_threads()} threads)"


def _introduce(run: Run, manifest: Manifest) -> None:
    unreadable = manifest.table.filter(~pl.col("readable") & (pl.col("part") == "train")).height
    left_out = f", {unreadable} unreadable left out" if unreadable else ""
    record = run.record
    say(f"{record.num_photos:,} photos of {len(run.labels.names)} classes{left_out}")
    say(f"recipe {run.recipe.name} on {run.recipe.model.backbone}, {record.weights}")
    if record.corrected:
        say(f"corrections: {record.corrected}")
    if record.teacher:
        say(f"learns from {record.teacher}")
    if record.licence:
        say(f"licence of the weights: {record.licence}")
    for remark in remarks(run.recipe, _num_learned(run), run.models == ("all",)):
        say(f"note: {remark}")
    say(f"run folder {run.folder}; device {record.environment['device']}")


def _num_learned(run: Run) -> int:
    # By each model.
    num = run.record.num_photos
    return num if run.models == ("all",) else num - num // run.recipe.folds.num_folds


def _train_models(material: Material, options: Options, world: World, trackers: Trackers) -> None:
    run = material.run
    asked = (options.fold,) if options.fold is not None else run.models
    missing = [name for name in asked if not run.is_done(name)]
    if world.leads:
        for name in run.done:
            tidy(run.model_folder(name))
    if missing:
        cache, every_s = material.cache(), options.checkpoint_s
        # One that is left has its share of the threads too, so that it comes out the same.
        if options.jobs > 1 and len(asked) > 1:
            train_side_by_side(material, missing, options.jobs, world.device, every_s)
        else:
            for name in missing:
                train_model(material, name, cache, world, every_s, trackers)
                world.wait()
    if material.folds is not None and world.leads:
        _join(run, material.manifest, material.folds)


def _join(run: Run, manifest: Manifest, folds: Split) -> None:
    if len(run.done) < len(run.models) or run.score_path.exists():
        return
    parts = [Predictions.load(run.held_out_path(name)) for name in run.models]
    held_out = folds.table.filter(pl.col("fold").is_in([int(name) for name in run.models]))
    table = Predictions.merge_folds(parts, expected=held_out["id"].to_list())
    table.save(run.predictions_path)
    found = score(table, table.truth(), run.labels.equal, manifest.groups())
    replace(found, notes=(*found.notes, *run.caution)).save(run.score_path)
