"""Flipped labels, and how many of them are found; beside cleanlab where it can be imported.

One in twenty labels is flipped, once at random and once to the class that the photo's own class is
most often taken for. A short recipe is trained on each, three folds, and the photos are ranked by
their out-of-fold predictions. With --gain, models of every photo are then trained with and without
the corrections, and scored on the test photos.

    python -m benchmarks.label_suspects DATA --weights FILE --work FOLDER [--gain TEST_LABELS]
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import chajong.training  # noqa: F401 first: it sets how threads wait before torch is loaded
from chajong.corrections import Corrections, Decision
from chajong.photos.layout import find_photos
from chajong.predictions import Predictions
from chajong.recipes import load_recipe
from chajong.record import now
from chajong.run import Run
from chajong.score import read_truth, score
from chajong.suspects import find_suspects
from chajong.training.predict import predict
from chajong.training.train import Options, train

SHARE = 0.05
SHORT = (
    "data.size_px=112",
    "data.grow=[]",
    "data.eval_px=128",
    "folds.num_folds=3",
)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="kept, so that it can go on")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clean", type=Path, help="an out-of-fold table of unflipped labels")
    parser.add_argument("--gain", type=Path, help="labels of the test photos, to score with")
    given = parser.parse_args()
    true = _copied(given.data, given.work / "photos")
    recipe = [f"model.weights={given.weights}", f"train.epochs={given.epochs}", *SHORT]
    clean = given.clean or _run(given.work, "clean", true, recipe).predictions_path
    confused = _confusions(Predictions.load(clean))
    for kind in ("random", "confused"):
        flipped = _flipped(true, kind, confused)
        run = _run(given.work, kind, flipped, recipe)
        _report(kind, run, true, flipped)
        if given.gain is not None and kind == "random":
            _gain(given, run, true, flipped, recipe)


def _copied(data: Path, folder: Path) -> dict[str, str]:
    # The true label of each photo, by its path in a folder of our own.
    labels = {}
    for photo in find_photos(data).photos:
        if photo.label is not None:
            name = f"{photo.label}/{photo.path.name}"
            labels[name] = photo.label
            if not (folder / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(photo.path, folder / name)
    return labels


def _confusions(table: Predictions) -> dict[str, str]:
    # For each class the other class that its photos most often look like.
    probs = table.probabilities()
    truth = np.array([table.classes.index(table.truth()[id_]) for id_ in table.ids])
    taken = np.zeros((len(table.classes),) * 2)
    np.add.at(taken, truth, probs)
    np.fill_diagonal(taken, -1)
    return {
        name: table.classes[int(row.argmax())]
        for name, row in zip(table.classes, taken, strict=True)
    }


def _flipped(true: dict[str, str], kind: str, confused: dict[str, str]) -> dict[str, str]:
    rng = np.random.default_rng(7)
    names, classes = sorted(true), sorted(set(true.values()))
    flipped = dict(true)
    for place in rng.choice(len(names), round(SHARE * len(names)), replace=False):
        name = names[place]
        others = [label for label in classes if label != true[name]]
        flipped[name] = confused[true[name]] if kind == "confused" else str(rng.choice(others))
    return flipped


def _table(work: Path, kind: str, labels: dict[str, str]) -> Path:
    path = work / "photos" / f"{kind}.csv"
    pl.DataFrame({"path": list(labels), "label": list(labels.values())}).write_csv(path)
    return path


def _run(work: Path, kind: str, labels: dict[str, str], changes: list[str]) -> Run:
    recipe = load_recipe("cars-fast", changes)
    run = train(_table(work, kind, labels), recipe, Options(out=work / f"run-{kind}"))
    assert run is not None
    return run


def _report(kind: str, run: Run, true: dict[str, str], flipped: dict[str, str]) -> None:
    table = Predictions.load(run.predictions_path)
    wrong = np.array([true[id_] != flipped[id_] for id_ in table.ids])
    num = int(wrong.sum())
    suspects = find_suspects(table, run.labels, run.manifest())
    rank = {id_: place for place, id_ in enumerate(suspects.table["id"])}
    order = sorted(range(len(table.ids)), key=lambda row: rank.get(table.ids[row], len(rank)))
    print(f"{kind}: {num} of {len(wrong):,} labels flipped")
    print(f"  chajong                      precision at {num}: {wrong[order[:num]].mean():.3f}")
    shown = suspects.table.filter(
        pl.col("id").is_in([i for i, w in zip(table.ids, wrong, strict=True) if w])
    )
    right = sum(row["suggested"] == true[row["id"]] for row in shown.iter_rows(named=True))
    print(f"  the suggested class is the true one for {right} of {shown.height} found")
    for name, ranking in _cleanlab(table):
        print(f"  {name:<28} precision at {num}: {wrong[ranking[:num]].mean():.3f}")


def _cleanlab(table: Predictions) -> list[tuple[str, NDArray[np.intp]]]:
    try:
        import cleanlab
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        print("  cleanlab is not installed here")
        return []
    labels = np.array([table.classes.index(table.truth()[id_]) for id_ in table.ids])
    probs: Any = table.probabilities()
    found = [
        (
            f"cleanlab {cleanlab.__version__} {method}",
            np.argsort(get_label_quality_scores(labels, probs, method=method), kind="stable"),
        )
        for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
    ]
    issues = find_label_issues(labels, probs, return_indices_ranked_by="self_confidence")
    rest = [i for i in found[0][1] if i not in set(issues.tolist())]
    return [*found, ("cleanlab find_label_issues", np.array([*issues, *rest]))]


def _gain(
    given: argparse.Namespace,
    run: Run,
    true: dict[str, str],
    flipped: dict[str, str],
    changes: list[str],
) -> None:
    # A reviewer looks at as many suspects as labels were flipped, and knows the truth.
    num = sum(true[id_] != flipped[id_] for id_ in true)
    table = find_suspects(Predictions.load(run.predictions_path), run.labels, run.manifest()).table
    decisions = []
    for id_ in table["id"][:num]:
        if true[id_] == flipped[id_]:
            decisions.append(Decision(id_, "keep", None, "benchmark", now()))
        else:
            decisions.append(Decision(id_, "relabel", true[id_], "benchmark", now()))
    path = given.work / "corrections.csv"
    Corrections(tuple(decisions)).save(path)
    truth = read_truth(given.gain)
    data = _table(given.work, "random", flipped)
    for name, corrections in (("as they are", None), ("corrected", path)):
        scores = []
        for seed in range(given.seeds):
            recipe = load_recipe("cars-fast", [*changes, f"train.seed={seed}"])
            out = given.work / f"gain-{name.split()[0]}-{seed}"
            made = train(data, recipe, Options(out=out, fold="all", corrections=corrections))
            assert made is not None
            found = score(predict(made, given.data), truth)
            scores.append(found.log_loss.value)
        spread = np.std(scores, ddof=1) if len(scores) > 1 else float("nan")
        print(
            f"  labels {name}: test log loss {np.mean(scores):.4f}, spread {spread:.4f}: {scores}"
        )


if __name__ == "__main__":
    main()
