"""The seven rungs of the ladder on one small backbone, one after the other: a table of scores.

    python -m benchmarks.ladder DATA --weights FILE [--backbone mobilenetv2_100] [--epochs 2]
        [--size-px 96] [--lr 1e-3] [--out runs-ladder] [--truth DATA/test_labels.csv]

Each rung is a run of its own in --out, so a second call goes on where the first one stopped. The
truth only scores the finished predictions.
"""

import argparse
from pathlib import Path

from chajong.recipes import LADDER, load_recipe
from chajong.run import Run
from chajong.score import read_truth, score
from chajong.training.predict import predict
from chajong.training.train import Options, train


def climb(name: str, asked: argparse.Namespace) -> Run:
    recipe = load_recipe(
        name,
        [
            f"model.backbone={asked.backbone}",
            f"model.weights={asked.weights}",
            f"train.epochs={asked.epochs}",
            f"data.size_px={asked.size_px}",
            f"optim.lr={asked.lr}",
        ],
    )
    folder = asked.out / name
    train(asked.data, recipe, Options(out=folder))
    return Run.load(folder)


def row(name: str, run: Run, asked: argparse.Namespace) -> str:
    found = run.score() or {}
    figures = [f"{found[key]['value']:.3f}" for key in ("log_loss", "top1", "ece")]
    if asked.truth is not None:
        tested = score(predict(run, asked.data), read_truth(asked.truth))
        figures += [f"{x.value:.3f}" for x in (tested.log_loss, tested.top1, tested.ece)]
    return " | ".join([f"| `{name}`", *figures, f"{run.seconds():.0f} |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="none")
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--size-px", type=int, default=96)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, default=Path("runs-ladder"))
    parser.add_argument("--truth", type=Path)
    asked = parser.parse_args()
    heads = ["recipe", "log loss", "top-1", "ECE"]
    if asked.truth is not None:
        heads += ["test log loss", "test top-1", "test ECE"]
    rows = [row(name, climb(name, asked), asked) for name in LADDER]
    print(" | ".join(["| " + heads[0], *heads[1:], "seconds |"]))
    print("|" + " --- |" * (len(heads) + 1))
    print("\n".join(rows))


if __name__ == "__main__":
    main()
