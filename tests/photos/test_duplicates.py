from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from chajong.photos.duplicates import (
    THUMB_PX,
    components,
    near_duplicates,
    perceptual_hashes,
)
from tests.photos.pictures import scene

NUM = 60


def thumbs(images: list[Image.Image]) -> NDArray[np.uint8]:
    size = (THUMB_PX, THUMB_PX)
    small = [image.convert("L").resize(size, Image.Resampling.BOX) for image in images]
    return np.array([np.asarray(image) for image in small])


def crop(image: Image.Image, left: float, upper: float, right: float, lower: float) -> Image.Image:
    width, height = image.size
    return image.crop(
        (
            round(left * width),
            round(upper * height),
            round((1 - right) * width),
            round((1 - lower) * height),
        )
    )


def rough(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 6, (*image.size[::-1], 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "noise": rough,
    "half size": lambda image: image.resize((120, 80)),
    "other shape": lambda image: image.resize((200, 200)),
    "cropped": lambda image: crop(image, 0.05, 0.05, 0.05, 0.05),
    "cropped at a corner": lambda image: crop(image, 0, 0, 0.05, 0.05),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "mirrored": ImageOps.mirror,
    "mirrored and cropped": lambda image: ImageOps.mirror(crop(image, 0.04, 0, 0.02, 0.05)),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("kind", ALTERED)
def test_altered_copies_are_found_and_nothing_else(kind: str) -> None:
    images = [scene(seed) for seed in range(NUM)]
    found = near_duplicates(thumbs(images + [ALTERED[kind](image) for image in images]))
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert pairs == {(place, place + NUM) for place in range(NUM)}
    assert (found.mirrored == ("mirrored" in kind)).all()
    assert ((found.score > 0.84) & (found.score <= 1.0001)).all()


def test_copies_are_found_whichever_comes_first() -> None:
    images = [scene(seed) for seed in range(10)]
    found = near_duplicates(thumbs([crop(image, 0.05, 0, 0.05, 0.05) for image in images] + images))
    assert len(found.first) == 10


def test_crops_of_photos_full_of_small_things_are_found() -> None:
    # Their fine patterns shift by half a wave where a side is cut off.
    def busy(seed: int) -> Image.Image:
        rng = np.random.default_rng(seed)
        spots = rng.integers(0, 256, (14, 20, 3), dtype=np.uint8)
        return Image.fromarray(spots).resize((240, 160), Image.Resampling.BICUBIC)

    images = [busy(seed) for seed in range(NUM)]
    cropped = [crop(image, 0.05, 0.05, 0.05, 0.05) for image in images]
    found = near_duplicates(thumbs(images + cropped))
    assert len(found.first) == NUM


def test_one_pose_with_other_details_is_no_duplicate() -> None:
    # The same body before the same wall, with another grille, lamps and wheels.
    def car(seed: int) -> Image.Image:
        image = Image.new("RGB", (240, 160), "#9aa4ad")
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, 120, 240, 160), fill="#55595e")
        pen.rounded_rectangle((30, 45, 210, 130), 30, fill="#c9ccd1")
        rng = np.random.default_rng(seed)
        for _ in range(30):
            x, y = rng.uniform((40, 55), (190, 115))
            pen.rectangle((x, y, x + 12, y + 8), fill=("black", "white")[rng.integers(2)])
        return image

    assert len(near_duplicates(thumbs([car(seed) for seed in range(40)])).first) == 0


def test_small_things_on_an_empty_ground_are_told_apart() -> None:
    def thing(seed: int) -> Image.Image:
        image = Image.new("RGB", (240, 160), "white")
        small = scene(seed).resize((90, 60))
        image.paste(small, (75, 50))
        return image

    assert len(near_duplicates(thumbs([thing(seed) for seed in range(30)])).first) == 0


def test_flat_photos_are_like_nothing() -> None:
    shade = np.linspace(0, 1, 60)[:, None] + np.linspace(0, 1, 90)
    walls = [Image.fromarray((level + 8 * shade).astype(np.uint8)) for level in (10, 10, 200, 200)]
    assert len(near_duplicates(thumbs(walls)).first) == 0


@pytest.mark.parametrize("num", [0, 1])
def test_no_pairs_without_two_photos(num: int) -> None:
    found = near_duplicates(np.zeros((num, THUMB_PX, THUMB_PX), np.uint8))
    assert (len(found.first), len(found.second), len(found.score), len(found.mirrored)) == (0,) * 4


def test_a_scene_of_many_photos_is_joined_without_looking_at_all_pairs() -> None:
    (base,) = thumbs([scene(0)])
    noise = np.random.default_rng(0).normal(0, 3, (300, THUMB_PX, THUMB_PX))
    many = (base + noise).clip(0, 255).astype(np.uint8)
    found = near_duplicates(many)
    assert len(found.first) < 3_000  # of 44,850
    assert set(components(len(many), found.first, found.second).tolist()) == {0}


def test_more_photos_than_a_block() -> None:
    images = thumbs([scene(seed, (72, 48)) for seed in range(600)])
    found = near_duplicates(np.concatenate([images, images[::-1, :, ::-1]]))
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert {(place, 1199 - place) for place in range(600)} <= pairs
    assert len(pairs) <= 600 * 1.02


def test_components_name_the_first_of_each() -> None:
    links = np.array([[5, 4], [1, 3], [3, 2]], dtype=np.intp)
    assert components(6, links[:, 0], links[:, 1]).tolist() == [0, 1, 1, 1, 4, 4]


def test_perceptual_hashes_are_near_for_copies_only() -> None:
    images = [scene(seed) for seed in range(20)]
    hashes = perceptual_hashes(thumbs(images + [rough(image) for image in images]))
    assert hashes.dtype == np.uint64
    differ = np.bitwise_count(hashes[:20, None] ^ hashes[None, 20:])
    assert differ.diagonal().max() <= 8
    assert differ[~np.eye(20, dtype=bool)].min() >= 12
