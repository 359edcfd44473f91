"""One contract over every change to photos that a recipe can name."""

import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as photo_functional

from chajong.recipe_augment import (
    Augment,
    AutoContrast,
    ColorJitter,
    Crop,
    Flip,
    GaussianBlur,
    Light,
    RandAugment,
    RandomErasing,
    Rotation,
    TrivialAugment,
    VerticalFlip,
)
from chajong.training.augment import augment, boxes, normalise, to_float
from chajong.training.draws import Draws

MEMBERS = get_args(get_args(Augment)[0])
# With these settings a change leaves the photo as it is; some have no such setting.
NEUTRAL: dict[type, Any] = {
    Crop: Crop(scale=(1, 1), ratio=(1, 1)),
    Flip: Flip(p=0),
    VerticalFlip: VerticalFlip(p=0),
    Rotation: Rotation(degrees=0),
    ColorJitter: ColorJitter(brightness=0, contrast=0, saturation=0, hue=0),
    Light: Light(factor=(1, 1), gamma=(1, 1)),
    AutoContrast: AutoContrast(p=0),
    GaussianBlur: GaussianBlur(sigma=(0.01, 0.02)),
    RandomErasing: RandomErasing(p=0),
}
WITHOUT_NEUTRAL = {TrivialAugment, RandAugment}
# Settings that do more than the defaults, of kinds that have them.
STRONG: tuple[Any, ...] = (
    Crop(scale=(0.1, 1), ratio=(0.5, 2)),
    VerticalFlip(p=1),
    Rotation(degrees=180),
    ColorJitter(brightness=1, contrast=1, saturation=1, hue=0.5),
    Light(factor=(0.1, 10), gamma=(0.2, 5)),
    RandAugment(num_ops=4, magnitude=30),
    AutoContrast(p=1),
    GaussianBlur(kernel_px=7, sigma=(3, 5)),
    RandomErasing(p=1, scale=(0.5, 1)),
)
every_change = pytest.mark.parametrize(
    "change", [*(member() for member in MEMBERS), *STRONG], ids=repr
)

NUM_PHOTOS, SIDE_PX, SIZE_PX = 4, 20, 16


def photos(num_photos: int = NUM_PHOTOS, side_px: int = SIDE_PX) -> Tensor:
    random = np.random.default_rng(3)
    smooth = random.uniform(0, 255, (num_photos, 5, 5, 3)).repeat(side_px // 5, 1)
    noisy = smooth.repeat(side_px // 5, 2) + random.normal(0, 20, (num_photos, side_px, side_px, 3))
    return torch.from_numpy(noisy.clip(0, 255).astype(np.uint8))


def draws(step: int = 0, num_rows: int = NUM_PHOTOS, rows: slice | None = None) -> Draws:
    return Draws((5, 0, 1, step), num_rows, rows or slice(0, num_rows), torch.device("cpu"))


def changed(changes: Sequence[Any], step: int = 0, x: Tensor | None = None) -> Tensor:
    x = photos() if x is None else x
    return augment(x, changes, SIZE_PX, draws(step, len(x)))


def test_every_kind_of_change_is_under_contract() -> None:
    assert set(NEUTRAL) | WITHOUT_NEUTRAL == set(MEMBERS)


@every_change
@pytest.mark.parametrize(("side_px", "size_px"), [(20, 16), (20, 20), (20, 8), (15, 32)])
def test_gives_photos_of_the_asked_size_and_range(change: Any, side_px: int, size_px: int) -> None:
    before = photos(4, side_px)
    x = augment(before, [change], size_px, draws(num_rows=4))
    assert x.shape == (4, 3, size_px, size_px)
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()
    assert x.min() >= -1e-6
    assert x.max() <= 1 + 1e-6
    assert torch.equal(before, photos(4, side_px))  # the cache stays as it is


@every_change
def test_the_same_step_draws_the_same_whatever_was_drawn_before(change: Any) -> None:
    first = changed([change])
    torch.manual_seed(99)
    np.random.default_rng().random()
    assert torch.equal(first, changed([change]))


@pytest.mark.parametrize("change", [member() for member in MEMBERS], ids=repr)
def test_another_step_draws_something_else(change: Any) -> None:
    first = changed([change])
    assert any(not torch.equal(first, changed([change], step)) for step in range(1, 4))


@every_change
@pytest.mark.parametrize("num_processes", [2, 4])
def test_the_split_into_processes_changes_nothing(change: Any, num_processes: int) -> None:
    whole, x, size = changed([change]), photos(), NUM_PHOTOS // num_processes
    parts = []
    for rank in range(num_processes):
        rows = slice(rank * size, (rank + 1) * size)
        parts.append(augment(x[rows], [change], SIZE_PX, draws(rows=rows)))
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-6, rtol=0)


@every_change
def test_one_photo_never_shows_in_another(change: Any) -> None:
    x = photos()
    first = changed([change], x=x)
    for other in (0, 3):
        y = x.clone()
        y[other] = 255 - y[other]
        apart = [row for row in range(NUM_PHOTOS) if row != other]
        assert torch.equal(changed([change], x=y)[apart], first[apart])


@pytest.mark.parametrize("change", NEUTRAL.values(), ids=repr)
def test_the_neutral_setting_leaves_photos_as_they_are(change: Any) -> None:
    torch.testing.assert_close(changed([change]), changed([]), atol=1e-5, rtol=0)


def test_without_changes_and_at_the_same_size_pixels_stay_the_same() -> None:
    x = photos(4, 20)
    found = augment(x, [], 20, draws(num_rows=4))
    torch.testing.assert_close(found, x.permute(0, 3, 1, 2) / 255, atol=1e-5, rtol=0)


def test_the_whole_of_the_ladder_at_once() -> None:
    found = changed([member() for member in MEMBERS])
    assert found.shape == (NUM_PHOTOS, 3, SIZE_PX, SIZE_PX)
    assert torch.isfinite(found).all()


def ramps(num_photos: int = 1, side_px: int = 40) -> Tensor:
    """Photos that tell in red how far right a point is, in green how far down."""
    at = torch.linspace(0, 255, side_px).round()
    red, green = at.expand(side_px, side_px), at[:, None].expand(side_px, side_px)
    photo = torch.stack([red, green, torch.zeros_like(red)], dim=2).to(torch.uint8)
    return photo.expand(num_photos, -1, -1, -1)


def test_flip_mirrors_left_and_right() -> None:
    x = photos()
    assert_same(changed([Flip(p=1)], x=x), changed([], x=x.flip(2)))


def test_vertical_flip_mirrors_top_and_bottom() -> None:
    x = photos()
    assert_same(changed([VerticalFlip(p=1)], x=x), changed([], x=x.flip(1)))


def assert_same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


@pytest.mark.parametrize("change", [Flip(p=0.25), VerticalFlip(p=0.25), AutoContrast(p=0.25)])
def test_as_many_photos_change_as_the_probability_says(change: Any) -> None:
    x = photos(2).repeat(1000, 1, 1, 1)[:, :10, :10]
    plain = augment(x, [], 8, draws(num_rows=2000))
    different = augment(x, [change], 8, draws(num_rows=2000)) - plain
    share = (different.abs().amax(dim=(1, 2, 3)) > 1e-3).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("others", [(), (Flip(p=1), VerticalFlip(p=1))])
def test_crop_covers_the_asked_areas_and_stays_inside(others: tuple[Any, ...]) -> None:
    crop = Crop(scale=(0.3, 0.6), ratio=(0.5, 2))
    x = augment(ramps(500), [crop, *others], 16, draws(num_rows=500))
    # Ramps tell which part of the photo each result shows.
    across = (x[:, 0, 8, -1] - x[:, 0, 8, 0]) * 16 / 15
    down = (x[:, 1, -1, 8] - x[:, 1, 0, 8]) * 16 / 15
    if others:
        across, down = -across, -down
    area, ratio = across * down, across / down
    scale = (39 / 40) ** 2  # from centre to centre of the outermost pixels
    assert 0.29 < area.min() * scale < 0.32
    assert 0.57 < area.max() * scale < 0.61
    assert ratio.min() > 0.47
    assert ratio.max() < 2.15
    assert x[:, 0].min() < 0.05  # it gets into every corner
    assert x[:, :2].max() > 0.95
    # No reflection: along a row red only grows (or only falls).
    steps = x[:, 0, 8].diff(dim=1)
    assert ((steps > 0) if not others else (steps < 0)).all()


def test_rotation_turns_without_shear_or_change_of_size() -> None:
    x = augment(ramps(200), [Rotation(degrees=30)], 40, draws(num_rows=200))
    centre = slice(15, 25)
    red = x[:, 0, centre, centre] * 39
    green = x[:, 1, centre, centre] * 39
    # How the point shown moves with a step to the right, and with a step down.
    right = torch.stack([red.diff(dim=2).mean((1, 2)), green.diff(dim=2).mean((1, 2))], 1)
    down = torch.stack([red.diff(dim=1).mean((1, 2)), green.diff(dim=1).mean((1, 2))], 1)
    assert_close_to(right.norm(dim=1), 1.0)
    assert_close_to(down.norm(dim=1), 1.0)
    assert_close_to((right * down).sum(dim=1), 0.0)
    degrees = torch.atan2(right[:, 1], right[:, 0]).rad2deg()
    assert degrees.min() < -25
    assert degrees.max() > 25
    assert degrees.abs().max() < 31
    # The middle stays where it is.
    assert_close_to(x[:, 0, 19:21, 19:21].mean((1, 2)), 0.5)


def assert_close_to(values: Tensor, wanted: float) -> None:
    torch.testing.assert_close(values, torch.full_like(values, wanted), atol=0.02, rtol=0)


def test_a_cropped_photo_is_turned_without_shear_too() -> None:
    # Squeezed into the square first and turned then, or the turn would shear.
    crop = Crop(scale=(0.5, 0.5), ratio=(2, 2))
    x = augment(ramps(200), [crop, Rotation(degrees=30)], 40, draws(num_rows=200))
    centre = slice(14, 26)
    red, green = (x[:, channel, centre, centre] * 39 for channel in (0, 1))
    sides = torch.tensor([1.0, 0.5])
    right = torch.stack([red.diff(dim=2).mean((1, 2)), green.diff(dim=2).mean((1, 2))], 1) / sides
    down = torch.stack([red.diff(dim=1).mean((1, 2)), green.diff(dim=1).mean((1, 2))], 1) / sides
    assert_close_to(right.norm(dim=1), 1.0)
    assert_close_to(down.norm(dim=1), 1.0)
    assert_close_to((right * down).sum(dim=1), 0.0)
    assert right[:, 1].abs().max() > 0.4


def test_shrinking_by_more_than_two_averages_all_pixels() -> None:
    # Every fourth column is white: a quarter grey from afar. Bilinear sampling alone would look
    # at two columns in four.
    columns = ((torch.arange(64) % 4 == 0) * 255).to(torch.uint8)
    photo = columns.view(1, 1, 64, 1).expand(1, 64, 64, 3)
    assert_close_to(augment(photo, [], 16, draws(num_rows=1)), 0.25)


def one_jitter(**strengths: float) -> ColorJitter:
    return ColorJitter(**{"brightness": 0, "contrast": 0, "saturation": 0, **strengths})


def flat(*colours: tuple[int, int, int]) -> Tensor:
    return torch.tensor(colours, dtype=torch.uint8)[:, None, None, :].repeat(1, 20, 20, 1)


def test_hue_turns_the_wheel_and_leaves_grey_and_lightness() -> None:
    x = flat(*[(200, 100, 100)] * 200, (90, 90, 90))
    found = changed([one_jitter(hue=0.5)], x=x)[:, :, 8, 8] * 255
    torch.testing.assert_close(found[-1], torch.full((3,), 90.0), atol=0.1, rtol=0)
    torch.testing.assert_close(
        found.mean(dim=1)[:-1], torch.full((200,), 400 / 3), atol=0.1, rtol=0
    )
    # All around the wheel: each channel is the strongest in about a third of the photos.
    assert torch.bincount(found[:-1].argmax(dim=1), minlength=3).min() > 40


def test_a_hue_of_nothing_but_red_can_become_green_but_not_with_a_small_turn() -> None:
    x = flat(*[(200, 100, 100)] * 50)
    assert (changed([one_jitter(hue=0.1)], x=x)[:, :, 8, 8].argmax(dim=1) == 0).all()


def test_brightness_multiplies() -> None:
    x = flat(*[(100, 50, 10)] * 300)
    factors = changed([one_jitter(brightness=0.3)], x=x)[:, :, 8, 8] / x[0, 0, 0] * 255
    assert factors.std(dim=1).max() < 1e-3
    assert 0.69 < factors.min() < 0.73
    assert 1.27 < factors.max() < 1.31


def test_light_multiplies_within_its_range_and_halves_as_often_as_it_doubles() -> None:
    x = flat(*[(100, 50, 10)] * 400)
    factors = changed([Light(factor=(0.5, 2))], x=x)[:, :, 8, 8] / x[0, 0, 0] * 255
    assert factors.std(dim=1).max() < 1e-3
    assert 0.49 < factors.min() < 0.53
    assert 1.9 < factors.max() < 2.01
    assert (factors[:, 0] < 1).float().mean().item() == pytest.approx(0.5, abs=0.07)


def test_gamma_bends_the_curve_and_keeps_black_and_white() -> None:
    x = flat(*[(0, 64, 255)] * 200)
    found = changed([Light(factor=(1, 1), gamma=(0.5, 2))], x=x)[:, :, 8, 8]
    assert_close_to(found[:, 0], 0.0)
    assert_close_to(found[:, 2], 1.0)
    gammas = found[:, 1].log() / math.log(64 / 255)
    assert 0.49 < gammas.min() < 0.53
    assert 1.9 < gammas.max() < 2.01


@pytest.mark.parametrize("name", ["contrast", "saturation"])
def test_contrast_and_saturation_are_those_of_torchvision(name: str) -> None:
    x = photos(4) // 4 + 96  # far from black and white, where values are cut
    plain, found = changed([], x=x), changed([one_jitter(**{name: 0.3})], x=x)
    factor = draws().uniform(0.7, 1.3)
    for photo, one, by in zip(plain, found, factor, strict=True):
        adjust = {
            "contrast": photo_functional.adjust_contrast,
            "saturation": photo_functional.adjust_saturation,
        }[name]
        torch.testing.assert_close(one, adjust(photo, by.item()), atol=2e-3, rtol=0)


def test_blur_is_that_of_torchvision() -> None:
    plain, found = changed([]), changed([GaussianBlur(kernel_px=5, sigma=(0.5, 2))])
    sigma = draws().uniform(0.5, 2)
    for photo, one, by in zip(plain, found, sigma, strict=True):
        wanted = photo_functional.gaussian_blur(photo, [5, 5], [by.item(), by.item()])
        torch.testing.assert_close(one, wanted, atol=1e-5, rtol=0)


def test_autocontrast_stretches_each_channel_and_leaves_flat_ones() -> None:
    x = photos(4) // 4 + 96
    x[:, :, :, 2] = 77
    found = changed([AutoContrast(p=1)], x=x)
    assert_close_to(found[:, :2].amin(dim=(2, 3)), 0.0)
    assert_close_to(found[:, :2].amax(dim=(2, 3)), 1.0)
    assert_close_to(found[:, 2], 77 / 255)


def test_erasing_greys_one_rectangle_of_the_asked_share() -> None:
    x = flat(*[(255, 255, 255)] * 300)
    erased = changed([RandomErasing(p=1, scale=(0.1, 0.3))], x=x)[:, 0] == 0.5
    shares = erased.float().mean(dim=(1, 2))
    assert 0.06 < shares.min() < 0.13
    assert 0.26 < shares.max() < 0.34
    rows, columns = erased.any(dim=2), erased.any(dim=1)
    assert torch.equal(erased, rows[:, :, None] & columns[:, None, :])
    assert (rows.diff(dim=1).sum(dim=1) <= 2).all()
    assert erased[:, 0, 0].any()
    assert erased[:, -1, -1].any()


def test_boxes_of_nothing_and_of_everything() -> None:
    ones = torch.ones(1)
    assert not boxes(0 * ones, ones, 0.5 * ones, 0.5 * ones, 8).any()
    assert boxes(ones, ones, 0.5 * ones, 0.5 * ones, 8).all()


def test_to_float_and_normalise_give_what_weights_expect() -> None:
    x = to_float(flat((255, 0, 51)))
    assert x.is_contiguous(memory_format=torch.channels_last)
    found = normalise(x, (0.5, 0.25, 0.2), (0.5, 0.25, 0.1))[0, :, 0, 0]
    torch.testing.assert_close(found, torch.tensor([1.0, -1.0, 0.0]), atol=1e-6, rtol=0)
