"""The named recipes: the ladder of the team that we started from, and our own."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from chajong.errors import RecipeError
from chajong.recipe import Folds, Infer, Recipe
from chajong.recipe_augment import (
    AutoContrast,
    ColorJitter,
    Crop,
    Flip,
    GaussianBlur,
    RandAugment,
    RandomErasing,
    Rotation,
    TrivialAugment,
    VerticalFlip,
)
from chajong.recipe_file import (
    make_recipe,
    override,
    override_path,
    parse_set,
    read_recipe_file,
)
from chajong.recipe_model import CosineHead, Data, Grow, Model
from chajong.recipe_train import AdamW, Constant, Cosine, Distil, Ema, Focal, Mix, OneCycle, Train
from chajong.wording import did_you_mean, nfc

_CONVNEXT = "convnextv2_base.fcmae_ft_in22k_in1k_384"


def _ladder() -> tuple[Recipe, ...]:
    # Each rung is a small step from the one below.
    first = Recipe(
        name="resnet50-tv",
        about="torchvision's ResNet50 with cross-entropy at a constant rate: the first rung",
        model=Model(backbone="torchvision/resnet50"),
        data=Data(size_px=224),
        augment=(
            Crop(scale=(0.8, 1.0)),
            Flip(p=0.5),
            VerticalFlip(p=0.3),
            Rotation(degrees=15),
            TrivialAugment(),
            RandAugment(),
            ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            AutoContrast(),
            GaussianBlur(kernel_px=3),
            RandomErasing(p=0.25),
        ),
        optim=AdamW(lr=1e-4, weight_decay=0.05),
        schedule=Constant(),
        train=Train(epochs=100, batch_size=64, head_only=0.1, patience=10, keep="best"),
        folds=Folds(num_folds=5, trained=(0,)),
        infer=Infer(views=("plain", "flip")),
    )
    resnet = _step(first, "resnet50", "timm's ResNet50", model=Model(backbone="resnet50"))
    convnext = _step(resnet, "convnext", "ConvNeXt V2 base", model=Model(backbone=_CONVNEXT))
    focal = _step(
        convnext,
        "convnext-focal",
        "ConvNeXt V2 base, focal loss, cosine schedule",
        loss=Focal(gamma=2.0, alpha="inverse_frequency"),
        schedule=Cosine(warmup_epochs=3),
    )
    ema = _step(
        focal,
        "convnext-focal-ema",
        "the same with an average of the weights",
        train=focal.train.model_copy(update={"ema": Ema(decay=0.999)}),
    )
    mixup = _step(ema, "convnext-focal-ema-mixup", "the same with mixup", mix=Mix(mixup=0.4))
    kfold = _step(
        ema,
        "convnext-focal-ema-kfold",
        "EMA without mixup, five folds, their mean: the last rung",
        folds=Folds(num_folds=5),
    )
    return first, resnet, convnext, focal, ema, mixup, kfold


def _step(below: Recipe, name: str, about: str, **parts: Any) -> Recipe:
    return below.model_copy(update={"name": name, "about": about, **parts})


def _cars_fast() -> Recipe:
    return Recipe(
        name="cars-fast",
        about="our best for two CPU cores and a quarter of an hour",
        model=Model(backbone="mobilenetv2_100", frozen_stages=3, cosine=CosineHead()),
        data=Data(size_px=128, grow=(Grow(after=0.65, size_px=160),), eval_px=192),
        augment=(
            Crop(scale=(0.35, 1.0)),
            Flip(),
            Rotation(degrees=8),
            ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
        ),
        mix=Mix(cutmix=1.0, p=0.4, until=0.85),
        optim=AdamW(lr=2e-3, weight_decay=0.05),
        schedule=OneCycle(),
        train=Train(epochs=16, batch_size=64),
        # Both fitted on held-out photos of docs/results.md, never on test photos.
        infer=Infer(views=("flip", "small", "zoom_flip", "tilt_left"), temperature=0.7),
    )


def _cars_distilled() -> Recipe:
    fast = _cars_fast()
    return _step(
        fast,
        "cars-distilled",
        "one network that costs what cars-fast does and answers nearly as its --teacher",
        data=Data(size_px=128, grow=(Grow(after=0.4, size_px=160),), eval_px=192),
        mix=Mix(cutmix=1.0, p=0.5, until=0.85),
        distil=Distil(alpha=0.7, online=True),
        train=fast.train.model_copy(update={"epochs": 46}),
    )


def _cars_best() -> Recipe:
    fast = _cars_fast()
    sizes = (Grow(after=0.4, size_px=192), Grow(after=0.75, size_px=224))
    return fast.model_copy(
        update={
            "name": "cars-best",
            "about": "our best single model for two CPU cores and an hour",
            "data": Data(size_px=160, grow=sizes, eval_px=256),
            "mix": Mix(cutmix=1.0, p=0.5, until=0.85),
            "train": fast.train.model_copy(update={"epochs": 40}),
        }
    )


def _demo() -> Recipe:
    return Recipe(
        name="demo",
        about="a tiny network from scratch, for the demo photos",
        model=Model(backbone="test_resnet", weights="none"),
        data=Data(size_px=96),
        # Colours tell nothing about the model of a car, so they are all but taken away.
        augment=(
            Crop(scale=(0.5, 1.0)),
            Flip(),
            ColorJitter(brightness=0.4, contrast=0.2, saturation=1.0),
        ),
        mix=Mix(cutmix=1.0, p=0.2, until=0.9),
        optim=AdamW(lr=4e-3, weight_decay=0.05),
        schedule=OneCycle(),
        train=Train(epochs=15, batch_size=32),
        folds=Folds(num_folds=3),
        infer=Infer(temperature=0.5),
    )


LADDER: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ladder()})
"""The seven rungs, from the lowest."""

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        **LADDER,
        **{
            recipe.name: recipe
            for recipe in (_cars_fast(), _cars_best(), _cars_distilled(), _demo())
        },
    }
)
"""All named recipes."""


def named_recipe(name: str) -> Recipe:
    """Get a named recipe.

    Args:
        name: One of `RECIPES`.

    Returns:
        The recipe.

    Raises:
        RecipeError: If no recipe has that name.
    """
    if name in RECIPES:
        return RECIPES[name]
    raise RecipeError(
        f"No recipe is named {name!r}{did_you_mean(name, RECIPES)}. There are: "
        f"{', '.join(RECIPES)}; or give a YAML file (its name ends in .yaml or .yml)."
    )


def load_recipe(name_or_file: str | Recipe, changes: Sequence[str] = ()) -> Recipe:
    """Get a recipe by name or from a YAML file, with changes.

    Args:
        name_or_file: One of `RECIPES`, a path that ends in `.yaml` or `.yml`, or a recipe.
        changes: Each `dotted.key=value`, the value in YAML.

    Returns:
        The checked recipe.

    Raises:
        RecipeError: If the name is unknown or anything in it is not allowed; all at once.
    """  # noqa: DOC502 raised by what it calls
    if isinstance(changes, str):  # a sequence of letters
        raise RecipeError(f"Changes must be a list of texts: [{changes!r}]. Got one text.")
    if isinstance(name_or_file, Recipe):
        values = name_or_file.model_dump(mode="json")
    else:
        values = _values_of(name_or_file, ())
    for path, value in _kinds_first(map(parse_set, changes)):
        values = override_path(values, path, value)
    return make_recipe(values)


def _kinds_first(changes: Iterable[tuple[list[str], Any]]) -> list[tuple[list[str], Any]]:
    # A new kind drops the values of the old one, but none that are given with it: it goes before
    # them, though never before what sets the whole part.
    ordered: list[tuple[list[str], Any]] = []
    for path, value in changes:
        place = len(ordered)
        while path[-1] == "kind" and place:
            before = ordered[place - 1][0]
            if path[: len(before)] == before:
                break
            place -= 1
        ordered.insert(place, (path, value))
    return ordered


def _values_of(name_or_file: str, below: tuple[Path, ...]) -> dict[str, Any]:
    # `below` are the files that extend this one, by way of each other.
    if not _is_file_name(name_or_file):
        return named_recipe(name_or_file).model_dump(mode="json")
    path = Path(name_or_file)
    values = read_recipe_file(path)
    real = Path(os.path.realpath(path))
    if real in below:
        chain = " extends ".join(map(str, (*below, real)))
        raise RecipeError(f"Recipe files cannot extend themselves: {chain}.")
    extends = "extends" in values
    base = values.pop("extends", None)
    own = {"name": nfc(path.stem), **values}
    if not extends:
        return own
    if not isinstance(base, str):
        raise RecipeError(
            f"'extends' in {path} must be the name of a recipe or a YAML file. Got {base!r}."
        )
    if _is_file_name(base):
        base = str(path.parent / base)
    try:
        return override(_values_of(base, (*below, real)), own)
    except RecipeError as error:
        raise RecipeError(f"{error}\nIt is extended by {path}.") from error


def _is_file_name(text: str) -> bool:
    return text.lower().endswith((".yaml", ".yml"))
