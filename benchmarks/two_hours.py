"""What the same two hours give: our blend, the last rung of the ladder, and a plain script.

    python -m benchmarks.two_hours DATA --weights FILE --work FOLDER --labels FILE
        [--minutes 120] [--recipe cars-best] [--backbone mobilenetv2_100] [--only NAME...]
        [--members 2] [--jobs 1]

DATA is in DACON layout; the labels only score what is finished. Five ways:

- ours: some of twelve folds of the recipe, so that each model learns of eleven in twelve photos,
  blended (`chajong blend`, test photos without labels calibrate);
- seed: five folds of `convnext-focal-ema-kfold` on the same backbone, their mean, as it is;
- seed raw: the same by the weights themselves, since their average needs thousands of steps;
- plain: `benchmarks/plain_script.py`, one model for the whole time;
- plain x 5: the same five times with a fifth of the time each, probabilities averaged.

Folds are trained `--jobs` at a time, the seed's too. Each way first trains a little to measure its
pace (not counted), and then takes as many epochs as fit into the minutes; the plan is kept in
FOLDER/plan.json, which may be written by hand before. The table tells the minutes that were really
taken by training and by fitting the blend; predicting the test photos is not counted for anyone.
What is done is not done again by a second call. The table is also FOLDER/two_hours.md.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.ladder import raw_answers
from benchmarks.trained import answers, show, table, trained
from chajong.blending.blend import Blend
from chajong.file_names import SCORE
from chajong.labels import Labels
from chajong.predictions import Predictions
from chajong.recipe import Recipe
from chajong.recipes import load_recipe
from chajong.run import Run
from chajong.score import Score, read_truth, score
from chajong.training.blend import blend_runs
from chajong.training.predict import predict_blend
from chajong.training.train import Options
from chajong.wording import nfc

MEMBERS = 5  # of the other ways
PROBE_EPOCHS = 6  # so that each size of a recipe that grows has about its share


def planned(asked: argparse.Namespace, name: str, measure: Callable[[], float]) -> int:
    """Epochs that fit into the time of one model, by a pace that is measured once."""
    path = asked.work / "plan.json"
    plan = json.loads(path.read_text()) if path.is_file() else {}
    key = f"{name}, {asked.minutes:g} minutes"
    if key not in plan:
        plan[key] = max(1, int(measure()))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    print(f"{key}: {plan[key]} epochs a model", flush=True)
    return int(plan[key])


def num_trained(way: str, asked: argparse.Namespace) -> int:
    """Folds that a way trains."""
    return int(asked.members) if way == "ours" else MEMBERS


def recipe_of(way: str, name: str, epochs: int, folds: int, asked: argparse.Namespace) -> Recipe:
    """A recipe on the backbone and weights that all ways have."""
    is_ours = way == "ours"
    changes = [
        f"model.weights={asked.weights}",
        f"model.backbone={asked.backbone}",
        f"folds.num_folds={asked.folds if is_ours else MEMBERS}",
        f"folds.trained={list(range(folds))}",
        f"train.epochs={epochs}",
    ]
    return load_recipe(name, [*changes, *(asked.set if is_ours else asked.seed_set)])


def folds_of(way: str, name: str, asked: argparse.Namespace) -> Run:
    """Train the folds of a recipe for as long as there is time."""
    folds = num_trained(way, asked)

    def measure() -> float:
        probe = recipe_of(way, name, PROBE_EPOCHS, asked.jobs, asked)
        out = asked.work / f"probe-{way}"
        # Validation and the views at the end are in the wall time, so they are paid for.
        pace = minutes_of(trained(asked.data, probe, Options(out=out, jobs=asked.jobs)), asked.jobs)
        rounds = -(-folds // asked.jobs)
        minutes = asked.minutes * (1 - asked.reserve if way == "ours" else 1)
        return float(minutes / rounds / (pace / PROBE_EPOCHS))

    recipe = recipe_of(way, name, planned(asked, way, measure), folds, asked)
    return trained(asked.data, recipe, Options(out=asked.work / way, jobs=asked.jobs))


def minutes_of(run: Run, jobs: int) -> float:
    """Time that the models of a run took, so many at a time, in minutes."""
    # The wall time is of the last process alone, where a training was stopped in between.
    facts = [run.facts(name) for name in run.done]
    return end([max(float(each["wall_s"]), float(each["seconds"])) for each in facts], jobs) / 60


def end(lengths: Sequence[float], jobs: int) -> float:
    """When the last is through, if one begins as soon as fewer than `jobs` are at work."""
    ends = [0.0] * jobs
    for length in lengths:
        ends[ends.index(min(ends))] += length
    return max(ends)


def ours(asked: argparse.Namespace) -> tuple[Predictions, float, str]:
    """Our recipe, blended."""
    run = folds_of("ours", asked.recipe, asked)
    folder, path = asked.work / "ours-blend", asked.work / "ours-blend" / "test.parquet"
    noted = folder / "minutes.json"
    if not path.is_file():
        begin = time.perf_counter()
        blend = blend_runs([run], folder, asked.budget, asked.data).blend
        noted.write_text(json.dumps((time.perf_counter() - begin) / 60), encoding="utf-8")
        predict_blend(blend, asked.data).save(path)
    blend = Blend.load(folder)
    nested = Score.load(folder / SCORE).log_loss.value
    about = f"nested out of fold {nested:.3f}"
    if blend.averaging is not None:
        about += f", foretold for the mean {blend.averaging.log_loss:.3f}"
    taken = minutes_of(run, asked.jobs) + float(json.loads(noted.read_text()))
    return Predictions.load(path), taken, f"{run.recipe.train.epochs} epochs a fold; {about}"


def seed(asked: argparse.Namespace) -> tuple[Predictions, float, str]:
    """The last rung of the ladder, as it is."""
    run = folds_of("seed", "convnext-focal-ema-kfold", asked)
    about = f"{run.recipe.train.epochs} epochs a fold, at {run.recipe.data.size_px} px"
    return answers(run, asked.data), minutes_of(run, asked.jobs), about


def seed_raw(asked: argparse.Namespace) -> tuple[Predictions, float, str]:
    """The same trainings by their last weights, where the rung takes an average of all."""
    _, minutes, about = seed(asked)
    run = Run.load(asked.work / "seed")
    return raw_answers(run, asked.data), minutes, about


def script(asked: argparse.Namespace, name: str, epochs: int, place: int) -> dict[str, np.ndarray]:
    """Run the plain script, once."""
    path = asked.work / "plain" / f"{name}-seed{place}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        command = [sys.executable, "-m", "benchmarks.plain_script", str(asked.data), str(part)]
        command += ["--weights", asked.weights, "--model", asked.backbone]
        command += ["--epochs", str(epochs), "--seed", str(place)]
        command += ["--size-px", str(asked.plain_px)]
        subprocess.run(command, check=True)
        part.rename(path)
    with np.load(path) as found:
        return dict(found)


def plain(asked: argparse.Namespace, models: int = 1) -> tuple[Predictions, float, str]:
    """The plain script, several times with a share of the minutes each."""

    def measure() -> float:
        pace = [float(script(asked, f"probe{n}", n, 0)["seconds"]) for n in (1, 2)]
        return float(asked.minutes * 60 / models / max(pace[1] - pace[0], 1e-3))

    epochs = planned(asked, f"plain x {models}", measure)
    name = f"{models}-models-{epochs}-epochs"
    said = [script(asked, name, epochs, place) for place in range(models)]
    mean = np.mean([one["probs"].astype(np.float64) for one in said], axis=0)
    # The folder's names as they lie on disk; ours are in NFC, in the order of its code points.
    labels = Labels.of(str(each) for each in said[0]["classes"])
    mean = mean[:, np.argsort(labels.indices([nfc(str(each)) for each in said[0]["classes"]]))]
    made = Predictions(
        ids=tuple(str(each) for each in said[0]["ids"]),
        statuses=("ok",) * len(mean),
        classes=labels.names,
        views=("plain",),
        log_probs=np.log(
            np.maximum(mean, 1e-12) / np.maximum(mean, 1e-12).sum(1, keepdims=True)
        ).astype(np.float32)[:, None],
        kind="test",
        run="plain script",
    )
    minutes = sum(float(one["seconds"]) for one in said) / 60
    return made, minutes, f"{epochs} epochs, at {asked.plain_px} px"


def plain_5(asked: argparse.Namespace) -> tuple[Predictions, float, str]:
    """The plain script five times."""
    return plain(asked, MEMBERS)


WAYS = {"ours": ours, "seed": seed, "seed raw": seed_raw, "plain": plain, "plain x 5": plain_5}


def report(found: dict[str, list[float]], about: dict[str, str]) -> str:
    """The table, and how much better ours is than the best other."""
    rows = [
        [name, *(f"{value:.4f}" for value in values[:3]), f"{values[3]:.1f}", about[name]]
        for name, values in found.items()
    ]
    text = table(["way", "test log loss", "test top-1", "test ECE", "minutes", "how"], rows)
    others = {name: values[0] for name, values in found.items() if name != "ours"}
    if "ours" in found and others:
        best = min(others, key=lambda name: others[name])
        ratio = found["ours"][0] / others[best]
        text += f"\nours is {ratio:.3f} of the best other way ({best})\n"
    return text


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="none")
    parser.add_argument("--work", type=Path, default=Path("runs-two-hours"))
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--recipe", default="cars-best")
    parser.add_argument("--folds", type=int, default=12, help="Of our recipe.")
    parser.add_argument("--members", type=int, default=2, help="Folds of ours that are trained.")
    parser.add_argument("--jobs", type=int, default=1, help="Folds at a time.")
    parser.add_argument("--set", nargs="+", default=[], help="Changes to our recipe.")
    parser.add_argument("--seed-set", nargs="+", default=[], help="Changes to the last rung.")
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--budget", type=int, default=4, help="Most views of our blend.")
    parser.add_argument("--reserve", type=float, default=0.08, help="Our share for the blend.")
    parser.add_argument("--plain-px", type=int, default=160)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=tuple(WAYS))
    return parser.parse_args(arguments)


def compared(asked: argparse.Namespace) -> str:
    """Do what is not done yet, and tell all of it."""
    truth = read_truth(asked.labels)
    found: dict[str, list[float]] = {}
    about: dict[str, str] = {}
    for name in asked.only:
        made, minutes, about[name] = WAYS[name](asked)
        tested = score(made, truth)
        values = (tested.log_loss, tested.top1, tested.ece)
        found[name] = [*(each.value for each in values), minutes]
        show(report(found, about), asked.work / "two_hours.md")
    return report(found, about)


if __name__ == "__main__":
    compared(parse())
