"""Two folds at a time against one after the other, on the same cores.

    python -m benchmarks.jobs_speed DATA --weights FILE --work FOLDER [--recipe cars-fast]
        [--epochs 2] [--rounds 3] [--jobs 2] [--set KEY=VALUE...]

Each round trains the same first folds both ways, one way after the other, in runs of their own: the
whole command but audit and cache, start of the processes and held-out predictions included. Medians
over the rounds.
"""

import argparse
import shutil
import time
from pathlib import Path
from statistics import median

from benchmarks.trained import show, table
from chajong.recipe import Recipe
from chajong.recipes import load_recipe
from chajong.training.train import Options, train


def seconds(data: Path, recipe: Recipe, out: Path, jobs: int) -> float:
    """Train the folds in a fresh folder."""
    shutil.rmtree(out, ignore_errors=True)
    begin = time.perf_counter()
    train(data, recipe, Options(out=out, jobs=jobs))
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="none")
    parser.add_argument("--work", type=Path, default=Path("runs-jobs"))
    parser.add_argument("--recipe", default="cars-fast")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--set", nargs="+", default=[])
    asked = parser.parse_args()
    common = [
        f"model.weights={asked.weights}",
        f"train.epochs={asked.epochs}",
        f"folds.trained={list(range(asked.jobs))}",
        *asked.set,
    ]
    recipe = load_recipe(asked.recipe, common)
    seconds(asked.data, load_recipe(asked.recipe, [*common, "train.epochs=1"]), asked.work, 1)
    taken: dict[int, list[float]] = {1: [], asked.jobs: []}
    for number in range(asked.rounds):
        for jobs in sorted(taken, reverse=bool(number % 2)):
            taken[jobs].append(seconds(asked.data, recipe, asked.work, jobs))
    alone, together = median(taken[1]), median(taken[asked.jobs])
    rows = [
        ["one after the other", f"{alone:.1f}", "1.00"],
        [f"{asked.jobs} at a time", f"{together:.1f}", f"{alone / together:.2f}"],
    ]
    shutil.rmtree(asked.work)
    show(table(("folds", "seconds", "times as fast"), rows), asked.work.with_suffix(".md"))


if __name__ == "__main__":
    main()
