"""How well a bundle knows what it does not know, and how well it learns a car from five photos.

    python -m benchmarks.strange_photos DATA --weights FILE --work FOLDER --labels FILE
        [--others FOLDER] [--recipe cars-fast] [--epochs 16] [--folds 4] [--trained 1] [--jobs 1]
        [--held-out 20] [--seed 0] [--budget VIEWS] [--set KEY=VALUE...]

So many classes of DATA are held out; a recipe is trained on the others and exported, with
--budget as a blend of so many views of a photo at most. Asked are
test photos of the learned classes (`--labels` is a CSV of ID and label of DATA's test photos),
all photos of the held-out classes, close-ups cut out of test photos, and crops of the photos in
OTHERS. OTHERS is any folder of photos of other things; the results name the one that was used.
Printed are the areas under the ROC curve of strangeness, the share of each kind that is called
strange, how deep each is answered for the usual risk and how often wrongly, and, of each held-out
class added from five of its train photos, how many of its other photos are found and what that
costs the learned classes. What is there already is not made again.
"""

import argparse
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.outliers_planted import PARTS, cut_out
from chajong.blending.blend import Blend
from chajong.bundle import Bundle
from chajong.catalogue import known_catalogue
from chajong.depths import DEEPEST_FIRST
from chajong.gallery import STRANGE_FROM
from chajong.photos.layout import find_photos
from chajong.photos.two_sample import auc
from chajong.pooling import Floats
from chajong.recipes import load_recipe
from chajong.score import read_truth
from chajong.serving.add_class import MIN_PHOTOS, add_class
from chajong.serving.engine import Engine, Looked
from chajong.serving.judge import Judge
from chajong.serving.newcomers import Newcomers
from chajong.training.blend import blend_runs
from chajong.training.export import export
from chajong.training.train import Options, train
from chajong.unknown import Unknown

NUM_CROPS = 8
_BATCH = 8
_MOST_PX = 1200  # of the longer side, before pieces are cut out


@dataclass(frozen=True)
class Photo:
    """A photo with its class, and whether it may be learned."""

    path: Path
    label: str
    is_train: bool


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument(
        "--labels", type=Path, required=True, help="a CSV of ID and label of the test photos"
    )
    parser.add_argument("--others", type=Path, help="photos of other things")
    parser.add_argument("--recipe", default="cars-fast")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--trained", type=int, default=1, help="how many of the folds to train")
    parser.add_argument("--jobs", type=int, default=1, help="folds at a time")
    parser.add_argument("--held-out", type=int, default=20, help="classes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=int, help="views of a blend; else the run is exported")
    parser.add_argument("--set", action="append", default=[], help="changes to the recipe")
    given = parser.parse_args()
    photos = all_photos(given.data, given.labels)
    names = sorted({photo.label for photo in photos})
    order = np.random.default_rng(given.seed).permutation(len(names))
    held_out = {names[place] for place in order[: given.held_out]}
    bundle = made_bundle(given, [photo for photo in photos if photo.label not in held_out])
    engine = Engine.open(bundle)
    known = [photo for photo in photos if photo.label not in held_out and not photo.is_train]
    new = [photo for photo in photos if photo.label in held_out]
    print(
        f"{len(names) - len(held_out)} classes learned, {len(held_out)} held out; {len(known):,} "
        f"test photos of learned classes, {len(new):,} photos of held-out ones"
    )
    usual = ask(engine, [photo.path.read_bytes() for photo in known])
    unknown = ask(engine, [photo.path.read_bytes() for photo in new])
    log_loss, top1 = scored(usual.log_probs, known, bundle.labels.names)
    print(f"learned classes: log loss {log_loss:.4f}, top-1 {top1:.1%}")
    print(f"foretold by the bundle: {foretold(bundle)}")
    tell("learned classes", bundle, usual, [photo.label for photo in known])
    report("held-out models", usual, unknown)
    tell("held-out models", bundle, unknown, [photo.label for photo in new])
    report("close-ups", usual, ask(engine, close_ups([photo.path for photo in known])))
    if given.others is not None:
        others = ask(engine, crops(given.others))
        report("other things", usual, others)
        tell("other things", bundle, others, [None] * len(others.log_probs))
    add_all(engine, given.work, new, unknown, known, usual)


def all_photos(data: Path, labels: Path) -> list[Photo]:
    """List the photos whose class is known."""
    truth = read_truth(labels)
    found = []
    for photo in find_photos(data).photos:
        label = photo.label if photo.part == "train" else truth.get(photo.id)
        if label is not None:
            found.append(Photo(photo.path, label, photo.part == "train"))
    return found


def made_bundle(given: argparse.Namespace, photos: Sequence[Photo]) -> Bundle:
    """Train on the train photos and export, unless that is done."""
    of_views = "" if given.budget is None else f"-{given.budget}-views"
    folder = given.work / f"bundle{of_views}"
    if Bundle.is_in(folder):
        return Bundle.load(folder)
    linked = given.work / "photos"
    for place, photo in enumerate(photos):
        target = linked / photo.label / f"{place:06d}{photo.path.suffix}"
        if photo.is_train and not target.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(photo.path.absolute())
    trained = list(range(given.trained))
    recipe = load_recipe(
        given.recipe,
        [
            f"model.weights={given.weights}",
            f"train.epochs={given.epochs}",
            f"folds.num_folds={given.folds}",
            f"folds.trained={trained}",
            *given.set,
        ],
    )
    out, cache = given.work / "run", given.work / "cache"
    run = train(linked, recipe, Options(out=out, cache_folder=cache, jobs=given.jobs))
    assert run is not None
    if given.budget is None:
        return export(run.folder, folder)
    blended = given.work / f"blend{of_views}"
    if not Blend.is_in(blended):
        blend_runs([run], blended, given.budget)
    return export(blended, folder)


def ask(engine: Engine, photos: Sequence[bytes]) -> Looked:
    """Look at photos, a handful at a time."""
    parts = [
        engine.look([engine.prepare(data) for data in photos[start : start + _BATCH]])
        for start in range(0, len(photos), _BATCH)
    ]
    embeddings = [part.embeddings for part in parts if part.embeddings is not None]
    strangeness = [part.strangeness for part in parts if part.strangeness is not None]
    log_probs = np.concatenate([part.log_probs for part in parts])
    return Looked(log_probs, np.concatenate(embeddings), np.concatenate(strangeness))


def close_ups(paths: Sequence[Path]) -> list[bytes]:
    """Cut a part of the car out of each photo, in turn wheel, lamp and windscreen."""
    rng = np.random.default_rng(0)
    made = []
    for place, path in enumerate(paths):
        centre = PARTS[tuple(PARTS)[place % len(PARTS)]][int(rng.integers(2))]
        made.append(_encoded(cut_out(Image.open(path).convert("RGB"), centre)))
    return made


def crops(folder: Path) -> list[bytes]:
    """Cut pieces of a car photo's shape out of photos, each half to all of what fits."""
    rng = np.random.default_rng(0)
    made = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        opened = Image.open(path)
        opened.draft("RGB", (_MOST_PX, _MOST_PX))
        opened.thumbnail((_MOST_PX, _MOST_PX))
        photo = opened.convert("RGB")
        for _ in range(NUM_CROPS):
            width = min(photo.width, photo.height * 1.5) * rng.uniform(0.5, 1)
            left = rng.uniform(0, photo.width - width)
            top = rng.uniform(0, photo.height - width / 1.5)
            box = [round(edge) for edge in (left, top, left + width, top + width / 1.5)]
            piece = photo.crop((box[0], box[1], box[2], box[3])).resize((480, 320))
            made.append(_encoded(piece))
    return made


def _encoded(photo: Image.Image) -> bytes:
    file = BytesIO()
    photo.save(file, "JPEG", quality=90)
    return file.getvalue()


def foretold(bundle: Bundle) -> str:
    """Say what the bundle's own held-out photos foretell of unknown models."""
    found = None if bundle.gallery is None else Unknown.of(bundle.gallery, bundle.labels)
    if found is None:
        return "nothing"
    area = found.auc
    return (
        f"AUROC {area.value:.3f} ({area.low:.3f} to {area.high:.3f}), {found.strange:.1%} called "
        f"strange, by {found.num_photos:,} photos"
    )


def told(
    bundle: Bundle,
    log_probs: Floats,
    strangeness: NDArray[np.float64] | None,
    cars: Sequence[str | None],
) -> Counter[str]:
    """Count how deep photos are answered for the usual risk, and how often that is wrong.

    Args:
        bundle: Who was asked.
        log_probs: (n, c).
        strangeness: (n,); none to take no photo for a strange one.
        cars: The n classes of the photos, learned or not; none where there is no car.
    """
    known, counts = known_catalogue(), Counter[str]()
    verdicts = Judge.of(bundle).verdicts(log_probs, strangeness)
    for verdict, name in zip(verdicts, cars, strict=True):
        counts[verdict.reason if verdict.reason == "strange" else verdict.level] += 1
        car = None if name is None else known.of(name)
        right = car is not None and (
            verdict.exact == name
            if verdict.level == "exact"
            else verdict.make == car.maker
            and verdict.model in (None, car.model)
            and verdict.generation in (None, car.generation)
        )
        counts["wrong"] += not (verdict.abstained or right)
    return counts


def shares(counts: Counter[str]) -> str:
    """Write what `told` counted as shares of the photos."""
    kinds = (*DEEPEST_FIRST, "none", "strange")
    num = sum(counts[kind] for kind in kinds)
    return ", ".join(f"{counts[kind] / num:.1%} {kind}" for kind in (*kinds, "wrong"))


def tell(kind: str, bundle: Bundle, looked: Looked, cars: Sequence[str | None]) -> None:
    """Print what one kind of photos is answered."""
    counts = told(bundle, looked.log_probs, looked.strangeness, cars)
    print(f"{kind}, what is said: {shares(counts)}")


def report(kind: str, usual: Looked, strange: Looked) -> None:
    """Print how well one kind is told from photos of learned classes."""
    assert usual.strangeness is not None
    assert strange.strangeness is not None
    values = np.concatenate([usual.strangeness, strange.strangeness])
    is_strange = np.arange(len(values)) >= len(usual.strangeness)
    area = auc(values, is_strange, np.arange(len(values)))
    print(
        f"{kind}: {len(strange.strangeness):,} photos, AUROC {area.value:.3f} "
        f"({area.low:.3f} to {area.high:.3f}); called strange "
        f"{(strange.strangeness >= STRANGE_FROM).mean():.1%}, of learned classes "
        f"{(usual.strangeness >= STRANGE_FROM).mean():.1%}"
    )


def add_all(
    engine: Engine,
    work: Path,
    new: Sequence[Photo],
    unknown: Looked,
    known: Sequence[Photo],
    usual: Looked,
) -> None:
    """Add each held-out class by itself, from five photos, and print what came of it."""
    before, _ = scored(usual.log_probs, known, engine.bundle.labels.names)
    recalls, costs, sizes, losses = [], [], [], []
    of_new, of_old = Counter[str](), Counter[str]()
    for name in sorted({photo.label for photo in new}):
        rows = [row for row, photo in enumerate(new) if photo.label == name]
        chosen = [row for row in rows if new[row].is_train][:MIN_PHOTOS]
        rest = [row for row in rows if row not in chosen]
        if len(chosen) < MIN_PHOTOS or not rest:
            continue
        few = work / "few" / name
        shutil.rmtree(few, ignore_errors=True)
        few.mkdir(parents=True)
        for row in chosen:
            shutil.copyfile(new[row].path, few / new[row].path.name)
        shutil.rmtree(work / "more", ignore_errors=True)  # or it would keep what was added before
        made = add_class(engine, name, str(few), work / "more")
        column = made.labels.index(name)
        found = joined(made, unknown, rest)
        recalls.append((found.argmax(axis=1) == column).mean())
        losses.append(-found[:, column].mean())
        sizes.append(len(rest))
        again = joined(made, usual)
        after, _ = scored(again, known, made.labels.names)
        costs.append(after - before)
        of_new += told(made, found, None, [name] * len(rest))
        of_old += told(made, again, None, [photo.label for photo in known])
        added = made.facts.added[-1]
        print(
            f"  {name}: {recalls[-1]:.0%} of {sizes[-1]} found, costs {costs[-1]:+.4f} nats "
            f"(foretold {added.old_log_loss_gap:.4f}; recall foretold {added.expected_recall:.0%})"
        )
    weights = np.array(sizes) / sum(sizes)
    error = float(np.std(recalls, ddof=1) / math.sqrt(len(recalls))) if len(recalls) > 1 else 0.0
    print(
        f"added from {MIN_PHOTOS} photos: recall at 1 {weights @ np.array(recalls):.3f} (standard "
        f"error over classes {error:.3f}), log loss of new photos {weights @ np.array(losses):.3f},"
        f" cost to learned classes {np.mean(costs):+.4f} on average, {np.max(costs):+.4f} at most"
    )
    print(f"their photos, what is said: {shares(of_new)}")
    print(f"of learned classes, beside them: {shares(of_old)}")


def joined(bundle: Bundle, looked: Looked, rows: Sequence[int] | None = None) -> Floats:
    """Answer again what the old bundle was asked, with the added class."""
    assert looked.embeddings is not None
    chosen = slice(None) if rows is None else list(rows)
    found = Newcomers.of(bundle).join(looked.log_probs[chosen], looked.embeddings[chosen], None)
    return found[0]


def scored(log_probs: Floats, photos: Sequence[Photo], names: Sequence[str]) -> tuple[float, float]:
    """Give log loss and top-1."""
    places = {name: place for place, name in enumerate(names)}
    truth = np.array([places[photo.label] for photo in photos])
    own = log_probs[np.arange(len(truth)), truth]
    return -float(own.mean()), float((log_probs.argmax(axis=1) == truth).mean())


if __name__ == "__main__":
    main()
