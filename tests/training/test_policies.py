"""TrivialAugment and RandAugment against torchvision's, operation by operation."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from chajong.training import policies
from chajong.training.draws import Draws
from chajong.training.operations import OPERATIONS
from tests.training.tiny import CPU

SIDE_PX = 48
TRIVIAL = v2.TrivialAugmentWide()
RAND = v2.RandAugment()
# Theirs by the name of ours.
NAMES = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "saturation": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
}
SPACES = {
    "trivial": (policies.TRIVIAL, TRIVIAL),
    "rand": (policies.rand_space(SIDE_PX), RAND),
}
every_space = pytest.mark.parametrize("policy", SPACES)


def photos() -> Tensor:
    # Of 8 bits, none with levels from end to end, one with a flat channel.
    random = np.random.default_rng(5)
    smooth = random.uniform(20, 230, (3, 3, 8, 8)).repeat(SIDE_PX // 8, 2).repeat(SIDE_PX // 8, 3)
    noisy = (smooth + random.normal(0, 6, smooth.shape)).clip(4, 250).astype(np.uint8)
    noisy[1, 2] = 77
    return torch.from_numpy(noisy)


@every_space
@pytest.mark.parametrize("place", range(len(NAMES)), ids=list(NAMES))
@pytest.mark.parametrize("level", [0, 9, 17, 30])
def test_an_operation_does_what_that_of_torchvision_does(
    policy: str, place: int, level: int
) -> None:
    ours, theirs = SPACES[policy]
    operation, name = ours[place], list(NAMES.values())[place]
    assert operation.name == list(NAMES)[place]
    magnitudes, signed = theirs._AUGMENTATION_SPACE[name]
    assert operation.signed == signed
    given = magnitudes(31, SIDE_PX, SIDE_PX)
    x = photos()
    for sign in (1, -1) if signed else (1,):
        magnitude = 0.0 if given is None else sign * float(given[level])
        expected = theirs._apply_image_or_video_transform(
            x, name, magnitude, interpolation=theirs.interpolation, fill={Tensor: None}
        )
        strength = torch.full((len(x),), sign * operation.most * level / 30)
        found = OPERATIONS[operation.name](x.float() / 255, strength)
        off = (found * 255 - expected.float()).abs()
        # A pixel between two may be either; theirs cuts to whole levels, twice where it mixes.
        assert (off > 2).float().mean() < 0.01
        assert off.mean() < 1.2


def each_by(policy: Callable[[Tensor, Draws], Tensor], x: Tensor) -> Tensor:
    return policy(x, Draws((1, 2), len(x), slice(0, len(x)), CPU))


def test_every_operation_is_drawn_and_each_photo_has_its_own() -> None:
    x = (photos()[:1].float() / 255).expand(400, -1, -1, -1)
    found = each_by(policies.trivial_augment, x)
    same = (found == x[:1]).flatten(1).all(1).float().mean()
    assert 1 / 28 < same < 3 / 14  # identity, and whatever drew no strength
    assert len({photo.numpy().tobytes() for photo in found}) > 200


def test_photos_come_back_in_their_order() -> None:
    x = torch.linspace(0.2, 0.8, 64).view(-1, 1, 1, 1).expand(-1, 3, 16, 16).contiguous()
    found = each_by(lambda x, draws: policies.rand_augment(x, 1, 0, draws), x)
    # Without strength these flat photos stay as they are, and so in their places.
    torch.testing.assert_close(found, x, atol=1 / 255, rtol=0)


def test_rand_augment_does_more_with_more_operations_and_more_strength() -> None:
    x = (photos()[:1].float() / 255).expand(100, -1, -1, -1)

    def moved(num_ops: int, magnitude: int) -> float:
        found = each_by(lambda x, d: policies.rand_augment(x, num_ops, magnitude, d), x)
        return float((found - x).abs().mean())

    assert moved(1, 3) < moved(1, 15) < moved(3, 15)
