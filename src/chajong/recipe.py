"""A recipe: everything that decides how a model is trained, as one frozen, checked value."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from chajong.files import fingerprint


def _not_a_flag(value: Any) -> Any:
    # Python takes true for 1, which nobody means.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _unicode(text: str) -> str:
    # YAML can spell half a character ("\ud800"), which no file can hold.
    if text != text.encode(errors="replace").decode():
        raise ValueError("must be Unicode text")
    return text


def _ascending(numbers: tuple[float, float]) -> tuple[float, float]:
    if numbers[0] > numbers[1]:
        raise ValueError("must be the smaller number, then the larger one")
    return numbers


Whole = Annotated[int, BeforeValidator(_not_a_flag)]
Real = Annotated[float, BeforeValidator(_not_a_flag)]
Count = Annotated[Whole, Field(ge=0)]
Fraction = Annotated[Real, Field(ge=0, le=1)]
PartFraction = Annotated[Real, Field(ge=0, lt=1)]
Share = Annotated[Real, Field(gt=0, le=1)]
Positive = Annotated[Real, Field(gt=0)]
NotNegative = Annotated[Real, Field(ge=0)]
Pixels = Annotated[Whole, Field(ge=8, le=1024)]
Text = Annotated[str, AfterValidator(_unicode)]
Shares = Annotated[tuple[Share, Share], AfterValidator(_ascending)]
Range = Annotated[tuple[Positive, Positive], AfterValidator(_ascending)]
ViewName = Literal[
    "plain", "flip", "small", "large", "large_flip", "zoom", "zoom_flip", "wide", "left", "right",
    "letterbox", "square_crop", "tilt_left", "tilt_right", "blur", "brighter", "darker",
]  # fmt: skip

SAID_OF_ITSELF = frozenset({"name", "about"})
"""The keys of a recipe that decide nothing."""


class Part(BaseModel):
    """A part of a recipe: frozen, and closed to keys that it does not know."""

    # Defaults are checked too: 15 in a field of floats becomes 15.0, as it would from a file.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )


class Model(Part):
    """The network: its body, where its weights come from, and how much of it learns."""

    backbone: Text = Field("mobilenetv2_100", description="a timm name, or torchvision/NAME")
    weights: Text = Field("pretrained", description="pretrained, none, or a safetensors file")
    dropout: PartFraction = 0.0
    drop_path: PartFraction = 0.0
    frozen_stages: Count = Field(
        0, description="how many stages, from the photo on, keep their pretrained weights"
    )


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


class Crop(Part):
    """A random rectangle of the photo, resized to the training size."""

    kind: Literal["crop"] = "crop"
    scale: Shares = Field((0.8, 1), description="its share of the photo's area")
    ratio: Range = Field((0.75, 4 / 3), description="its width over its height")


class Flip(Part):
    """Left and right change sides."""

    kind: Literal["flip"] = "flip"
    p: Fraction = 0.5


class VerticalFlip(Part):
    """Top and bottom change sides."""

    kind: Literal["vertical_flip"] = "vertical_flip"
    p: Fraction = 0.3


class Rotation(Part):
    """A turn by up to so many degrees, to either side."""

    kind: Literal["rotation"] = "rotation"
    degrees: Annotated[Real, Field(ge=0, le=180)] = 15


class ColorJitter(Part):
    """Brightness, contrast and saturation by a factor within 1 - x to 1 + x."""

    kind: Literal["color_jitter"] = "color_jitter"
    brightness: Fraction = 0.2
    contrast: Fraction = 0.2
    saturation: Fraction = 0.2
    hue: Annotated[Real, Field(ge=0, le=0.5)] = Field(0.0, description="in turns of the wheel")


class Light(Part):
    """A level v in [0, 1] becomes factor * v ** gamma; halving is as likely as doubling."""

    kind: Literal["light"] = "light"
    factor: Range = Field((0.5, 1.2), description="of the exposure; below 1 is darker")
    gamma: Range = Field((1.0, 1.0), description="above 1 deepens shadows")


class TrivialAugment(Part):
    """One random operation of random strength (Müller and Hutter, 2021)."""

    kind: Literal["trivial_augment"] = "trivial_augment"


class RandAugment(Part):
    """Some random operations of one strength (Cubuk et al., 2020)."""

    kind: Literal["rand_augment"] = "rand_augment"
    num_ops: Annotated[Whole, Field(ge=1, le=10)] = 2
    magnitude: Annotated[Whole, Field(ge=0, le=30)] = 9


class AutoContrast(Part):
    """The darkest value becomes black and the brightest white."""

    kind: Literal["autocontrast"] = "autocontrast"
    p: Fraction = 0.5


class GaussianBlur(Part):
    """A blur of random strength."""

    kind: Literal["blur"] = "blur"
    kernel_px: Literal[3, 5, 7] = 3
    sigma: Range = (0.1, 2.0)


class RandomErasing(Part):
    """A rectangle becomes grey (Zhong et al., 2020)."""

    kind: Literal["erasing"] = "erasing"
    p: Fraction = 0.25
    scale: Shares = Field((0.02, 0.33), description="its share of the photo's area")


Augment = Annotated[
    Crop
    | Flip
    | VerticalFlip
    | Rotation
    | ColorJitter
    | Light
    | TrivialAugment
    | RandAugment
    | AutoContrast
    | GaussianBlur
    | RandomErasing,
    Field(discriminator="kind"),
]


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


Loss = Annotated[CrossEntropy | Focal, Field(discriminator="kind")]


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
    keep: Literal["best", "last"] = Field("best", description="the epoch whose weights stay")
    ema: Ema | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: Count = 42


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
    weights: Literal["ema", "raw"] = Field("ema", description="raw where the recipe has no EMA")
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
    return fingerprint({key: values[key] for key in values if key not in SAID_OF_ITSELF})
