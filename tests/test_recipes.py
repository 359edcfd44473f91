import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from chajong.errors import RecipeError
from chajong.recipe import Recipe
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
from chajong.recipe_file import differences, make_recipe
from chajong.recipe_train import Constant, Cosine, CrossEntropy, Ema, Focal, Mix
from chajong.recipes import RECIPES, load_recipe, named_recipe

CONVNEXT = "convnextv2_base.fcmae_ft_in22k_in1k_384"
LADDER = (
    "resnet50-tv",
    "resnet50",
    "convnext",
    "convnext-focal",
    "convnext-focal-ema",
    "convnext-focal-ema-mixup",
    "convnext-focal-ema-kfold",
)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_whole(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.name == name
    assert recipe.about
    assert named_recipe(name) is recipe
    # Checked again: steps of the ladder are copies, which pydantic does not check.
    assert make_recipe(recipe.model_dump()) == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_the_same_read_back_from_its_yaml(name: str, tmp_path: Path) -> None:
    path = tmp_path / "copy.yaml"
    path.write_text(RECIPES[name].to_yaml(), encoding="utf-8")
    copy = load_recipe(str(path))
    assert copy == RECIPES[name]
    assert copy.fingerprint == RECIPES[name].fingerprint


def test_recipes_decide_different_things() -> None:
    assert len({recipe.fingerprint for recipe in RECIPES.values()}) == len(RECIPES)


def test_there_are_the_ladder_and_our_own() -> None:
    assert tuple(RECIPES)[: len(LADDER)] == LADDER
    assert RECIPES["cars-fast"].model.backbone == "mobilenetv2_100"


@pytest.mark.parametrize("name", LADDER)
def test_what_all_rungs_share(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.data.size_px == recipe.data.evaluation_px == 224
    assert recipe.data.grow == ()
    assert recipe.train.batch_size == 64
    assert recipe.train.epochs == 100
    assert recipe.train.seed == recipe.folds.seed == 42
    assert recipe.train.head_only == 0.1
    assert recipe.train.patience == 10
    assert recipe.optim.kind == "adamw"
    assert recipe.optim.lr == 1e-4
    assert recipe.optim.weight_decay == 0.05
    assert recipe.optim.layer_decay == 1
    assert recipe.infer.views == ("plain", "flip")
    assert recipe.model.weights == "pretrained"
    assert recipe.model.frozen_stages == 0
    assert recipe.augment == (
        Crop(scale=(0.8, 1)),
        Flip(p=0.5),
        VerticalFlip(p=0.3),
        Rotation(degrees=15),
        TrivialAugment(),
        RandAugment(),
        ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
        AutoContrast(),
        GaussianBlur(kernel_px=3),
        RandomErasing(p=0.25),
    )


@pytest.mark.parametrize(
    ("name", "backbone", "loss", "schedule", "ema", "mixup", "folds"),
    [
        ("resnet50-tv", "torchvision/resnet50", CrossEntropy(), Constant(), None, 0, (0,)),
        ("resnet50", "resnet50", CrossEntropy(), Constant(), None, 0, (0,)),
        ("convnext", CONVNEXT, CrossEntropy(), Constant(), None, 0, (0,)),
        ("convnext-focal", CONVNEXT, "focal", "cosine", None, 0, (0,)),
        ("convnext-focal-ema", CONVNEXT, "focal", "cosine", 0.999, 0, (0,)),
        ("convnext-focal-ema-mixup", CONVNEXT, "focal", "cosine", 0.999, 0.4, (0,)),
        ("convnext-focal-ema-kfold", CONVNEXT, "focal", "cosine", 0.999, 0, (0, 1, 2, 3, 4)),
    ],
)
def test_the_table_of_the_ladder(
    name: str,
    backbone: str,
    loss: Any,
    schedule: Any,
    ema: float | None,
    mixup: float,
    folds: tuple[int, ...],
) -> None:
    recipe = RECIPES[name]
    named = {
        "focal": Focal(gamma=2, alpha="inverse_frequency"),
        "cosine": Cosine(warmup_epochs=3, final=0),
    }
    assert recipe.model.backbone == backbone
    assert recipe.loss == (named["focal"] if loss == "focal" else loss)
    assert recipe.schedule == (named["cosine"] if schedule == "cosine" else schedule)
    assert recipe.train.ema == (Ema(decay=ema) if ema else None)
    # Mixed throughout: mixup that ends with the head-only epochs would do nothing.
    assert recipe.mix == Mix(mixup=mixup, cutmix=0, p=1, until=1)
    assert recipe.folds.to_train == folds
    assert recipe.folds.num_folds == 5


@pytest.mark.parametrize(
    ("below", "above", "changes"),
    [
        ("resnet50-tv", "resnet50", {"model.backbone"}),
        ("resnet50", "convnext", {"model.backbone"}),
        (
            "convnext",
            "convnext-focal",
            {
                *("loss.kind", "loss.smoothing", "loss.gamma", "loss.alpha"),
                *("schedule.kind", "schedule.warmup_epochs", "schedule.final"),
            },
        ),
        ("convnext-focal", "convnext-focal-ema", {"train.ema.decay", "train.ema.warmup"}),
        ("convnext-focal-ema", "convnext-focal-ema-mixup", {"mix.mixup"}),
        ("convnext-focal-ema", "convnext-focal-ema-kfold", {"folds.trained"}),
    ],
)
def test_a_rung_is_one_step_from_another(below: str, above: str, changes: set[str]) -> None:
    assert set(differences(RECIPES[below], RECIPES[above])) == changes


def test_an_unknown_name() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("convnext-focal-em")
    assert "'convnext-focal-em' (did you mean 'convnext-focal-ema'?)" in str(caught.value)
    assert all(name in str(caught.value) for name in RECIPES)
    with pytest.raises(RecipeError, match="or give a YAML file"):
        load_recipe("")


def test_changes() -> None:
    changes = [
        "train.epochs=3",
        "optim.lr=1e-3",
        "optim.clip_norm=1",
        "augment.0.scale=[0.5,1]",
        "augment.2.p=0",
        "data.eval_px=256",
        "train.ema={decay: 0.9}",
        "train.patience=null",
        "model.weights=none",
        "name=mine",
    ]
    recipe = load_recipe("convnext", changes)
    assert differences(RECIPES["convnext"], recipe) == {
        "train.epochs": (100, 3),
        "optim.lr": (1e-4, 1e-3),
        "optim.clip_norm": (None, 1.0),
        "augment.0.scale": ([0.8, 1.0], [0.5, 1.0]),
        "augment.2.p": (0.3, 0.0),
        "data.eval_px": (None, 256),
        "train.ema.decay": (None, 0.9),
        "train.ema.warmup": (None, False),
        "train.patience": (10, None),
        "model.weights": ("pretrained", "none"),
    }
    assert recipe.name == "mine"


def test_the_last_of_two_changes_wins() -> None:
    assert load_recipe("demo", ["train.epochs=3", "train.epochs=4"]).train.epochs == 4


def test_a_new_kind_starts_anew(tmp_path: Path) -> None:
    base = tmp_path / "smooth.yaml"
    base.write_text("extends: demo\nloss: {smoothing: 0.1}\n", encoding="utf-8")
    assert load_recipe(str(base)).loss == CrossEntropy(smoothing=0.1)
    for change in ("loss.kind=focal", "loss={kind: focal}"):
        assert load_recipe(str(base), [change]).loss == Focal()
    # Asked for together, they contradict each other: neither is dropped.
    with pytest.raises(RecipeError, match="known to the kind 'cross_entropy'"):
        load_recipe("demo", ["loss.smoothing=0.1", "loss.kind=focal"])


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        (["loss={kind: focal, gamma: 2}", "loss.kind=poly"], "poly"),
        (["loss.kind=poly", "loss={kind: focal, gamma: 2}"], "focal"),
        (["loss.kind=focal", "loss.kind=poly"], "poly"),
        (["loss.gamma=2", "train.epochs=3", "loss.kind=focal"], "focal"),
    ],
)
def test_the_last_kind_counts(changes: list[str], kind: str) -> None:
    assert load_recipe("demo", changes).loss.kind == kind


def test_a_new_kind_keeps_what_is_given_with_it_in_any_order() -> None:
    changes = ["loss.gamma=3", "loss.kind=focal", "augment.1.degrees=5", "augment.1.kind=rotation"]
    recipe = load_recipe("demo", changes)
    assert recipe.loss == Focal(gamma=3)
    assert recipe.augment[1] == Rotation(degrees=5)


def test_mistakes_of_changes_are_reported_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("demo", ["train.epoch=3", "data.aspect=wide", "optim.lr=0", "nonsense=1"])
    said = str(caught.value)
    for path in ("train.epoch", "data.aspect", "optim.lr", "nonsense"):
        assert f"  {path}: " in said
    assert "4 things to put right" in said


def test_a_file_extends_a_named_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: demo\ntrain: {epochs: 3}\nloss: {kind: focal}\n", encoding="utf-8")
    recipe = load_recipe(str(path), ["optim.lr=1e-2"])
    assert recipe.name == "mine"
    assert recipe.loss == Focal()
    assert recipe.optim.lr == 0.01
    assert recipe.train == RECIPES["demo"].train.model_copy(update={"epochs": 3})
    assert recipe.data == RECIPES["demo"].data


def test_a_file_extends_a_file_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes" / "more").mkdir(parents=True)
    (tmp_path / "recipes" / "base.yml").write_text("extends: demo\ntrain: {epochs: 3}\n")
    (tmp_path / "recipes" / "more" / "top.YAML").write_text(
        "extends: ../base.yml\ntrain: {seed: 7}\nname: chosen\n"
    )
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("recipes/more/top.YAML")
    assert (recipe.name, recipe.train.epochs, recipe.train.seed) == ("chosen", 3, 7)


def test_a_file_stands_alone_with_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "alone.yaml"
    path.write_text("train: {epochs: 3}\n", encoding="utf-8")
    assert load_recipe(str(path)) == make_recipe({"name": "alone", "train": {"epochs": 3}})


def test_a_base_is_not_lost_silently(tmp_path: Path) -> None:
    path = tmp_path / "alone.yaml"
    path.write_text("train: {epochs: 3}\nextends:\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"'extends' in .* must be the name of a recipe"):
        load_recipe(str(path))
    path.write_text("extend: demo\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"unknown key \(did you mean 'extends'\?\)"):
        load_recipe(str(path))


def test_a_korean_file_name_in_either_form_gives_one_name(tmp_path: Path) -> None:
    decomposed = tmp_path / "\u1109\u1175\u1112\u1165\u11b7.yaml"  # as macOS writes it
    decomposed.write_text("extends: demo", encoding="utf-8")
    assert load_recipe(str(decomposed)).name == "\uc2dc\ud5d8"


def test_a_file_name_that_is_no_recipe_name(tmp_path: Path) -> None:
    path = tmp_path / "my recipe.yaml"
    path.write_text("extends: demo", encoding="utf-8")
    with pytest.raises(RecipeError, match="name: must be up to 60 letters"):
        load_recipe(str(path))
    assert load_recipe(str(path), ["name=mine"]).name == "mine"


def test_files_that_extend_themselves_are_refused(tmp_path: Path) -> None:
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    a.write_text("extends: ./b.yaml")
    b.write_text("extends: a.yaml")
    with pytest.raises(RecipeError, match="cannot extend themselves") as caught:
        load_recipe(str(a))
    assert f"{a} extends {b} extends {a}" in str(caught.value)
    own = tmp_path / "own.yaml"
    own.write_text("extends: link.yaml")
    (tmp_path / "link.yaml").symlink_to(own)
    with pytest.raises(RecipeError, match="cannot extend themselves"):
        load_recipe(str(own))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: demoo", "'demoo' (did you mean 'demo'?)"),
        ("extends: missing.yaml", "No such file"),
        ("extends: [demo]", "must be the name of a recipe or a YAML file. Got ['demo']."),
        ("extends: {a: 1}", "must be the name of a recipe or a YAML file."),
        ('extends: "a\\0.yaml"', "cannot be read"),
        ("- extends: demo", "must be a YAML mapping"),
    ],
)
def test_what_a_file_cannot_extend(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_random_files_are_loaded_or_refused(tmp_path: Path) -> None:
    chance = random.Random(5)
    pieces = [
        *("extends", "name", "loss", "kind", "focal", "train", "demo", "x.yaml", "augment", "1"),
        *(
            ": ",
            ":",
            "\n",
            "\n  ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            "&a ",
            "*a",
            "<<",
            "'",
            "#",
            "!",
        ),
        *("null", "true", "1e3", ".nan", "\x00", "é", "중"),
    ]
    path = tmp_path / "x.yaml"
    loaded = 0
    for _ in range(200):
        text = chance.choice(["", "extends: demo\n"]) + "".join(
            chance.choices(pieces, k=chance.randrange(8))
        )
        path.write_bytes(text.encode() + (b"\xff" if chance.random() < 0.05 else b""))
        try:
            recipe = load_recipe(str(path))
        except RecipeError:
            continue
        assert isinstance(recipe, Recipe)
        assert make_recipe(yaml.safe_load(recipe.to_yaml())) == recipe
        loaded += 1
    assert loaded


def test_changes_are_a_list() -> None:
    with pytest.raises(RecipeError, match=r"a list of texts: \['train.epochs=3'\]"):
        load_recipe("demo", "train.epochs=3")
