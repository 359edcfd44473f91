"""How long the report of a large run takes, and how large it is.

A run folder as of the used-car challenge is made up: its 396 classes, 33,000 held-out photos (the
given ones over and over), two views, a network with weights of chance. The report is written in a
process of its own, so that nothing is warm.

    python -m benchmarks.report_size DATA [--photos 33000] [--keep FOLDER]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from chajong.environment import describe_environment
from chajong.files import write_json
from chajong.labels import Labels, known_equal, known_names
from chajong.manifest import ISSUE_COLUMNS, PHOTO_COLUMNS, Manifest
from chajong.metrics import CLIP
from chajong.photos.layout import find_photos
from chajong.predictions import Predictions
from chajong.recipe import Folds
from chajong.recipes import named_recipe
from chajong.record import Record, now
from chajong.run import Run, finish_model
from chajong.run_start import start_run
from chajong.score import score
from chajong.split import split
from chajong.training.weights import build_network, save_weights

FOLDS = 5


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, default=33_000)
    parser.add_argument("--keep", type=Path, help="where to leave the run; a temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = made_up(given.data, given.photos, given.keep or Path(folder) / "run")
        page = run.folder / "report.html"
        start = time.perf_counter()
        command = [sys.executable, "-m", "chajong", "report", str(run.folder), "--out", str(page)]
        subprocess.run(command, check=True)
        took, size = time.perf_counter() - start, page.stat().st_size / 1e6
        num_classes = len(run.labels.names)
        print(f"{given.photos:,} photos of {num_classes} classes: {took:.1f} s, {size:.1f} MB")


def made_up(data: Path, num: int, folder: Path) -> Run:
    """Make a finished run whose answers are drawn: right four times of five, sure or not."""
    rng = np.random.default_rng(0)
    paths = [photo.path for photo in find_photos(data).photos if photo.part == "train"]
    labels = Labels(known_names(), known_equal(known_names()))
    truth = np.arange(num) % len(labels.names)
    manifest = manifest_of(paths, labels, truth, data)
    recipe = named_recipe("cars-fast").model_copy(update={"folds": Folds(num_folds=FOLDS)})
    folds = split(manifest, FOLDS, 0)
    models = tuple(map(str, range(FOLDS)))
    facts = Record(
        recipe=recipe.name,
        recipe_fingerprint=recipe.fingerprint,
        data=str(data),
        data_fingerprint=manifest.fingerprint,
        num_photos=num,
        models=models,
        weights="none",
        licence="none",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        created=now(),
        environment={**describe_environment(), "device": "none"},
    )
    run = start_run(folder, recipe, manifest, folds, facts)
    network, _ = build_network(
        recipe.model.model_copy(update={"weights": "none"}), len(labels.names)
    )
    for name in models:
        path = run.model_folder(name)
        path.mkdir(parents=True)
        save_weights(run.weights_path(name, "raw"), network.state_dict())
        history = [curve(epoch) for epoch in range(1, recipe.train.epochs + 1)]
        finish_model(path, {"seconds": 600.0, "wall_s": 620.0}, history)
    fold_of = dict(folds.table.select("id", "fold").iter_rows())
    ids = tuple(manifest.table["id"])
    table = Predictions(
        ids=ids,
        statuses=("ok",) * num,
        classes=labels.names,
        views=("plain", "flip"),
        log_probs=drawn(truth, len(labels.names), rng),
        kind="oof",
        run=run.fingerprint,
        labels=tuple(labels.names[place] for place in truth),
        folds=tuple(fold_of[id_] for id_ in ids),
    )
    table.save(run.predictions_path)
    write_json(run.score_path, score(table, table.truth(), labels.equal).as_dict())
    return run


def manifest_of(paths: list[Path], labels: Labels, truth: np.ndarray, data: Path) -> Manifest:
    """A row for every photo, each a photo of its own."""
    num = len(truth)
    table = pl.DataFrame(
        {
            "id": [f"p{row:05}" for row in range(num)],
            "path": [str(paths[row % len(paths)]) for row in range(num)],
            "part": ["train"] * num,
            "label": [labels.names[place] for place in truth],
            "fold": [None] * num,
            "user_group": [None] * num,
            "size_bytes": [1] * num,
            "sha256": [f"{row:064x}" for row in range(num)],
            "phash": range(num),
            "width_px": [391] * num,
            "height_px": [256] * num,
            "format": ["jpeg"] * num,
            "readable": [True] * num,
            "reason": [None] * num,
            "group": range(num),
        },
        schema_overrides=PHOTO_COLUMNS,
    )
    issues = pl.DataFrame(schema=ISSUE_COLUMNS)
    return Manifest(labels, data, table.cast(dict(PHOTO_COLUMNS.items())), issues)


def drawn(truth: np.ndarray, num_classes: int, rng: np.random.Generator) -> np.ndarray:
    """Log-probabilities (n, 2, c)."""
    logits = rng.normal(0, 1, (len(truth), 2, num_classes)).astype(np.float32)
    said = np.where(rng.random(len(truth)) < 0.8, truth, (truth + 1) % num_classes)
    logits[np.arange(len(truth)), :, said] += rng.uniform(2, 12, (len(truth), 1)).astype(np.float32)
    logits -= np.log(np.exp(logits).sum(axis=2, keepdims=True))
    return np.maximum(logits, np.float32(np.log(CLIP)))


def curve(epoch: int) -> dict[str, float]:
    """What an epoch measures."""
    return {
        "epoch": epoch,
        "loss": 5 / epoch,
        "log_loss": 4 / epoch,
        "top1": 1 - 1 / epoch,
        "lr": 1e-3 / epoch,
        "waiting_share": 0.01,
        "photos_per_s": 100.0,
        "seconds": 60.0,
    }


if __name__ == "__main__":
    main()
