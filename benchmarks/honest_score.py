"""How near `chajong expect` comes to the truth where a score from home does not.

    python -m benchmarks.honest_score DATA --weights FILE [--repeats 10] [--seed 100] [--out FOLDER]

Each repetition takes some classes of DATA (DACON layout with test_labels.csv), deals their photos
out anew to learn from and to ask about, plants re-encoded copies of a fifth of the former under
new names, and takes pictures of the latter again in poor light: an exposure in linear light, a
tone curve and a tint of each photo's own, sensor noise, another JPEG. Nothing of this is known to
`expect`. Then three figures meet:

- naive: the log loss on one random third of the photos, copies on both sides;
- plain: the out-of-fold log loss with copies in one fold;
- expected: what `expect` says, with its 90 % interval;

and the truth: the log loss on the dark photos, of one model (which naive and plain are of) and of
the mean of the three models (what is submitted).
"""

import argparse
import csv
import io
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
from PIL import Image

from chajong.labels import Labels
from chajong.manifest import Manifest
from chajong.metrics import photo_losses
from chajong.photos.audit import audit
from chajong.photos.layout import find_unlabelled
from chajong.pooling import geometric_mean
from chajong.predictions import Predictions
from chajong.recipe import Recipe
from chajong.recipes import load_recipe
from chajong.run import Run
from chajong.training.expect import expect
from chajong.training.predict import look
from chajong.training.train import Options, train

Rng = np.random.Generator
Photo = tuple[Path, str]

ASKED_SHARE, COPIED_SHARE = 0.45, 0.2
LIGHT = ((-1.35, 0.5), (0.05, 0.12), 0.06)  # stops, log of the tone curve's gamma, tint
# A recipe that takes a minute, and whose models have not seen other light.
SMALL = (
    "data.grow=[]",
    "model.frozen_stages=4",
    "augment=[{kind: crop, scale: [0.35, 1]}, {kind: flip}]",
    "mix.p=0",
    "train.batch_size=16",
    "optim.lr=1e-3",
    "infer.temperature=1",
    "infer.views=[plain]",
    "folds.num_folds=3",
)


def pool(data: Path) -> list[Photo]:
    """All photos with their classes."""
    known = [(path, path.parent.name) for path in sorted((data / "train").glob("*/*.jpg"))]
    with (data / "test_labels.csv").open(encoding="utf-8-sig") as lines:
        test = [(data / "test" / f"{row['ID']}.jpg", row["label"]) for row in csv.DictReader(lines)]
    return known + test


def encoded(image: Image.Image, quality: int) -> bytes:
    """Encode as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def in_poor_light(image: Image.Image, rng: Rng) -> Image.Image:
    """Take the picture again with less light."""
    (stops, spread), (curve, curve_spread), tint_spread = LIGHT
    srgb = np.asarray(image.convert("RGB"), dtype=np.float64) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear *= 2 ** rng.normal(stops, spread) * np.exp(rng.normal(0, tint_spread, 3))
    linear += rng.normal(0, 0.002, linear.shape)
    linear = linear.clip(0, 1)
    dark = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    dark = dark ** np.exp(rng.normal(curve, curve_spread))
    return Image.fromarray(np.rint(255 * dark.clip(0, 1)).astype(np.uint8))


def deal(photos: Iterable[Photo], out: Path, num_classes: int, rng: Rng, dark: bool) -> list[str]:
    """Write the photos of a repetition; gives the classes of those asked about."""
    by_class: dict[str, list[Path]] = {}
    for path, label in photos:
        by_class.setdefault(label, []).append(path)
    chosen = sorted(rng.choice(sorted(by_class), num_classes, replace=False).tolist())
    asked: list[tuple[Path, str]] = []
    for label in chosen:
        paths = [by_class[label][place] for place in rng.permutation(len(by_class[label]))]
        num_asked = round(ASKED_SHARE * len(paths))
        asked += [(path, label) for path in paths[:num_asked]]
        folder = out / "train" / label
        folder.mkdir(parents=True)
        for path in paths[num_asked:]:
            (folder / path.name).write_bytes(path.read_bytes())
            if rng.random() < COPIED_SHARE:
                name = f"{rng.integers(10**9):09}.jpg"
                with Image.open(path) as image:
                    (folder / name).write_bytes(encoded(image, int(rng.integers(70, 95))))
    (out / "test").mkdir()
    for place, (path, _) in enumerate(asked):
        with Image.open(path) as image:
            shown = encoded(in_poor_light(image, rng), 85) if dark else path.read_bytes()
        (out / "test" / f"{place:05}.jpg").write_bytes(shown)
    return [label for _, label in asked]


def without_groups(*arguments: object) -> Manifest:
    """An audit that looks for no duplicates, as most people's does."""
    manifest = audit(*arguments)  # type: ignore[arg-type]
    own = pl.Series("group", range(manifest.table.height), dtype=pl.Int64)
    return replace(manifest, table=manifest.table.with_columns(own))


def random_fold_loss(data: Path, recipe: Recipe, out: Path) -> float:
    """The mean loss on the first of random folds."""
    with patch("chajong.training.train.audit", without_groups):
        run = train(data, recipe, Options(out=out, fold="0"))
    assert run is not None
    table = Predictions.load(run.held_out_path("0"))
    targets = Labels(table.classes).indices(list(table.truth().values()))
    return float(photo_losses(table.probabilities(), targets).mean())


def repeat(asked: argparse.Namespace, seed: int, recipe: Recipe) -> dict[str, float]:
    """One repetition: every figure by its name."""
    out, rng, begin = asked.out / str(seed), np.random.default_rng(seed), time.perf_counter()
    recipe = recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"seed": seed}),
            "folds": recipe.folds.model_copy(update={"seed": seed}),
        }
    )
    truth = deal(pool(asked.data), out / "photos", asked.classes, rng, not asked.bright)
    naive = random_fold_loss(out / "photos", recipe, out / "naive")
    train(out / "photos", recipe, Options(out=out / "run"))
    run = Run.load(out / "run")
    said = expect([run], out / "photos" / "test")
    said.save(out / "expectation.json")
    single, mean = true_losses(run, out / "photos" / "test", truth)
    return {
        "seed": seed,
        "naive": naive,
        "plain": said.out_of_fold,
        "expected of one": said.one_model,
        "truth of one": single,
        "expected": said.value,
        "low": said.low,
        "high": said.high,
        "truth": mean,
        "minutes": (time.perf_counter() - begin) / 60,
    }


def true_losses(run: Run, photos: Path, truth: list[str]) -> tuple[float, float]:
    """The log loss of one model on average, and that of the mean of all."""
    refs = find_unlabelled(photos)
    views = run.recipe.infer.views
    alone = np.stack(
        [geometric_mean(look(run, (name,), refs, views, "log")[1], axis=1) for name in run.done]
    )
    targets = run.labels.indices(truth)
    single = [photo_losses(np.exp(log_probs), targets).mean() for log_probs in alone]
    mean = photo_losses(np.exp(geometric_mean(alone)), targets).mean()
    return float(np.mean(single)), float(mean)


def report(rows: list[dict[str, float]]) -> None:
    """Print how far off each figure is."""
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    for title, goal, names in (
        ("one model", "truth of one", ("naive", "plain", "expected of one")),
        ("the mean of three", "truth", ("naive", "plain", "expected")),
    ):
        print(f"{title}: how far each figure is from the truth")
        for name in names:
            off = found[name] / found[goal] - 1
            print(
                f"  {name:<16}{off.mean():+.1%} on average, {np.abs(off).mean():.1%} in size, "
                f"{np.abs(off).max():.1%} at most; within 10 %: "
                f"{(np.abs(off) <= 0.1).sum()} of {len(rows)}"
            )
    truth = found["truth"]
    inside = (found["low"] <= truth) & (truth <= found["high"])
    width = (found["high"] - found["low"]) / found["expected"]
    print(f"truth in the interval: {inside.sum()} of {len(rows)}; mean width {width.mean():.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="none")
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--classes", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--size-px", type=int, default=112)
    parser.add_argument("--eval-px", type=int, default=128)
    parser.add_argument("--bright", action="store_true", help="Leave the light as it is.")
    parser.add_argument("--out", type=Path, default=Path("runs-honest-score"))
    asked = parser.parse_args()
    recipe = load_recipe(
        "cars-fast",
        [
            f"model.backbone={asked.backbone}",
            f"model.weights={asked.weights}",
            f"data.size_px={asked.size_px}",
            f"data.eval_px={asked.eval_px}",
            f"train.epochs={asked.epochs}",
            *SMALL,
        ],
    )
    rows = []
    for seed in range(asked.seed, asked.seed + asked.repeats):
        rows.append(repeat(asked, seed, recipe))
        print(rows[-1], flush=True)
    report(rows)


if __name__ == "__main__":
    main()
