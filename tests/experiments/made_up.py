"""Runs with predictions that nobody trained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chajong.files import write_json
from chajong.predictions import Predictions
from chajong.recipe import Recipe
from chajong.recipes import load_recipe
from chajong.run import Run, finish_model
from chajong.run_start import start_run
from chajong.score import score
from chajong.split import split
from tests.manifests import manifest_of, photo_rows
from tests.runs import facts

RECIPE = load_recipe("demo", ["folds.num_folds=2"])
NAMES = ("가", "나", "다")


def recipe(*changes: str) -> Recipe:
    return load_recipe("demo", ["folds.num_folds=2", *changes])


def labels_of(num_photos: int) -> list[str]:
    return [NAMES[number % len(NAMES)] for number in range(num_photos)]


def answers(labels: Sequence[str], skill: float, seed: int = 0) -> NDArray[np.float32]:
    """(n, c) log-probabilities; the more skill, the likelier the true class."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(labels), len(NAMES)))
    logits[np.arange(len(labels)), [NAMES.index(label) for label in labels]] += skill
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), np.float32)


def make_run(
    folder: Path,
    labels: Sequence[str],
    log_probs: NDArray[np.float32],
    how: Recipe = RECIPE,
    *,
    groups: Sequence[int] | None = None,
    done: Sequence[str] = ("0", "1"),
) -> Run:
    """A run of two folds whose models said so of the photos that they held out."""
    manifest = manifest_of(photo_rows(labels, groups))
    folds = split(manifest, 2, how.folds.seed)
    run = start_run(folder, how, manifest, folds, facts(how, manifest))
    place = {id_: number for number, id_ in enumerate(manifest.table["id"])}
    parts = []
    for name in done:
        ids = folds.table.filter(folds.table["fold"] == int(name))["id"].to_list()
        rows = [place[id_] for id_ in ids]
        part = Predictions(
            ids=tuple(ids),
            statuses=("ok",) * len(ids),
            classes=manifest.labels.names,
            views=("plain",),
            log_probs=log_probs[rows][:, None],
            kind="oof",
            run=run.fingerprint,
            labels=tuple(labels[row] for row in rows),
            folds=(int(name),) * len(ids),
        )
        part.save(run.model_folder(name) / "oof.parquet")
        (run.model_folder(name) / "weights.raw.safetensors").write_bytes(part.log_probs.tobytes())
        finish_model(run.model_folder(name), {"seconds": 1.0, "precision": "fp32"}, [])
        parts.append(part)
    if len(done) == 2:
        table = Predictions.merge_folds(parts)
        table.save(run.predictions_path)
        write_json(run.score_path, score(table, table.truth(), run.labels.equal).as_dict())
    return run
