"""From finished runs and unlabelled photos to the evidence of how well they will be answered.

Shapes: n held-out photos, m photos asked about, k models, c classes, d features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from chajong.errors import DataError, RunError
from chajong.evidence import Evidence, check_enough, share_outside
from chajong.expectation import Expectation
from chajong.expectation import expect as conclude
from chajong.files import sha256_if_any
from chajong.held_out import learned, whole_table
from chajong.labels import Labels
from chajong.photos.cache import build_cache, default_cache_folder
from chajong.photos.layout import PhotoRef, find_unlabelled
from chajong.photos.stream import good_pixels, read_batches
from chajong.photos.tone import MEASURES, change_tone, fit_change, levels, measures
from chajong.pooling import geometric_mean, in_turn, merged
from chajong.predictions import Predictions
from chajong.progress import Progress
from chajong.recipe import Recipe
from chajong.run import Run
from chajong.training.allocator import keep_large_blocks
from chajong.training.infer import Eye
from chajong.training.last_layer import head_inputs
from chajong.training.model import evaluation_preprocess
from chajong.training.predict import open_eye
from chajong.training.world import pick_device

_BATCH = 64
_PADDING = 128  # the grey around letterboxed photos, which no light changes

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Curves = NDArray[np.float64]


def expect(
    runs: Sequence[Run],
    photos: Path,
    device: torch.device | None = None,
    cache_folder: Path | None = None,
    seed: int = 0,
) -> Expectation:
    """Say what the log loss of runs on unlabelled photos will be.

    Args:
        runs: At least one; their geometric mean is what will be submitted.
        photos: The unlabelled photos, as for `predict`.
        device: Where to compute; a GPU where there is one, if none.
        cache_folder: Where resized photos are kept; the user's cache if none.
        seed: Seed of all draws.

    Returns:
        The expectation.

    Raises:
        RunError: If a run has no out-of-fold table, or the runs are not of the same photos.
        DataError: If no photo can be read.
    """  # noqa: DOC502 raised by `gather`
    found = conclude(gather(runs, photos, device, cache_folder, seed), seed)
    return replace(
        found,
        num_models=max(len(run.done) for run in runs),
        warnings=(*found.warnings, *(line for run in runs for line in run.caution)),
    )


def gather(
    runs: Sequence[Run],
    photos: Path,
    device: torch.device | None = None,
    cache_folder: Path | None = None,
    seed: int = 0,
) -> Evidence:
    """Let models look at the photos asked about, and at held-out photos made to look like them.

    Args:
        runs: At least one.
        photos: The unlabelled photos.
        device: Where to compute; a GPU where there is one, if none.
        cache_folder: Where resized photos are kept; the user's cache if none.
        seed: Seed of the draws.

    Returns:
        The evidence.

    Raises:
        RunError: If a run has no out-of-fold table, or the runs are not of the same photos.
        DataError: If no photo can be read.
    """  # noqa: DOC502 raised by what it calls
    tables = _tables(runs)
    keep_large_blocks()
    refs = find_unlabelled(photos)
    device = device or pick_device()
    held = _held_out(runs[0], tables)
    check_enough(held.groups, len(refs))
    asked = [_look_at_files(run, refs, device) for run in runs]
    stores = [_store(run, held, cache_folder) for run in runs]
    before, shades = _measure(stores[0])
    change = fit_change(shades, asked[0].levels, seed)
    curves = change.draw(len(held.ids), seed)
    shown = [
        _look_at_held_out(run, table, held, store, curves, device)
        for run, table, store in zip(runs, tables, stores, strict=True)
    ]
    labels, known = runs[0].labels, set().union(*map(learned, runs))
    return Evidence(
        plain=mean_of_runs([table.log_probs_of(held.ids) for table in tables], labels),
        shifted=mean_of_runs([look.log_probs for look in shown], labels),
        truth=labels.merged_places[labels.indices(list(held.labels))],
        groups=held.groups,
        # A held-out photo has an answer of one model of each run, and so has one asked about, in
        # all the ways that these go together.
        asked=mean_of_runs(in_turn([look.log_probs for look in asked]), labels),
        measures=before,
        shifted_measures=shown[0].measures,
        asked_measures=asked[0].measures,
        outside=_outside(shown[0], asked[0], held.groups),
        change=change,
        num_unreadable=len(refs) - len(asked[0].measures),
        num_learned=sum(sha256_if_any(ref.path) in known for ref in refs),
    )


def toned(recipe: Recipe, pixels: Pixels, curves: Curves) -> Pixels:
    """Change the light of preprocessed photos, but not the grey that they are padded with.

    Args:
        recipe: How they are preprocessed.
        pixels: RGB `(n, s, s, 3)`.
        curves: `(n, 2)` as `change_tone` takes them.

    Returns:
        Pixels of the same shape.
    """
    changed = change_tone(pixels, curves)
    if recipe.data.aspect != "letterbox":
        return changed
    return np.where((pixels == _PADDING).all(axis=3, keepdims=True), pixels, changed)


@dataclass(frozen=True, eq=False)
class _HeldOut:
    # Photos of which each run has a model that has not learned from them.
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    groups: NDArray[np.int64]
    sha256s: tuple[str, ...]
    files: Mapping[str, Path]  # of the run's cache, by content


@dataclass(frozen=True, eq=False)
class _Store:
    pixels: Pixels  # of the run's cache
    places: NDArray[np.intp]  # (n,) of those held out


@dataclass(frozen=True, eq=False)
class _Asked:
    log_probs: Floats  # (k, m, c)
    features: tuple[Floats, ...]  # k of (m, d)
    measures: Floats
    levels: Floats


@dataclass(frozen=True, eq=False)
class _Shown:
    log_probs: Floats  # (n, c), each row by the model that has not learned from it
    features: tuple[tuple[NDArray[np.intp], Floats], ...]  # k of rows and (rows, d)
    measures: Floats


def _tables(runs: Sequence[Run]) -> list[Predictions]:
    if not runs:
        raise RunError("There are no runs to judge: give at least one.")
    tables = [whole_table(run) for run in runs]
    for run in runs:
        if run.record.data_fingerprint != runs[0].record.data_fingerprint:
            raise RunError(
                f"{run.folder} and {runs[0].folder} are trained on different photos or classes, "
                "so their mean cannot be judged. Give runs of the same data."
            )
    return tables


def _held_out(run: Run, tables: Sequence[Predictions]) -> _HeldOut:
    shared = set.intersection(*(set(table.ids) for table in tables))
    if not shared:
        raise RunError("No photo is held out by every run. Train all folds of each run.")
    manifest = run.manifest()
    every = manifest.trainable()
    rows = every.filter(every["id"].is_in(list(shared)))
    return _HeldOut(
        ids=tuple(rows["id"]),
        labels=tuple(rows["label"]),
        groups=rows["group"].to_numpy(),
        sha256s=tuple(rows["sha256"]),
        files=manifest.to_cache(),
    )


def _store(run: Run, held: _HeldOut, folder: Path | None) -> _Store:
    folder = (folder or default_cache_folder()) / "photos"
    cache = build_cache(held.files, evaluation_preprocess(run.recipe), folder)
    return _Store(cache.pixels, np.array([cache.rows[sha256] for sha256 in held.sha256s]))


def _measure(store: _Store) -> tuple[Floats, Floats]:
    parts = []
    with Progress("measuring photos", len(store.places)) as progress:
        for chunk in _chunks(store.places):
            parts.append((measures(store.pixels[chunk]), levels(store.pixels[chunk])))
            progress.advance(len(chunk))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _look_at_files(run: Run, refs: Sequence[PhotoRef], device: torch.device) -> _Asked:
    eyes = [open_eye(run, name, device) for name in run.done]
    looks: list[list[tuple[Floats, Floats]]] = [[] for _ in eyes]
    facts: list[tuple[Floats, Floats]] = []
    with Progress(f"asking {len(eyes)} model(s)", len(refs)) as progress:
        for batch in read_batches(refs, evaluation_preprocess(run.recipe), _BATCH):
            pixels = good_pixels(batch)[1]
            if len(pixels):
                facts.append((measures(pixels), levels(pixels)))
                for eye, look in zip(eyes, looks, strict=True):
                    look.append(_see(eye, pixels, run.recipe.infer.views))
            progress.advance(len(batch))
    if not facts:
        raise DataError(f"None of the {len(refs):,} photos can be read. Look: chajong predict")
    return _Asked(
        log_probs=np.stack([np.concatenate([part[0] for part in look]) for look in looks]),
        features=tuple(np.concatenate([part[1] for part in look]) for look in looks),
        measures=np.concatenate([part[0] for part in facts]),
        levels=np.concatenate([part[1] for part in facts]),
    )


def _look_at_held_out(
    run: Run,
    table: Predictions,
    held: _HeldOut,
    store: _Store,
    curves: Curves,
    device: torch.device,
) -> _Shown:
    fold_of = dict(zip(table.ids, table.folds or (), strict=True))
    folds = np.array([fold_of[id_] for id_ in held.ids])
    log_probs = np.zeros((len(held.ids), len(table.classes)), np.float32)
    facts = np.zeros((len(held.ids), len(MEASURES)), np.float32)
    features = []
    with Progress("asking about held-out photos", len(held.ids)) as progress:
        for name in run.done:
            eye, parts = open_eye(run, name, device), []
            rows = np.flatnonzero(folds == int(name))
            for chunk in _chunks(rows):
                pixels = toned(run.recipe, store.pixels[store.places[chunk]], curves[chunk])
                log_probs[chunk], seen = _see(eye, pixels, run.recipe.infer.views)
                facts[chunk] = measures(pixels)
                parts.append(seen)
                progress.advance(len(chunk))
            features.append((rows, np.concatenate(parts) if parts else facts[:0]))
    return _Shown(log_probs, tuple(features), facts)


def _see(eye: Eye, pixels: Pixels, views: Sequence[str]) -> tuple[Floats, Floats]:
    # Log-probabilities (n, c) over all views, and what the last layer got in the first view.
    with head_inputs(eye.network) as seen:
        log_probs = eye.look(torch.from_numpy(pixels), views)
    return geometric_mean(log_probs, axis=1).astype(np.float32), seen[0].cpu().numpy()


def _chunks(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def mean_of_runs(runs: Sequence[NDArray[np.floating]], labels: Labels) -> Floats:
    """Take the geometric mean of runs, equal classes as one for each before it is taken.

    Args:
        runs: Of each (..., c) log-probabilities.
        labels: The classes.

    Returns:
        (..., g) log-probabilities, in the order of `merged`.
    """
    return geometric_mean(np.stack([merged(each, labels.canonical) for each in runs])).astype(
        np.float32
    )


def _outside(shown: _Shown, asked: _Asked, groups: NDArray[np.int64]) -> float:
    pairs = zip(shown.features, asked.features, strict=True)
    shares = [
        share_outside(here, groups[rows], there) for (rows, here), there in pairs if len(rows)
    ]
    return float(np.mean(shares))
