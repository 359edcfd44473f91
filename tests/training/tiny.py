"""Photos, recipes and trainings as small as they get."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from chajong.recipe import Folds, Infer, Recipe
from chajong.recipe_model import Data, Model
from chajong.recipe_train import AdamW, Train
from chajong.training.fit import Fit
from chajong.training.fold import Fold
from chajong.training.loader import Examples
from chajong.training.weights import build_network
from chajong.training.world import World

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)
NUM_CLASSES = 3
COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200))
LAYER_NORM = Model(backbone="test_convnext", weights="none")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def make_pixels(targets: NDArray[np.intp], side_px: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    """Photos that a network tells apart by their colour."""
    noise = np.random.default_rng(seed).normal(0, 40, (len(targets), side_px, side_px, 3))
    colours = np.array(COLOURS)[targets][:, None, None]
    return (colours + noise).clip(0, 255).astype(np.uint8)


def make_examples(num_photos: int = 24, seed: int = 0, wrong: bool = False) -> Examples:
    """Photos of three classes, not in the order of the cache; `wrong` shifts their labels."""
    targets = np.arange(num_photos) % NUM_CLASSES
    rows = np.random.default_rng(seed).permutation(num_photos)
    pixels = np.empty((num_photos, 32, 32, 3), np.uint8)
    pixels[rows] = make_pixels(targets, seed=seed)
    return Examples(pixels, rows, (targets + wrong) % NUM_CLASSES)


def make_recipe(**changes: Any) -> Recipe:
    """A recipe of three short epochs; `train_...` and `optim_...` change those parts."""
    train: dict[str, Any] = {"epochs": 3, "batch_size": 8, "precision": "fp32", "seed": 1}
    optim: dict[str, Any] = {"lr": 3e-3}
    rest: dict[str, Any] = {}
    for name, value in changes.items():
        part, _, key = name.partition("_")
        {"train": train, "optim": optim}.get(part, rest)[key if key else name] = value
    parts: dict[str, Any] = {
        "model": Model(backbone="test_resnet", weights="none"),
        "data": Data(size_px=32),
        "folds": Folds(num_folds=2),
        "infer": Infer(views=("plain",)),
        **rest,
    }
    return Recipe(name="tiny", train=Train(**train), optim=AdamW(**optim), **parts)


def make_fit(
    folder: Path,
    recipe: Recipe,
    train: Examples | None = None,
    validation: Examples | None = None,
    world: World = ALONE,
    **options: Any,
) -> Fit:
    """A training of one fold; `validation` is another draw of the same classes by default."""
    torch.manual_seed(5)
    network, _ = build_network(recipe.model, NUM_CLASSES)
    fold = Fold(
        name="0",
        train=train or make_examples(),
        validation=validation or make_examples(12, seed=1),
        num_classes=NUM_CLASSES,
        canonical=np.arange(NUM_CLASSES),
        folder=folder,
    )
    mean, std = options.pop("mean", MEAN), options.pop("std", STD)
    return Fit(recipe, fold, network, mean, std, world, **options)


def weights_of(fit: Fit) -> dict[str, torch.Tensor]:
    """A copy of all weights, raw and averaged."""
    return {
        f"{kind}.{name}": value.clone()
        for kind, state in fit.states().items()
        for name, value in state.items()
    }


def assert_same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Bit by bit."""
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def measured(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A history without what depends on the time of day."""
    clock = {"seconds", "photos_per_s", "waiting_share"}
    return [{key: entry[key] for key in entry if key not in clock} for entry in history]


def final(fit: Fit) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    """Train to the end; gives what was measured and the weights."""
    return measured(fit.run()), weights_of(fit)


def write_photos(folder: Path, per_class: int = 12, side_px: int = 48) -> Path:
    """Photo files of three classes in folders, one of them with a Korean name."""
    targets = np.arange(NUM_CLASSES * per_class) % NUM_CLASSES
    for i, pixels in enumerate(make_pixels(targets, side_px)):
        path = folder / ("빨강", "green", "blue")[i % NUM_CLASSES] / f"{i:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
    return folder
