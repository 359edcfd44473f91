"""A recipe: everything that decides how a model is trained, as one frozen, checked value."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator

from chajong.files import fingerprint
from chajong.recipe_augment import Augment
from chajong.recipe_model import Data, Model
from chajong.recipe_part import Count, Part, Positive, Text, Whole
from chajong.recipe_train import (
    AdamW,
    Constant,
    CrossEntropy,
    Distil,
    Loss,
    Mix,
    Schedule,
    Taxonomy,
    Train,
)

ViewName = Literal[
    "plain", "flip", "small", "large", "large_flip", "zoom", "zoom_flip", "wide", "left", "right",
    "letterbox", "square_crop", "tilt_left", "tilt_right", "blur", "brighter", "darker",
]  # fmt: skip

SAID_OF_ITSELF = frozenset({"name", "about"})
"""The keys of a recipe that decide nothing."""

# Keys that are younger than some runs, each with the value at which it does nothing: there it is
# left out of the fingerprint, which so stays what it was before.
_YOUNGER: Mapping[tuple[str, ...], Any] = MappingProxyType(
    {
        ("model", "gem"): None,
        ("model", "cosine"): None,
        ("taxonomy",): None,
        ("distil",): None,
        ("train", "swa"): None,
        ("train", "compile"): False,
    }
)


class Folds(Part):
    """The split into folds, and which of them are trained."""

    num_folds: Annotated[Whole, Field(ge=2, le=20)] = 5
    trained: tuple[Count, ...] | None = Field(None, description="fold numbers; all if none")
    seed: Count = 42

    @field_validator("trained")
    @classmethod
    def _trains_existing_folds(
        cls, trained: tuple[int, ...] | None, others: ValidationInfo
    ) -> tuple[int, ...] | None:
        # Without num_folds that is wrong itself, and has its own message.
        num_folds = others.data.get("num_folds")
        if trained is not None and (not trained or len(set(trained)) < len(trained)):
            raise ValueError("must name at least one fold, and each fold once")
        if trained and num_folds is not None and max(trained) >= num_folds:
            raise ValueError(f"must name folds from 0 to {num_folds - 1}, below num_folds")
        return trained

    @property
    def to_train(self) -> tuple[int, ...]:
        """The folds to train, by number."""
        return tuple(range(self.num_folds)) if self.trained is None else self.trained


class Infer(Part):
    """How finished models look at photos."""

    views: tuple[ViewName, ...] = ("plain", "flip")
    weights: Literal["ema", "raw"] = Field("ema", description="raw where nothing is averaged")
    temperature: Positive = Field(
        1.0, description="divides the logits; below 1 for models that strong mixing left unsure"
    )

    @field_validator("views")
    @classmethod
    def _names_views_once(cls, views: tuple[ViewName, ...]) -> tuple[ViewName, ...]:
        if not views or len(set(views)) < len(views):
            raise ValueError("must name at least one view, and each view once")
        return views


class Recipe(Part):
    """Everything that decides how a model is trained."""

    name: str
    about: Text = ""
    model: Model = Model()
    data: Data = Data()
    augment: tuple[Augment, ...] = ()
    mix: Mix = Mix()
    loss: Loss = CrossEntropy()
    taxonomy: Taxonomy | None = None
    distil: Distil | None = None
    optim: AdamW = AdamW()
    schedule: Schedule = Constant()
    train: Train = Train()
    folds: Folds = Folds()
    infer: Infer = Infer()

    @field_validator("name")
    @classmethod
    def _can_name_a_folder(cls, name: str) -> str:
        if len(name) > 60 or not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError("must be up to 60 letters, digits, '_', '.' and '-', no '.' first")
        return name

    @field_validator("train")
    @classmethod
    def _mixes_beyond_the_head(cls, train: Train, others: ValidationInfo) -> Train:
        mix = others.data.get("mix")
        if mix is not None and (mix.mixup or mix.cutmix) and mix.until <= train.head_only:
            raise ValueError("must leave head_only below mix.until: mixing does nothing for a head")
        return train

    @property
    def answers_by(self) -> Literal["raw", "ema"]:
        """Which weights answer: the average where there is one and it is wanted."""
        return self.infer.weights if self.train.averages else "raw"

    @property
    def fingerprint(self) -> str:
        """Names the recipe by all that it decides: not by its name or what it says of itself."""
        return fingerprint_of(self.model_dump(mode="json"))

    def to_yaml(self) -> str:
        """Write the recipe as YAML.

        Returns:
            The whole recipe, defaults included.
        """
        values = self.model_dump(mode="json")
        return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100))


def fingerprint_of(values: Mapping[str, Any]) -> str:
    """Name a recipe that is given as plain values, defaults included.

    Args:
        values: What the YAML of a whole recipe holds.

    Returns:
        The fingerprint that the recipe has.
    """
    said = {key: values[key] for key in values if key not in SAID_OF_ITSELF}
    for path, off in _YOUNGER.items():
        said = _without(said, path, off)
    return fingerprint(said)


def _without(values: Mapping[str, Any], path: tuple[str, ...], off: Any) -> dict[str, Any]:
    key, *rest = path
    inner = values.get(key)
    if rest and isinstance(inner, Mapping):
        return {**values, key: _without(inner, tuple(rest), off)}
    return {k: v for k, v in values.items() if rest or k != key or v != off}
