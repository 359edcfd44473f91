"""The seven rungs of the ladder on one small backbone, one after the other: a table of scores.

    python -m benchmarks.ladder DATA --weights FILE [--backbone mobilenetv2_100] [--epochs 12]
        [--size-px 128] [--lr 1e-3] [--seeds 3] [--jobs 1] [--out runs-ladder] [--truth FILE]
        [--rungs NAME...]

One seed for every rung, and `--seeds` of them for those of `--seeded`: mean and spread over the
trainings. Rungs that are the same on the given backbone are trained once, and the table says so.
Every run lies in a folder of its own in --out, so a second call goes on where the first one
stopped. The truth only scores the finished predictions; where a rung predicts with an average of
its weights, they are also scored as they are ("raw"). The table is also --out/ladder.md.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.trained import answers, show, spread, table, trained
from chajong.predictions import Predictions
from chajong.recipe import Recipe
from chajong.recipes import LADDER, load_recipe
from chajong.run import Run
from chajong.score import read_truth, score
from chajong.training.train import Options

SEEDED = ("convnext-focal-ema", "convnext-focal-ema-mixup")
FIGURES = ("log_loss", "top1", "ece")
RAW = ("log_loss", "top1")


def recipe_of(name: str, asked: argparse.Namespace, place: int = 0) -> Recipe:
    """A rung as it is trained here, with its first seed or a later one."""
    return load_recipe(
        name,
        [
            f"model.backbone={asked.backbone}",
            f"model.weights={asked.weights}",
            f"train.epochs={asked.epochs}",
            f"data.size_px={asked.size_px}",
            f"optim.lr={asked.lr}",
            f"train.seed={LADDER[name].train.seed + place}",
        ],
    )


def alike(asked: argparse.Namespace) -> dict[str, list[str]]:
    """Rungs that are the same here, by the first of them."""
    groups: dict[str, list[str]] = {}
    for name in asked.rungs:
        groups.setdefault(recipe_of(name, asked).fingerprint, []).append(name)
    return {names[0]: names for names in groups.values()}


def climb(name: str, asked: argparse.Namespace) -> list[Run]:
    """The runs of a rung, one a seed."""
    runs = []
    for place in range(asked.seeds if name in asked.seeded else 1):
        folder = asked.out / (f"{name}-seed{place}" if place else name)
        options = Options(out=folder, jobs=asked.jobs)
        runs.append(trained(asked.data, recipe_of(name, asked, place), options))
    return runs


def averages(run: Run) -> bool:
    """Whether the recipe predicts with an average of the weights."""
    return run.recipe.train.averages


def raw_answers(run: Run, data: Path) -> Predictions:
    """What the weights themselves say of the test photos, where the recipe takes their average."""
    infer = run.recipe.infer.model_copy(update={"weights": "raw"})
    raw = replace(run, recipe=run.recipe.model_copy(update={"infer": infer}))
    return answers(raw, data, "test-raw")


def row(names: list[str], runs: list[Run], asked: argparse.Namespace) -> list[str]:
    """A line of the table."""
    figures = []
    for key in FIGURES:
        figures.append(spread([getattr(run.score(), key).value for run in runs]))
    if asked.truth is not None:
        truth = read_truth(asked.truth)
        tested = [score(answers(run, asked.data), truth) for run in runs]
        figures += [spread([getattr(one, key).value for one in tested]) for key in FIGURES]
        raw = [score(raw_answers(run, asked.data), truth) for run in runs if averages(run)]
        figures += [spread([getattr(one, key).value for one in raw]) if raw else "" for key in RAW]
    seconds = spread([run.seconds() for run in runs], 0)
    said = ", ".join(f"`{name}`" for name in names)
    return [said, str(len(runs)), str(len(runs[0].models)), *figures, seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="none")
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--size-px", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="Folds at a time.")
    parser.add_argument("--seeded", nargs="+", choices=LADDER, default=SEEDED)
    parser.add_argument("--rungs", nargs="+", choices=LADDER, default=tuple(LADDER))
    parser.add_argument("--out", type=Path, default=Path("runs-ladder"))
    parser.add_argument("--truth", type=Path)
    asked = parser.parse_args()
    heads = ["recipe", "seeds", "folds", "log loss", "top-1", "ECE"]
    if asked.truth is not None:
        heads += ["test log loss", "test top-1", "test ECE", "test log loss, raw", "top-1, raw"]
    groups = alike(asked)
    rows = [row(names, climb(first, asked), asked) for first, names in groups.items()]
    text = (
        f"{asked.backbone}, {asked.epochs} epochs at {asked.size_px} px, rate {asked.lr:g}, "
        f"{asked.weights}\n\n" + table([*heads, "seconds"], rows)
    )
    for first, names in groups.items():
        if names[1:]:
            others = " and ".join(f"`{name}`" for name in names[1:])
            text += (
                f"\n`{first}` and {others} differ by their backbone alone: here they are the same "
                "and trained once.\n"
            )
    show(text, asked.out / "ladder.md")


if __name__ == "__main__":
    main()
