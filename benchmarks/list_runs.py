"""How long `chajong runs` takes with thousands of runs.

    python -m benchmarks.list_runs [--runs 10000] [--folds 5] [--rounds 5] [--work DIR]

Makes so many run folders with all files that a list reads, by the code that training uses, every
third with notes. Then the command is timed as a user calls it, in a process of its own: with
nothing remembered, with all remembered, and after ten runs have changed.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from chajong.environment import describe_environment
from chajong.experiments.notes import Note, add_note
from chajong.file_names import LABELS, RECIPE, RUN, SCORE
from chajong.files import write_json, write_text
from chajong.labels import Labels, known_names
from chajong.metrics import Estimate
from chajong.progress import Progress
from chajong.recipe import Recipe
from chajong.recipes import load_recipe
from chajong.record import Record, now
from chajong.run import Run, finish_model
from chajong.score import Score

_RECIPES = ("cars-fast", "demo", "convnext-focal-ema")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    with _folder(arguments.work) as folder:
        if not folder.exists():
            _make_runs(folder, arguments.runs, arguments.folds)
            time.sleep(3)  # what changed a moment ago is not remembered yet
        (folder / ".list.json").unlink(missing_ok=True)
        print(f"{arguments.runs:,} runs of {arguments.folds} folds")
        _report("nothing remembered", [_seconds(folder)])
        rounds = range(arguments.rounds)
        _report("all remembered", [_seconds(folder) for _ in rounds])
        _report("as JSON", [_seconds(folder, "--json") for _ in rounds])
        chosen = ("--where", "log_loss<0.2", "--where", "optim.lr>0.001", "--sort", "log_loss")
        _report("chosen and sorted", [_seconds(folder, *chosen) for _ in rounds])
        for path in sorted(folder.glob("*/"))[:10]:
            os.utime(path / SCORE)
        _report("ten have changed", [_seconds(folder)])


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    if work is not None:
        yield work
        return
    made = Path(tempfile.mkdtemp())
    try:
        yield made / "runs"
    finally:
        shutil.rmtree(made)


def _report(what: str, took: list[tuple[float, float]]) -> None:
    wall, busy = zip(*took, strict=True)
    spread = f", {min(wall):.2f} to {max(wall):.2f}" if len(wall) > 1 else ""
    processor = f"{statistics.median(busy):.2f} s of a processor"
    print(f"{what:<20} {statistics.median(wall):6.2f} s{spread} ({processor})", flush=True)


def _seconds(folder: Path, *more: str) -> tuple[float, float]:
    # By the clock, and of a processor, which other work on the machine changes less.
    begin, before = time.perf_counter(), os.times()
    command = [sys.executable, "-m", "chajong", "runs", str(folder), *more]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took, after = time.perf_counter() - begin, os.times()
    busy = after.children_user + after.children_system
    return took, busy - before.children_user - before.children_system


def _make_runs(folder: Path, num_runs: int, num_folds: int) -> None:
    # One of each recipe by the code that training uses; the others are copies with other scores.
    rng = np.random.default_rng(0)
    changes = ["optim.lr=0.002", f"folds.num_folds={num_folds}", "train.epochs=7"]
    first = [
        _make_run(folder / f"{name}-{number:05}", load_recipe(name, changes))
        for number, name in enumerate(_RECIPES)
    ]
    with Progress("making runs", num_runs - len(first), "runs") as progress:
        for number in range(len(first), num_runs):
            copied = first[number % len(first)]
            made = folder / f"{copied.name[:-6]}-{number:05}"
            shutil.copytree(copied, made)
            loss = float(rng.uniform(0.1, 2))
            (made / SCORE).write_text(json.dumps(_score(loss)), encoding="utf-8")
            if number % 3 == 0:
                add_note(made, Note(now(), f"try {number}", loss + 0.05))
            progress.advance()


def _make_run(folder: Path, recipe: Recipe) -> Path:
    labels = Labels.of(known_names())
    models = tuple(map(str, range(recipe.folds.num_folds)))
    record = Record(
        recipe=recipe.name,
        recipe_fingerprint=recipe.fingerprint,
        data="/photos",
        data_fingerprint="0" * 16,
        num_photos=33_000,
        models=models,
        weights="none",
        licence="",
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        created=now(),
        environment={**describe_environment(), "device": "cpu (2 threads)"},
    )
    labels.save(folder / LABELS)
    write_text(folder / RECIPE, recipe.to_yaml())
    write_json(folder / SCORE, _score(0.5))
    for name in models:
        model = Run(folder, recipe, labels, record).model_folder(name)
        finish_model(model, {"seconds": 100.0, "epochs": 1}, [{"epoch": 1}])
    write_text(folder / RUN, record.model_dump_json(indent=2))
    return folder


def _score(loss: float) -> dict[str, Any]:
    some = Estimate(loss, loss, loss)
    return Score(33_000, 0, (), some, some, some, some, some, ()).as_dict()


if __name__ == "__main__":
    main()
