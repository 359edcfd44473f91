"""Trains with and without the proposed change of light and scores both on darkened test photos.

    python -m benchmarks.shift_remedy DATA --weights FILE --labels FILE.csv [--epochs 4]
        [--seeds 1]

The test photos of DATA (a DACON folder) are darkened by an exposure and a gamma, drawn for each,
to a mean grey level of 66, and encoded again. `cars-fast` is trained for a few epochs at 96 px on
all train photos as it is, and with what the audit of these very photos proposes; no label of a
test photo is used for that. LABELS (ID,label) only score.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

import chajong.training  # noqa: F401  before torch
from chajong.photos.audit import full_audit
from chajong.photos.cache import default_cache_folder
from chajong.photos.layout import find_photos
from chajong.photos.shift import as_set
from chajong.recipes import load_recipe
from chajong.run import Run
from chajong.score import read_truth, score
from chajong.training.predict import predict
from chajong.training.train import Options, train

GOAL = 66.0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    truth = read_truth(arguments.labels)
    common = [
        "data.size_px=96", "data.grow=[]", "data.eval_px=112", f"train.epochs={arguments.epochs}",
        f"model.weights={arguments.weights}",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        data = darkened(arguments.data, Path(folder) / "photos")
        found = full_audit(data)
        print("\n".join(found.lines()))
        light = found.shift.proposal() if found.shift is not None else None
        assert light is not None, "the darkened photos must be told"
        for seed in range(arguments.seeds):
            for name, changes in (
                ("as it is", []),
                ("with light", [as_set(light, load_recipe("cars-fast"))]),
            ):
                recipe = load_recipe("cars-fast", [*common, f"train.seed={seed}", *changes])
                out = Path(folder) / f"{name} {seed}".replace(" ", "-")
                train(
                    data, recipe, Options(out=out, fold="all", cache_folder=default_cache_folder())
                )
                for what, photos in (("darkened", data), ("as they were", arguments.data)):
                    told = list(score(predict(Run.load(out), photos), truth).lines())
                    print(f"seed {seed}, {name}, test photos {what}", *told[:4], sep="\n  ")


def darkened(data: Path, root: Path, seed: int = 0) -> Path:
    """Make a data set with the same train photos and darkened test photos."""
    root.mkdir(parents=True)
    (root / "train").symlink_to((data / "train").absolute())
    tests = [photo for photo in find_photos(data).photos if photo.part == "test"]
    rng = np.random.default_rng(seed)
    normals = rng.standard_normal((len(tests), 2))
    pixels = [np.asarray(Image.open(photo.path).convert("RGB")) for photo in tests]
    exposure = 1.0
    for _ in range(20):  # gammas take their part of the light, so the exposure is searched for
        means = [
            through(some[::8, ::8], exposure, pair).mean()
            for some, pair in zip(pixels, normals, strict=True)
        ]
        exposure *= GOAL / float(np.mean(means))
    rows = []
    for photo, some, pair in zip(tests, pixels, normals, strict=True):
        path = root / "test" / f"{photo.id}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(through(some, exposure, pair).round().astype(np.uint8)).save(
            path, quality=92
        )
        rows.append((photo.id, f"test/{path.name}"))
    pl.DataFrame(rows, schema=["ID", "img_path"], orient="row").write_csv(root / "test.csv")
    return root


def through(
    pixels: NDArray[np.uint8], exposure: float, normals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Put pixels through an exposure and a gamma somewhat of their own."""
    factor, gamma = np.exp(np.array([0.15, 0.1]) * normals + np.log([exposure, 1.15]))
    changed: NDArray[np.float64] = np.minimum(255 * factor * (pixels / 255.0) ** gamma, 255)
    return changed


if __name__ == "__main__":
    main()
