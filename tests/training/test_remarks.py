"""What may surprise is said, and nothing else."""

import re

import pytest

from chajong.recipe import Infer, Recipe
from chajong.recipe_train import Cosine, Ema, Train
from chajong.recipes import RECIPES, load_recipe
from chajong.training.remarks import remarks


def said(recipe: Recipe, num_photos: int = 5000, is_all: bool = False) -> list[str]:
    return list(remarks(recipe, num_photos, is_all))


def test_an_average_that_does_not_answer_needs_no_remark() -> None:
    train = Train(epochs=10, ema=Ema())
    assert said(Recipe(name="r", train=train, infer=Infer(weights="raw"))) == []


def test_ordinary_trainings_need_none() -> None:
    for recipe in RECIPES.values():
        assert said(recipe, 30_000) == []
    assert said(load_recipe("cars-fast"), is_all=True) == []


@pytest.mark.parametrize(
    ("train", "schedule", "is_all", "told"),
    [
        (Train(patience=3), None, True, "do nothing with --fold all.*all 100 epochs"),
        (Train(keep="best"), None, True, "do nothing with --fold all"),
        (Train(epochs=3), Cosine(warmup_epochs=5), False, "is 5 of 3 epochs: the learning rate"),
        (Train(epochs=10, ema=Ema()), None, False, "after 790 updates 45% of the average"),
    ],
)
def test_what_surprises_is_said(
    train: Train, schedule: Cosine | None, is_all: bool, told: str
) -> None:
    recipe = Recipe(name="r", train=train, schedule=schedule or Cosine())
    (line,) = said(recipe, is_all=is_all)
    assert re.search(told, line)
