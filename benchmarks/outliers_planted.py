"""Plants close-ups and photos of other classes among real photos and counts what is found.

    python -m benchmarks.outliers_planted DATA --weights FILE [--seed 0] [--each 10]

The train photos of DATA are linked into a temporary folder. Planted are wheels, lamps and
windscreens, cut out of photos at three times their size, in the class of their car, and photos
moved to another class. Photos that the demo's `about.csv` calls interiors or wheels count as
close-ups too. Printed are, for each kind, the area under the ROC curve of the score among all
photos, the share found (recall), and the share of all that is flagged which was planted
(precision; real photos may deserve it too).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from chajong.photos.audit import full_audit
from chajong.photos.layout import find_photos
from chajong.photos.outliers import Scores, outlier_scores
from chajong.photos.two_sample import auc
from chajong.recipe_model import Model
from chajong.training.look import network_look

ZOOM = 3
PARTS = {
    "wheel": ((0.25, 0.7), (0.75, 0.7)),
    "lamp": ((0.2, 0.52), (0.8, 0.52)),
    "windscreen": ((0.45, 0.33), (0.55, 0.33)),
}
"""Where parts of a car often are: shares of the photo's width and height."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=10)
    arguments = parser.parse_args()
    look = network_look(Model(backbone=arguments.backbone, weights=arguments.weights))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "photos"
        planted = plant_all(arguments.data, root, arguments.each, arguments.seed)
        found = full_audit(root, cache_folder=Path(folder) / "cache", look=look)
        table = found.manifest.table
        scores = outlier_scores(found.manifest, look(found.manifest))
    issues = set(found.manifest.issues.select("id", "issue").iter_rows())
    print(f"{table.height:,} photos, {len(planted)} of them planted, seed {arguments.seed}")
    report(table["id"].to_list(), scores, issues, planted)


def plant_all(data: Path, root: Path, num_each: int, seed: int) -> dict[str, str]:
    """Link the photos and plant some; say of what kind each planted one is, by id."""
    rng = np.random.default_rng(seed)
    photos = [photo for photo in find_photos(data).photos if photo.part == "train"]
    order = rng.permutation(len(photos)).tolist()
    classes = sorted({str(photo.label) for photo in photos})
    details = demo_details(data)
    planted: dict[str, str] = {}
    moved = set(order[:num_each])
    for place, photo in enumerate(photos):
        label = str(photo.label)
        if place in moved:
            label = classes[
                (classes.index(label) + int(rng.integers(1, len(classes)))) % len(classes)
            ]
        target = root / label / f"{place:06d}{photo.path.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(photo.path.absolute())
        if place in moved or photo.path.name in details:
            kind = "moved" if place in moved else details[photo.path.name]
            planted[target.relative_to(root).as_posix()] = kind
    for number, place in enumerate(order[num_each : 4 * num_each]):
        kind = tuple(PARTS)[number % len(PARTS)]
        photo = photos[place]
        target = root / str(photo.label) / f"{place:06d}_{kind}.jpg"
        centre = PARTS[kind][int(rng.integers(2))]
        cut_out(Image.open(photo.path).convert("RGB"), centre).save(target, quality=90)
        planted[target.relative_to(root).as_posix()] = kind
    return planted


def demo_details(data: Path) -> dict[str, str]:
    """The interiors and wheels among the demo's photos, by file name."""
    if not (data / "about.csv").is_file():
        return {}
    about = pl.read_csv(data / "about.csv").filter(pl.col("kind").is_in(["interior", "wheel"]))
    return {Path(file).name: f"demo {kind}" for file, kind in about.select("file", "kind").rows()}


def cut_out(photo: Image.Image, centre: tuple[float, float]) -> Image.Image:
    """Enlarge a part of a photo."""
    width, height = photo.size
    half = 0.5 / ZOOM
    x, y = (min(max(share, half), 1 - half) for share in centre)
    box = (x - half) * width, (y - half) * height, (x + half) * width, (y + half) * height
    return photo.resize((width, height), Image.Resampling.BICUBIC, box=box)


def report(
    ids: list[str], scores: Scores, issues: set[tuple[str, str]], planted: dict[str, str]
) -> None:
    """Print a line for each kind of plant."""
    kinds = np.array([planted.get(id_, "") for id_ in ids])
    for issue, values in (
        ("not_whole_car", scores.not_whole_car),
        ("not_like_class", scores.not_like_class),
    ):
        flagged = np.array([(id_, issue) in issues for id_ in ids])
        wanted = (
            kinds == "moved" if issue == "not_like_class" else (kinds != "") & (kinds != "moved")
        )
        print(f"{issue}: {flagged.sum()} flagged, {flagged[kinds == ''].sum()} not planted")
        print(f"  precision {(flagged & wanted).sum() / max(1, flagged.sum()):.3f}")
        for kind in np.unique(kinds[kinds != ""]).tolist():
            line(kind, values, flagged, kinds == kind, kinds == "")


def line(
    kind: str,
    values: NDArray[np.float64],
    flagged: NDArray[np.bool_],
    mine: NDArray[np.bool_],
    real: NDArray[np.bool_],
) -> None:
    """Print how well one kind of plant is told from the photos as they were."""
    compared = (mine | real) & np.isfinite(values)
    area = auc(values[compared], mine[compared], np.arange(compared.sum()))
    print(f"  {kind:<14} AUROC {area.value:.3f}  recall {flagged[mine].mean():.3f} of {mine.sum()}")


if __name__ == "__main__":
    main()
