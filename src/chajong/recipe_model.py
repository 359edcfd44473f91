"""The network and the photos as it sees them, as parts of a recipe."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from chajong.recipe_part import Count, Fraction, Part, PartFraction, Pixels, Positive, Real, Text


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
