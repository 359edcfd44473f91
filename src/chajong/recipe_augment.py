"""Random changes to training photos, as parts of a recipe."""

from typing import Annotated, Literal

from pydantic import Field

from chajong.recipe_part import Fraction, Part, Range, Real, Shares, Whole


class Crop(Part):
    """A random rectangle of the photo, resized to the training size."""

    kind: Literal["crop"] = "crop"
    scale: Shares = Field(
        (0.8, 1), description="its share of the photo's area; less where it would stick out"
    )
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
