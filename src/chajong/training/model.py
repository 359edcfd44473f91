"""One model of a run: what it learns from, its training, its files."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from chajong.environment import peak_memory_bytes
from chajong.files import locked
from chajong.live import FILE as LIVE
from chajong.manifest import Manifest
from chajong.photos.cache import Cache, build_cache, default_cache_folder
from chajong.photos.preprocess import Preprocess
from chajong.predictions import Predictions
from chajong.progress import duration, say
from chajong.recipe import Recipe
from chajong.run import Run, finish_model
from chajong.split import Split
from chajong.tracking.guard import Trackers
from chajong.training.failures import explained
from chajong.training.fit import CHECKPOINT, Fit
from chajong.training.fold import Fold
from chajong.training.loader import Examples
from chajong.training.teacher import Teacher
from chajong.training.weights import build_network, save_weights
from chajong.training.world import World

_LOCK = ".lock.tmp"  # goes with what else a killed process left


@dataclass(frozen=True)
class Material:
    """What the models of a run learn from.

    Args:
        run: The run.
        manifest: Its photos, where they lie now.
        folds: Which photos each model leaves out; none for one model of all photos.
        cache_folder: Where resized photos are kept; the user's cache if none.
        cache_limit_bytes: Most that the cache of this run may take, or none.
        teacher: Folder of the run or blend that teaches, if any.
    """

    run: Run
    manifest: Manifest
    folds: Split | None
    cache_folder: Path | None = None
    cache_limit_bytes: int | None = None
    teacher: Path | None = None

    def cache(self) -> Cache:
        """Resize the photos that are not resized yet, and open them.

        Returns:
            The pixels.

        Raises:
            DataError: If a photo is no longer there.
        """  # noqa: DOC502 raised by what it calls
        return build_cache(
            self.manifest.to_cache(),
            evaluation_preprocess(self.run.recipe),
            (self.cache_folder or default_cache_folder()) / "photos",
            self.cache_limit_bytes,
        )

    def fold(self, name: str, cache: Cache) -> Fold:
        """Give a model its photos.

        Args:
            name: Number of the fold, or `all`.
            cache: The pixels.

        Returns:
            What it learns from, and what it is checked on.
        """
        from chajong.training.distil import out_of_fold, soft_targets

        recipe, labels, rows = self.run.recipe, self.run.labels, self.manifest.trainable()

        def examples(chosen: pl.DataFrame) -> Examples:
            places = np.array([cache.rows[sha256] for sha256 in chosen["sha256"]], dtype=np.intp)
            return Examples(cache.pixels, places, labels.indices(chosen["label"].to_list()))

        validation = None
        train_rows = rows
        if self.folds is not None:
            held_out = rows["id"].is_in(self._held_out(name))
            train_rows, validation = rows.filter(~held_out), examples(rows.filter(held_out))
        learned, distil, said = examples(train_rows), recipe.distil, None
        if self.teacher is not None and distil is not None and not distil.online:
            said = out_of_fold(self.teacher, train_rows["id"].to_list(), labels)
        soft = soft_targets(learned.targets, labels, recipe.taxonomy, distil, said)
        return Fold(
            name=name,
            train=replace(learned, soft=soft),
            validation=validation,
            num_classes=len(labels.names),
            canonical=labels.canonical,
            folder=self.run.model_folder(name),
        )

    def networks_that_teach(self, name: str, device: torch.device) -> Teacher | None:
        """Open the teacher's networks, where they teach on the same pixels.

        Args:
            name: Number of the fold, or `all`.
            device: Where they compute.

        Returns:
            Those that did not learn the fold's held-out photos; none if there is no such teacher.
        """
        distil = self.run.recipe.distil
        if distil is None or self.teacher is None or not distil.online:
            return None
        from chajong.training.distil import load_teacher, networks_of

        eyes = networks_of(load_teacher(self.teacher), self.run.labels, self.folds, name, device)
        return Teacher(eyes, distil, self.run.record.mean, self.run.record.std)

    def out_of_fold(
        self, name: str, log_probs: "np.ndarray[Any, np.dtype[np.float32]]"
    ) -> Predictions:
        """Make the table of what a model says of the photos that it did not learn.

        Args:
            name: Number of the fold.
            log_probs: `(v, n, c)`, in the order of the manifest.

        Returns:
            The table.
        """
        run, rows = self.run, self.manifest.trainable()
        rows = rows.filter(rows["id"].is_in(self._held_out(name)))
        return Predictions(
            ids=tuple(rows["id"]),
            statuses=("ok",) * len(rows),
            classes=run.labels.names,
            views=run.recipe.infer.views,
            log_probs=log_probs,
            kind="oof",
            run=run.fingerprint,
            labels=tuple(rows["label"]),
            folds=(int(name),) * len(rows),
        )

    def _held_out(self, name: str) -> Sequence[str]:
        assert self.folds is not None
        return self.folds.table.filter(pl.col("fold") == int(name))["id"].to_list()


def evaluation_preprocess(recipe: Recipe) -> Preprocess:
    """Give the one way in which a recipe's models see a photo that is not augmented.

    Args:
        recipe: The recipe.

    Returns:
        The transform from bytes to pixels.
    """
    return Preprocess(recipe.data.evaluation_px, recipe.data.aspect)


def train_model(
    material: Material,
    name: str,
    cache: Cache,
    world: World,
    checkpoint_s: float = 60.0,
    trackers: Trackers | None = None,
) -> None:
    """Train one model of a run, or go on with it, and write its files.

    A process that was killed holds the run no longer, but those that it started may not be through
    yet: they are waited for.

    Args:
        material: What it learns from.
        name: Number of the fold, or `all`.
        cache: The pixels.
        world: This process's place among those that train together.
        checkpoint_s: Seconds between two checkpoints within an epoch.
        trackers: Services that are told what is measured, if any.

    Raises:
        Interrupted: If the user stopped it, after a checkpoint was written.
        TrainingError: If the loss is not finite.
    """  # noqa: DOC502 raised by what it calls
    lock = material.run.model_folder(name) / _LOCK
    with locked(lock, wait=True) if world.leads else nullcontext():
        if world.size > 1 or not material.run.is_done(name):
            with explained(material.run.recipe.train):
                _train(material, name, cache, world, checkpoint_s, trackers)


def _train(
    material: Material,
    name: str,
    cache: Cache,
    world: World,
    checkpoint_s: float,
    trackers: Trackers | None,
) -> None:
    begin = time.perf_counter()
    run, fold = material.run, material.fold(name, cache)
    teacher = material.networks_that_teach(name, world.device)
    torch.manual_seed(
        int(np.random.default_rng([run.recipe.train.seed, fold.number]).integers(2**31))
    )
    network, _ = build_network(run.recipe.model, fold.num_classes, allow_noncommercial=True)
    mean, std = run.record.mean, run.record.std
    fit = Fit(run.recipe, fold, network, mean, std, world, checkpoint_s, trackers, teacher)
    history = fit.run()
    averaged = run.recipe.answers_by == "ema"
    facts: dict[str, Any] = {
        "seconds": sum(entry["seconds"] for entry in history),
        "wall_s": time.perf_counter() - begin,
        "epochs": len(history),
        "best_epoch": fit.at.best_epoch,
        "precision": fit.precision,
        "processes": world.size,
        "threads": torch.get_num_threads(),
        "peak_memory_bytes": _peak_memory(),
    }
    if fold.validation is not None:
        log_probs = fit.look(fold.validation, run.recipe.infer.views, averaged)
        if world.leads:
            material.out_of_fold(name, log_probs).save(run.held_out_path(name))
    if world.leads:
        for kind, state in fit.states().items():
            save_weights(run.weights_path(name, kind), state)
        finish_model(fold.folder, facts, history)
        tidy(fold.folder)
        say(f"fold {fold.name} is trained, {duration(facts['wall_s'])} in this process")


def tidy(folder: Path) -> None:
    """Take away the checkpoint of a model that is done, and what killed processes left behind.

    Args:
        folder: The model's.
    """
    for leftover in (folder / CHECKPOINT, folder / LIVE, *folder.glob(".*.tmp")):
        leftover.unlink(missing_ok=True)


def _peak_memory() -> dict[str, int]:
    # Of this process since it began, and of its GPU.
    peak = {"memory": peak_memory_bytes()}
    if torch.cuda.is_available():
        peak["GPU memory"] = torch.cuda.max_memory_allocated()
    return peak
