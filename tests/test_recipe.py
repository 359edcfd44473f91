from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from chajong.recipe import Folds, Infer, Recipe, fingerprint_of
from chajong.recipe_augment import Augment, Crop, Flip, Rotation
from chajong.recipe_file import make_recipe, override_path
from chajong.recipe_model import CosineHead, Data, Gem, Grow, Model
from chajong.recipe_part import Part
from chajong.recipe_train import (
    AdamW,
    CrossEntropy,
    Distil,
    Ema,
    Focal,
    Loss,
    Mix,
    Schedule,
    Swa,
    Taxonomy,
    Train,
)
from chajong.recipes import RECIPES, load_recipe

UNIONS = {"augment": Augment, "loss": Loss, "schedule": Schedule}


def members(union: Any) -> tuple[type[Part], ...]:
    found: tuple[type[Part], ...] = get_args(get_args(union)[0])
    return found


FULL = Recipe(
    name="full",
    about="every part that a recipe can have",
    model=Model(gem=Gem(), cosine=CosineHead()),
    data=Data(size_px=128, grow=(Grow(after=0.5, size_px=160),), eval_px=192),
    augment=tuple(kind() for kind in members(Augment)),
    mix=Mix(mixup=0.4, cutmix=0.5, p=0.6, until=0.7),
    loss=Focal(gamma=1.5, alpha="inverse_frequency"),
    taxonomy=Taxonomy(generation=0.1, model=0.05, maker=0.02),
    distil=Distil(),
    optim=AdamW(clip_norm=1.0, layer_decay=0.8),
    train=Train(ema=Ema(), patience=5, head_only=0.1),
    folds=Folds(num_folds=4, trained=(0, 2)),
)


def leaves(value: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    if not items:
        yield path, value
    for key, inner in items:
        yield from leaves(inner, *path, str(key))


def others(value: Any) -> Iterator[Any]:
    """Values that a leaf might have instead."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value + 2, value * 0.9, 0.5 * value, 0.1)
    else:
        yield from (None, "crop", "letterbox", "fp16", "raw", "best", "cosine", "cross_entropy")
        yield from ("flip", "something", 2, 0.5, [0], {})


def changed(path: tuple[str, ...], value: Any) -> Recipe | None:
    for other in others(value):
        try:
            recipe = make_recipe(override_path(FULL.model_dump(mode="json"), path, other))
        except Exception:  # not a value that this leaf can have
            continue
        if recipe != FULL:
            return recipe
    return None


# The only kind of its part; views may not repeat, so that no single one can change; and there is
# one average.
FIXED = {("optim", "kind"), ("infer", "views", "0"), ("infer", "views", "1"), ("train", "swa")}
LEAVES = {path: value for path, value in leaves(FULL.model_dump(mode="json")) if path not in FIXED}


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_fingerprint_hangs_on_every_decision_and_on_nothing_else(path: tuple[str, ...]) -> None:
    recipe = changed(path, LEAVES[path])
    assert recipe is not None, "no other value is allowed here"
    same = recipe.fingerprint == FULL.fingerprint
    assert same == (path[0] in {"name", "about"})
    assert hash(recipe) != hash(FULL)


def test_fingerprint_hangs_on_the_order_of_augmentations_and_views() -> None:
    swapped = FULL.model_copy(update={"augment": FULL.augment[::-1]})
    assert swapped.fingerprint != FULL.fingerprint
    turned = FULL.model_copy(update={"infer": Infer(views=("flip", "plain"))})
    assert turned.fingerprint != FULL.fingerprint


def test_whole_numbers_are_the_same_decision_as_floats() -> None:
    # 15 in Python and 15.0 from a file would else be two recipes.
    assert Rotation(degrees=15) == Rotation() == Rotation(degrees=15.0)
    assert repr(Rotation().degrees) == "15.0"
    assert all(type(side) is float for side in Crop().scale)


def test_fingerprint_of_plain_values_is_that_of_the_recipe() -> None:
    assert fingerprint_of(FULL.model_dump(mode="json")) == FULL.fingerprint


def test_keys_that_came_later_leave_older_fingerprints_as_they_were() -> None:
    values = Recipe(name="old").model_dump(mode="json")
    for part, key in (
        ("model", "gem"),
        ("model", "cosine"),
        ("train", "swa"),
        ("train", "compile"),
    ):
        del values[part][key]
    for key in ("taxonomy", "distil"):
        del values[key]
    # Of the version before these keys.
    assert fingerprint_of(values) == Recipe(name="old").fingerprint
    plain = load_recipe("cars-fast", ["model.cosine=null"])
    assert plain.fingerprint.startswith("b8918254cd17")
    assert RECIPES["convnext-focal-ema-kfold"].fingerprint.startswith("853e86a970a3")


def test_there_is_one_average() -> None:
    with pytest.raises(ValidationError, match="there is one average"):
        Train(ema=Ema(), swa=Swa())
    assert Train(swa=Swa()).averages
    assert Train(ema=Ema()).averages
    assert not Train().averages
    swa = Recipe(name="x", train=Train(swa=Swa()))
    assert swa.fingerprint != Recipe(name="x").fingerprint
    shorter = Recipe(name="x", train=Train(swa=Swa(last=0.1)))
    assert shorter.fingerprint != swa.fingerprint


def test_relatives_leave_something_to_the_class() -> None:
    with pytest.raises(ValidationError, match="must leave generation \\+ model \\+ maker below 1"):
        Taxonomy(generation=0.5, model=0.3, maker=0.2)


def test_recipe_is_frozen_and_compares_by_value() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        FULL.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        FULL.train.epochs = 3  # type: ignore[misc]
    twin = Recipe.model_validate(FULL.model_dump(mode="json"))
    assert twin == FULL
    assert twin is not FULL
    assert hash(twin) == hash(FULL)
    assert len({twin, FULL, twin.model_copy(update={"loss": CrossEntropy()})}) == 2


def test_every_part_describes_itself_and_is_closed_and_frozen() -> None:
    parts = [*Part.__subclasses__()]
    assert len(parts) > 20
    for part in parts:
        assert part.__doc__
        assert part.model_config["frozen"]
        assert part.model_config["extra"] == "forbid"


@pytest.mark.parametrize("union", UNIONS.values(), ids=UNIONS)
def test_kinds_are_unique_defaults_of_their_field(union: Any) -> None:
    kinds = [part().model_dump()["kind"] for part in members(union)]
    assert len(set(kinds)) == len(kinds)


def test_training_size_grows_at_its_steps() -> None:
    data = Data(
        size_px=96, grow=(Grow(after=0.5, size_px=128), Grow(after=0.75, size_px=160)), eval_px=160
    )
    sizes = [data.training_px(progress) for progress in (0, 0.49, 0.5, 0.74, 0.75, 0.99)]
    assert sizes == [96, 96, 128, 128, 160, 160]
    assert Data(size_px=96).training_px(0.9) == 96


def test_evaluation_size_is_the_training_size_unless_said() -> None:
    assert Data(size_px=96).evaluation_px == 96
    assert Data(size_px=96, eval_px=128).evaluation_px == 128


def test_folds_to_train() -> None:
    assert Folds(num_folds=3).to_train == (0, 1, 2)
    assert Folds(num_folds=3, trained=(2,)).to_train == (2,)


def mixing_until(until: float) -> Recipe:
    return Recipe(name="r", mix=Mix(mixup=0.4, until=until), train=Train(head_only=0.1))


def test_mixing_must_go_on_when_more_than_the_head_learns() -> None:
    assert mixing_until(0.2).mix.until == 0.2
    assert Recipe(name="r", mix=Mix(until=0.1), train=Train(head_only=0.1)).mix.mixup == 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Folds(num_folds=3, trained=(3,)), "from 0 to 2"),
        (lambda: Folds(trained=()), "at least one fold"),
        (lambda: Folds(trained=(1, 1)), "each fold once"),
        (lambda: Infer(views=()), "at least one view"),
        (lambda: Infer(views=("flip", "flip")), "each view once"),
        (lambda: Crop(scale=(0.9, 0.1)), "the smaller number"),
        (lambda: Data(grow=(Grow(after=0.5, size_px=96),) * 2), "larger 'after'"),
        (lambda: Data(size_px=384, eval_px=192), "must be at least 384, the largest of"),
        (lambda: Data(size_px=64, grow=(Grow(after=0.5, size_px=128),)), "must be at least 128"),
        (lambda: Model(weights="none", frozen_stages=3), "must be 0 where model.weights is none"),
        (lambda: Flip(p=1.5), "less than or equal to 1"),
        (lambda: Flip(p=True), "must be a number"),
        (lambda: Train(epochs=0), "greater than or equal to 1"),
        (lambda: AdamW(lr=float("nan")), "finite"),
        (lambda: AdamW(lr=0), "greater than 0"),
        (lambda: mixing_until(0.1), "below mix.until"),
    ],
)
def test_values_out_of_range_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        make()


@pytest.mark.parametrize("name", ["cars-fast", "a.b_c", "2024", "내-레시피", "x" * 60])
def test_names_that_can_name_a_folder(name: str) -> None:
    assert Recipe(name=name).name == name


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "..", ".hidden", "-x", "x" * 61, "a\n"])
def test_names_that_cannot_name_a_folder(name: str) -> None:
    with pytest.raises(ValidationError, match="letters, digits"):
        Recipe(name=name)
