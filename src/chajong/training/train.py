"""From a folder of photos and a recipe to a finished run."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from chajong.blending.blend import Blend
from chajong.corrections import Corrections
from chajong.environment import describe_environment, peak_memory_bytes
from chajong.errors import RecipeError, RunError
from chajong.files import fingerprint, write_json
from chajong.live import FILE as LIVE
from chajong.manifest import Manifest
from chajong.photos.audit import audit
from chajong.photos.cache import Cache, build_cache, default_cache_folder
from chajong.photos.layout import Layout
from chajong.photos.preprocess import Preprocess
from chajong.predictions import Predictions
from chajong.progress import duration, say
from chajong.recipe import Recipe
from chajong.run import Record, Run, finish_model, now
from chajong.score import score
from chajong.split import Split, split
from chajong.tracking.guard import LIMIT_S, Trackers, tracked
from chajong.tracking.tracker import Service
from chajong.training.allocator import keep_large_blocks
from chajong.training.fit import CHECKPOINT, Fit
from chajong.training.fold import Fold
from chajong.training.loader import Examples
from chajong.training.optim import choose_what_learns, make_optimiser
from chajong.training.precision import choose_precision
from chajong.training.teacher import Teacher
from chajong.training.weights import build_network, save_weights
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
            run, manifest, folds = _prepare(data, recipe, options, world)
            if world.leads:
                held.enter_context(run.alone())
        services = options.track if world.leads else ()
        trackers = held.enter_context(tracked(services, run, options.track_limit_s))
        _train_models(run, manifest, folds, options, world, trackers)
        return run if world.leads else None


def _prepare(
    data: Path, recipe: Recipe, options: Options, world: World
) -> tuple[Run, Manifest, Split | None]:
    models = _models(recipe, options.fold)
    # Before any work: whether the weights can be had at all, and all of the recipe works here.
    world.check_batch(recipe.train.batch_size)
    choose_precision(recipe.train.precision, world.device)
    network, source = build_network(recipe.model, 2, options.allow_noncommercial)
    _try_out(network, recipe)
    corrections = Corrections.load(options.corrections) if options.corrections else None
    teacher = _teacher(recipe, options)
    manifest = audit(data, options.layout, options.cache_folder)
    if corrections is not None:
        manifest = corrections.apply(manifest)
    rows = manifest.trainable()
    folds = (
        None if models == ("all",) else split(manifest, recipe.folds.num_folds, recipe.folds.seed)
    )
    facts = Record(
        recipe=recipe.name,
        recipe_fingerprint=recipe.fingerprint,
        data=str(data.resolve()),
        data_fingerprint=manifest.fingerprint,
        num_photos=len(rows),
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
        teacher_fingerprint=teacher.fingerprint if teacher is not None else None,
        layout=options.layout,
        environment={**describe_environment(), "device": _device_name(world.device)},
    )
    folder = options.out or Path("runs") / _folder_name(recipe, facts)
    run = Run.start(folder, recipe, manifest, folds, facts) if world.leads else Run.load(folder)
    if world.leads:
        _introduce(run, manifest)
    return run, manifest, folds


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _teacher(recipe: Recipe, options: Options) -> Run | Blend | None:
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
    from chajong.training.distil import load_teacher  # it opens models as `predict` does

    return load_teacher(options.teacher)


def _try_out(network: nn.Module, recipe: Recipe) -> None:
    make_optimiser(network, recipe.optim)
    choose_what_learns(network, False, recipe.model.frozen_stages)
    data = recipe.data
    sizes_px = {data.size_px, data.evaluation_px, *(step.size_px for step in data.grow)}
    for size_px in sorted(sizes_px):
        try:
            with torch.inference_mode():
                network.eval()(torch.zeros(1, 3, size_px, size_px))
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise RecipeError(
                f"model.backbone '{recipe.model.backbone}' takes no photos of {size_px} px: "
                f"{reason[:200]}. Set data.size_px, data.grow and data.eval_px to what it takes, "
                "or choose another backbone."
            ) from error


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
    say(f"run folder {run.folder}; device {record.environment['device']}")


def _train_models(
    run: Run,
    manifest: Manifest,
    folds: Split | None,
    options: Options,
    world: World,
    trackers: Trackers,
) -> None:
    asked = (options.fold,) if options.fold is not None else run.models
    missing = [name for name in asked if not run.is_done(name)]
    if world.leads:
        for name in run.done:
            _tidy(run.model_folder(name))
    if missing:
        cache = _cache(run, manifest, options)
        for name in missing:
            fold = _fold(run, name, manifest, folds, cache, options.teacher)
            teacher = _networks_that_teach(run, name, folds, options.teacher, world.device)
            _train_model(run, fold, manifest, world, options.checkpoint_s, trackers, teacher)
            world.wait()
    if folds is not None and world.leads:
        _join(run, manifest)


def _cache(run: Run, manifest: Manifest, options: Options) -> Cache:
    rows = manifest.trainable()
    files = {
        sha256: manifest.path_of(path)
        for sha256, path in zip(rows["sha256"], rows["path"], strict=True)
    }
    return build_cache(
        files,
        evaluation_preprocess(run.recipe),
        (options.cache_folder or default_cache_folder()) / "photos",
        options.cache_limit_bytes,
    )


def evaluation_preprocess(recipe: Recipe) -> Preprocess:
    """Give the one way in which a recipe's models see a photo that is not augmented.

    Args:
        recipe: The recipe.

    Returns:
        The transform from bytes to pixels.
    """
    return Preprocess(recipe.data.evaluation_px, recipe.data.aspect)


def _networks_that_teach(
    run: Run, name: str, folds: Split | None, teacher: Path | None, device: torch.device
) -> Teacher | None:
    distil = run.recipe.distil
    if distil is None or teacher is None or not distil.online:
        return None
    from chajong.training.distil import load_teacher, networks_of

    eyes = networks_of(load_teacher(teacher), run.labels, folds, name, device)
    return Teacher(eyes, distil, run.record.mean, run.record.std)


def _fold(
    run: Run,
    name: str,
    manifest: Manifest,
    folds: Split | None,
    cache: Cache,
    teacher: Path | None = None,
) -> Fold:
    from chajong.training.distil import out_of_fold, soft_targets

    rows, recipe = manifest.trainable(), run.recipe

    def examples(chosen: pl.DataFrame) -> Examples:
        places = np.array([cache.rows[sha256] for sha256 in chosen["sha256"]], dtype=np.intp)
        return Examples(cache.pixels, places, run.labels.indices(chosen["label"].to_list()))

    validation = None
    train_rows = rows
    if folds is not None:
        held_out = rows["id"].is_in(_fold_ids(folds, name))
        train_rows, validation = rows.filter(~held_out), examples(rows.filter(held_out))
    learned, distil, said = examples(train_rows), recipe.distil, None
    if teacher is not None and distil is not None and not distil.online:
        said = out_of_fold(teacher, train_rows["id"].to_list(), run.labels)
    soft = soft_targets(learned.targets, run.labels, recipe.taxonomy, distil, said)
    return Fold(
        name=name,
        train=replace(learned, soft=soft),
        validation=validation,
        num_classes=len(run.labels.names),
        canonical=run.labels.canonical,
        folder=run.model_folder(name),
    )


def _fold_ids(folds: Split, name: str) -> list[str]:
    return folds.table.filter(pl.col("fold") == int(name))["id"].to_list()


def _train_model(
    run: Run,
    fold: Fold,
    manifest: Manifest,
    world: World,
    checkpoint_s: float,
    trackers: Trackers,
    teacher: Teacher | None,
) -> None:
    begin = time.perf_counter()
    torch.manual_seed(
        int(np.random.default_rng([run.recipe.train.seed, fold.number]).integers(2**31))
    )
    network, _ = build_network(run.recipe.model, fold.num_classes, allow_noncommercial=True)
    mean, std = run.record.mean, run.record.std
    fit = Fit(run.recipe, fold, network, mean, std, world, checkpoint_s, trackers, teacher)
    history = fit.run()
    averaged = fit.average is not None and run.recipe.infer.weights == "ema"
    facts: dict[str, Any] = {
        "seconds": sum(entry["seconds"] for entry in history),
        "wall_s": time.perf_counter() - begin,
        "epochs": len(history),
        "best_epoch": fit.at.best_epoch,
        "precision": fit.precision,
        "processes": world.size,
        "peak_memory_bytes": _peak_memory(),
    }
    if fold.validation is not None:
        log_probs = fit.look(fold.validation, run.recipe.infer.views, averaged)
        if world.leads:
            _out_of_fold(run, fold, manifest, log_probs).save(fold.folder / "oof.parquet")
    if world.leads:
        for kind, state in fit.states().items():
            save_weights(fold.folder / f"weights.{kind}.safetensors", state)
        finish_model(fold.folder, facts, history)
        _tidy(fold.folder)
        say(f"fold {fold.name} is trained, {duration(facts['wall_s'])} in this process")


def _peak_memory() -> dict[str, int]:
    # Of this process since it began, and of its GPU.
    peak = {"memory": peak_memory_bytes()}
    if torch.cuda.is_available():
        peak["GPU memory"] = torch.cuda.max_memory_allocated()
    return peak


def _tidy(folder: Path) -> None:
    # The checkpoint, and what processes that were killed while writing left behind.
    for leftover in (folder / CHECKPOINT, folder / LIVE, *folder.glob(".*.tmp")):
        leftover.unlink(missing_ok=True)


def _out_of_fold(
    run: Run, fold: Fold, manifest: Manifest, log_probs: np.ndarray[Any, np.dtype[np.float32]]
) -> Predictions:
    rows = manifest.trainable()
    rows = rows.filter(rows["id"].is_in(_fold_ids(run.split(), fold.name)))
    return Predictions(
        ids=tuple(rows["id"]),
        statuses=("ok",) * len(rows),
        classes=run.labels.names,
        views=run.recipe.infer.views,
        log_probs=log_probs,
        kind="oof",
        run=run.fingerprint,
        labels=tuple(rows["label"]),
        folds=(int(fold.name),) * len(rows),
    )


def _join(run: Run, manifest: Manifest) -> None:
    trained = [name for name in run.models if run.is_done(name)]
    if len(trained) < len(run.models) or run.score_path.exists():
        return
    parts = [Predictions.load(run.model_folder(name) / "oof.parquet") for name in trained]
    table = Predictions.merge_folds(parts)
    table.save(run.predictions_path)
    groups = dict(zip(manifest.table["id"], manifest.table["group"], strict=True))
    found = score(table, table.truth(), run.labels.equal, groups)
    write_json(run.score_path, found.as_dict())
