"""A recipe: everything that decides how a model is trained, as one frozen, checked value."""

import re
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator

from chajong.files import fingerprint
from chajong.recipe_augment import Augment
from chajong.recipe_part import (
    Count,
    Fraction,
    NotNegative,
    Part,
    PartFraction,
    Pixels,
    Positive,
    Real,
    Share,
    Text,
    Whole,
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


class Gem(Part):
    """Generalised-mean pooling (Radenovic et al., 2019): the p-th root of the mean p-th power."""

    p: Annotated[Real, Field(ge=1)] = Field(3.0, description="1 is the mean; more is peakier")
    learned: bool = True


class CosineHead(Part):
    """A last layer that sees angles alone: scale times the cosine to each class's weights."""

    scale: Positive = 16.0
    learned: bool = True


class Model(Part):
    """The network: its body, where its weights come from, and how much of it learns."""

    backbone: Text = Field("mobilenetv2_100", description="a timm name, or torchvision/NAME")
    weights: Text = Field("pretrained", description="pretrained, none, or a safetensors file")
    dropout: PartFraction = 0.0
    drop_path: PartFraction = 0.0
    frozen_stages: Count = Field(
        0, description="how many stages, from the photo on, keep their pretrained weights"
    )
    gem: Gem | None = Field(None, description="instead of the mean over places")
    cosine: CosineHead | None = Field(None, description="instead of the linear last layer")

    @field_validator("frozen_stages")
    @classmethod
    def _freezes_what_is_known(cls, frozen_stages: int, others: ValidationInfo) -> int:
        if frozen_stages and others.data.get("weights") == "none":
            raise ValueError("must be 0 where model.weights is none: random weights would stay")
        return frozen_stages


class Grow(Part):
    """From a share of the epochs on, training photos have another size."""

    after: Fraction
    size_px: Pixels


class Data(Part):
    """The photos as the network sees them."""

    size_px: Pixels = Field(224, description="side of a training photo")
    grow: tuple[Grow, ...] = ()
    eval_px: Pixels | None = Field(None, description="side of an evaluated photo; size_px if none")
    aspect: Literal["squash", "letterbox", "crop"] = "squash"

    @field_validator("grow")
    @classmethod
    def _grows_in_order(cls, grow: tuple[Grow, ...]) -> tuple[Grow, ...]:
        if any(later.after <= step.after for step, later in pairwise(grow)):
            raise ValueError("must be steps of which each has a larger 'after' than the last")
        return grow

    @field_validator("eval_px")
    @classmethod
    def _holds_what_is_learned(cls, eval_px: int | None, others: ValidationInfo) -> int | None:
        # Photos are cached at the evaluated size: larger ones would be blurred.
        if {"size_px", "grow"} <= others.data.keys():
            sides = [others.data["size_px"], *(step.size_px for step in others.data["grow"])]
            if (eval_px or sides[0]) < max(sides):
                raise ValueError(
                    f"must be at least {max(sides)}, the largest of data.size_px and data.grow, as "
                    "photos are kept at the evaluated size"
                )
        return eval_px

    @property
    def trained_px(self) -> tuple[int, ...]:
        """Sides of training photos, in pixels, from the first on."""
        return (self.size_px, *(step.size_px for step in self.grow))

    @property
    def evaluation_px(self) -> int:
        """Side of an evaluated photo, in pixels."""
        return self.eval_px or self.size_px

    def training_px(self, progress: float) -> int:
        """Side of a training photo at a point of the training.

        Args:
            progress: The share of the epochs that is done, in [0, 1).

        Returns:
            The side in pixels.
        """
        size_px = self.size_px
        for step in self.grow:
            if progress >= step.after:
                size_px = step.size_px
        return size_px


class Mix(Part):
    """Photos blended in pairs: mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019).

    An alpha of 0 turns one off; with both on, each batch takes one of them at random.
    """

    mixup: NotNegative = Field(0.0, description="alpha of the beta distribution")
    cutmix: NotNegative = Field(0.0, description="alpha of the beta distribution")
    p: Fraction = Field(1.0, description="share of the batches that are mixed")
    until: Fraction = Field(1.0, description="share of the epochs after which it stops")


class CrossEntropy(Part):
    """Cross-entropy, with labels smoothed if asked for."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    smoothing: PartFraction = 0.0


class Focal(Part):
    """Focal loss (Lin et al., 2017), for hard and soft targets."""

    kind: Literal["focal"] = "focal"
    gamma: NotNegative = 2.0
    alpha: Literal["inverse_frequency"] | None = None


class Poly(Part):
    """Poly-1 loss (Leng et al., 2022): cross-entropy and epsilon times the missed probability."""

    kind: Literal["poly"] = "poly"
    epsilon: Annotated[Real, Field(ge=-1)] = 1.0
    smoothing: PartFraction = 0.0


Loss = Annotated[CrossEntropy | Focal | Poly, Field(discriminator="kind")]


class Taxonomy(Part):
    """Shares of each target that go to its relatives, by the catalogue.

    A share is spread evenly over the other classes of the same generation, model or maker; where
    there are none, or nothing is known, it stays with the class itself.
    """

    generation: PartFraction = 0.0
    model: PartFraction = 0.0
    maker: PartFraction = 0.0

    @field_validator("maker")
    @classmethod
    def _leaves_something(cls, maker: float, others: ValidationInfo) -> float:
        if maker + sum(others.data.get(name, 0.0) for name in ("generation", "model")) >= 1:
            raise ValueError("must leave generation + model + maker below 1")
        return maker


class Distil(Part):
    """Learning what a teacher says of the training photos (Hinton et al., 2015).

    Without `online` the teacher's out-of-fold table is taken; with it, its networks see the same
    augmented and mixed photos (Beyer et al., 2022), which costs their time at each step.
    """

    alpha: Share = Field(0.7, description="the teacher's share of the target")
    temperature: Positive = Field(1.0, description="divides the teacher's logits")
    online: bool = False


class AdamW(Part):
    """AdamW (Loshchilov and Hutter, 2019)."""

    kind: Literal["adamw"] = "adamw"
    lr: Positive = 1e-4
    weight_decay: NotNegative = 0.05
    layer_decay: Share = Field(
        1.0, description="factor on the rate from each stage to the one before it"
    )
    clip_norm: Positive | None = None
    accumulate: Annotated[Whole, Field(ge=1)] = Field(1, description="batches a step")


class Constant(Part):
    """One learning rate throughout, after a linear warm-up."""

    kind: Literal["constant"] = "constant"
    warmup_epochs: NotNegative = 0.0


class Cosine(Part):
    """Half a cosine down to a last share of the rate, after a linear warm-up."""

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: NotNegative = 0.0
    final: Fraction = 0.0


class OneCycle(Part):
    """Up along half a cosine and down along another (Smith and Topin, 2018)."""

    kind: Literal["one_cycle"] = "one_cycle"
    peak_at: Annotated[Real, Field(gt=0, lt=1)] = 0.3
    start: Fraction = 0.04
    final: Fraction = 0.0


Schedule = Annotated[Constant | Cosine | OneCycle, Field(discriminator="kind")]


class Ema(Part):
    """A moving average of the weights, updated after each step."""

    decay: Annotated[Real, Field(gt=0, lt=1)] = 0.999
    warmup: bool = Field(False, description="start with a short memory that grows to 'decay'")


class Swa(Part):
    """The plain mean of the weights after each step of the last epochs (Izmailov et al., 2018).

    Batch norms are measured anew for it.
    """

    last: Share = Field(0.25, description="share of the epochs, at the end, that it is taken over")


class Train(Part):
    """How long, how fast and how exactly to train."""

    epochs: Annotated[Whole, Field(ge=1)] = 100
    batch_size: Annotated[Whole, Field(ge=2)] = 64
    head_only: PartFraction = Field(
        0.0, description="share of the epochs, at the start, in which only the head learns"
    )
    patience: Annotated[Whole, Field(ge=1)] | None = Field(
        None, description="epochs without a better validation log loss before it stops"
    )
    keep: Literal["best", "last"] = Field(
        "last", description="the epoch whose weights stay; best is chosen by the held-out photos"
    )
    ema: Ema | None = None
    swa: Swa | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = Field(False, description="torch.compile: minutes at first, faster after that")
    seed: Count = 42

    @field_validator("swa")
    @classmethod
    def _averages_in_one_way(cls, swa: Swa | None, others: ValidationInfo) -> Swa | None:
        if swa is not None and others.data.get("ema") is not None:
            raise ValueError("must be none where train.ema is set: there is one average")
        return swa

    @property
    def averages(self) -> bool:
        """Whether averaged weights are kept beside the raw ones."""
        return self.ema is not None or self.swa is not None

    @property
    def chooses_by_score(self) -> bool:
        """Whether held-out photos say when to stop, so that their score flatters."""
        return self.keep == "best" or self.patience is not None


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
