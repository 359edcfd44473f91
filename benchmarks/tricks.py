"""Each trick alone against the base: does it help, on the same held-out photos?

    python -m benchmarks.tricks DATA --weights FILE --work FOLDER [--base cars-fast] [--folds 0]
        [--epochs N] [--seeds 1] [--jobs 1] [--only NAME...] [--set KEY=VALUE...] [--list]

A trick is a few changes to the base recipe, all in `TRICKS`. Base and trick train the same folds
with the same seeds and are compared photo by photo (`chajong compare`): the difference in log loss
with its 95 % interval, in which retraining counts too. "noise" means that chance explains it. The
last column is training time, as not every trick is free. Every run has a folder of its own, so a
second call goes on where the first one stopped. The table is also FOLDER/tricks.md.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.trained import show, table, trained
from chajong.comparison import compare
from chajong.errors import RecipeError
from chajong.pairs import open_side, pair
from chajong.recipe import Recipe
from chajong.recipes import load_recipe
from chajong.run import Run
from chajong.training.train import Options

ADD = "augment+="  # a part that comes behind those of the base

TRICKS: Mapping[str, tuple[str, ...]] = {
    "no CutMix": ("mix.cutmix=0",),
    "CutMix on every batch": ("mix.p=1",),
    "mixup too": ("mix.mixup=0.4",),
    "mixup instead": ("mix.cutmix=0", "mix.mixup=0.4"),
    "label smoothing 0.1": ("loss.smoothing=0.1",),
    "poly, epsilon 1": ("loss.kind=poly", "loss.epsilon=1"),
    "poly, epsilon 3": ("loss.kind=poly", "loss.epsilon=3"),
    "focal, gamma 0.5": ("loss.kind=focal", "loss.gamma=0.5"),
    "focal, gamma 1": ("loss.kind=focal", "loss.gamma=1"),
    "focal, gamma 2": ("loss.kind=focal", "loss.gamma=2"),
    "relatives, light": ("taxonomy={generation: 0.03, model: 0.02, maker: 0.01}",),
    "relatives, strong": ("taxonomy={generation: 0.1, model: 0.06, maker: 0.03}",),
    "GeM, learned": ("model.gem={p: 3, learned: true}",),
    "GeM, 3": ("model.gem={p: 3, learned: false}",),
    "linear head": ("model.cosine=null",),
    "cosine head, 16": ("model.cosine={scale: 16, learned: false}",),
    "layer decay 0.8": ("optim.layer_decay=0.8",),
    "layer decay 0.65": ("optim.layer_decay=0.65",),
    "all stages learn": ("model.frozen_stages=0",),
    "dropout 0.2": ("model.dropout=0.2",),
    "EMA 0.99": ("train.ema={decay: 0.99}",),
    "EMA 0.998": ("train.ema={decay: 0.998}",),
    "mean of the last quarter": ("train.swa={last: 0.25}",),
    "mean of the last tenth": ("train.swa={last: 0.1}",),
    "evaluated at 128 px": ("data.eval_px=128",),
    "evaluated at 160 px": ("data.eval_px=160",),
    "evaluated at 224 px": ("data.eval_px=224",),
    "constant size 112": ("data.grow=[]", "data.size_px=112"),
    "constant size 128": ("data.grow=[]",),
    "constant size 144": ("data.grow=[]", "data.size_px=144"),
    "letterbox": ("data.aspect=letterbox",),
    "closer crops": ("augment.0.scale=[0.2, 1]",),
    "wider crops": ("augment.0.scale=[0.6, 1]",),
    "erasing": (ADD + "{kind: erasing, p: 0.25}",),
    "blur": (ADD + "{kind: blur}",),
    "light": (ADD + "{kind: light, factor: [0.5, 1.4], gamma: [0.7, 1.4]}",),
    "TrivialAugment": (ADD + "{kind: trivial_augment}",),
    "half the rate": ("optim.lr=1e-3",),
    "twice the rate": ("optim.lr=4e-3",),
    "batches of 32": ("train.batch_size=32",),
    "cosine schedule": ("schedule.kind=cosine", "schedule.warmup_epochs=1"),
    "head first": ("train.head_only=0.1",),
    "clipped gradients": ("optim.clip_norm=1",),
    "bf16": ("train.precision=bf16",),
    "fp32": ("train.precision=fp32",),
}


def changes_of(base: Recipe, changes: Sequence[str]) -> list[str]:
    """Changes as `--set` takes them."""
    parts = [part.model_dump(mode="json") for part in base.augment]
    added = [change.removeprefix(ADD) for change in changes if change.startswith(ADD)]
    plain = [change for change in changes if not change.startswith(ADD)]
    if not added:
        return plain
    return [*plain, f"augment=[{', '.join([*map(json.dumps, parts), *added])}]"]


def folder_name(trick: str) -> str:
    """A trick's name as a folder may have it."""
    return "".join(letter if letter.isalnum() else "-" for letter in trick)


def runs_of(name: str, changes: Sequence[str], asked: argparse.Namespace) -> list[Run]:
    """The trainings of the base or a trick, one a seed."""
    common = [f"model.weights={asked.weights}", f"folds.trained={asked.folds}", *asked.set]
    if asked.epochs:
        common.append(f"train.epochs={asked.epochs}")
    base = load_recipe(asked.base, common)
    runs = []
    for place in range(asked.seeds):
        seed = f"train.seed={base.train.seed + place}"
        recipe = load_recipe(asked.base, [*common, seed, *changes_of(base, changes)])
        folder = asked.work / f"{folder_name(name)}-seed{place}"
        runs.append(trained(asked.data, recipe, Options(out=folder, jobs=asked.jobs)))
    return runs


def row(
    name: str, base: Sequence[Run], runs: Sequence[Run], asked: argparse.Namespace
) -> list[str]:
    """A line of the table."""
    sides = [open_side([run.folder for run in side]) for side in (base, runs)]
    found = compare(pair(sides[0], sides[1]), ("base", name), noise=asked.noise)
    gap, total = found.difference, found.with_training
    word = {"better": "**helps**", "worse": "hurts", "noise": "noise"}[found.verdict]
    taken = sum(run.seconds() for run in runs) / sum(run.seconds() for run in base)
    return [
        name,
        f"{found.log_loss_b:.4f}",
        f"{gap.value:+.4f} ({total.low:+.4f} to {total.high:+.4f})",
        f"{found.top1_b - found.top1_a:+.4f}",
        word,
        f"{taken:.2f}",
    ]


def measure(asked: argparse.Namespace) -> str:
    """Train what is not trained, and compare."""
    base = runs_of("base", (), asked)
    sides = open_side([run.folder for run in base])
    own = compare(pair(sides, sides), ("base", "base"))
    rows = [["base", f"{own.log_loss_a:.4f}", "", f"{own.top1_a:.4f}", "", "1.00"]]
    for name in asked.only or TRICKS:
        try:
            runs = runs_of(name, TRICKS[name], asked)
        except RecipeError as error:  # such as a part that this base does not have
            rows.append([name, "", "", "", "not for this base", ""])
            print(f"{name}: {error}")
            continue
        rows.append(row(name, base, runs, asked))
        show("\n" + table(HEADS, rows), asked.work / "tricks.md")
    return table(HEADS, rows)


HEADS = ("trick", "log loss", "difference (95 %)", "top-1", "verdict", "time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--work", type=Path, default=Path("runs-tricks"))
    parser.add_argument("--base", default="cars-fast")
    parser.add_argument("--folds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--noise", type=float, help="Of retraining; as `chajong compare` if none.")
    parser.add_argument("--only", nargs="+", choices=TRICKS)
    parser.add_argument("--jobs", type=int, default=1, help="Folds at a time.")
    parser.add_argument("--set", nargs="+", default=[], help="Changes to base and tricks alike.")
    parser.add_argument("--list", action="store_true")
    asked = parser.parse_args()
    if asked.list or asked.data is None:
        print(table(("trick", "changes"), [[k, f"`{' '.join(v)}`"] for k, v in TRICKS.items()]))
        return
    text = f"base {asked.base}, folds {asked.folds}, {asked.seeds} seed(s)\n\n"
    show(text + measure(asked), asked.work / "tricks.md")


if __name__ == "__main__":
    main()
