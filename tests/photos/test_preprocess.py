import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from chajong.errors import DataError
from chajong.photos.decode import Unreadable, decode
from chajong.photos.preprocess import Aspect, Preprocess
from chajong.photos.resize import IS_FAST, by_pillow, resized

RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)
ASPECTS = get_args(Aspect)


def png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def wide() -> Image.Image:
    """A photo of 200 x 100 pixels: red at the left, green in the middle, blue at the right."""
    image = Image.new("RGB", (200, 100), GREEN)
    image.paste(RED, (0, 0, 50, 100))
    image.paste(BLUE, (150, 0, 200, 100))
    return image


def colours(pixels: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    return [tuple(pixel) for pixel in pixels.tolist()]


def test_squash_keeps_the_whole_photo_and_not_its_shape() -> None:
    square = Preprocess(40, "squash")(png(wide()))
    for row in (0, 20, 39):
        assert colours(square[row, [0, 8, 11, 28, 31, 39]]) == [RED, RED, GREEN, GREEN, BLUE, BLUE]


def test_crop_keeps_the_largest_square_in_the_middle() -> None:
    # The outermost pixels are blurred with what lies beside them.
    square = Preprocess(40, "crop")(png(wide()))
    assert (square[:, 1:-1] == GREEN).all()
    tall = Preprocess(40, "crop")(png(wide().transpose(Image.Transpose.ROTATE_90)))
    assert (tall[1:-1] == GREEN).all()


def test_letterbox_keeps_the_whole_photo_and_its_shape() -> None:
    square = Preprocess(40, "letterbox")(png(wide()))
    assert (square[:10] == 128).all()
    assert (square[30:] == 128).all()
    for row in (10, 20, 29):
        assert colours(square[row, [0, 8, 11, 28, 31, 39]]) == [RED, RED, GREEN, GREEN, BLUE, BLUE]
    tall = Preprocess(40, "letterbox")(png(wide().transpose(Image.Transpose.ROTATE_90)))
    assert (tall[:, :10] == 128).all()
    assert colours(tall[[0, 20, 39], 20]) == [BLUE, GREEN, RED]


@pytest.mark.parametrize("aspect", ASPECTS)
def test_makes_a_square_of_any_photo(aspect: Aspect) -> None:
    for size in [(1, 1), (1, 1000), (1000, 1), (3, 2), (224, 224), (500, 3)]:
        square = Preprocess(224, aspect)(png(Image.new("RGB", size, (9, 80, 200))))
        assert square.shape == (224, 224, 3)
        assert square.dtype == np.uint8
        assert square.flags.c_contiguous
        assert colours(square[111, [111]]) == [(9, 80, 200)]


@pytest.mark.parametrize("aspect", ASPECTS)
def test_averages_what_a_new_pixel_covers(aspect: Aspect) -> None:
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 254).astype(np.uint8)
    square = Preprocess(32, aspect)(png(Image.fromarray(board)))
    assert np.abs(square.astype(int) - 127).max() <= 4


@pytest.mark.parametrize("aspect", ASPECTS)
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(aspect: Aspect) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (36, 48, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((800, 600), Image.Resampling.BICUBIC)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    assert decode(buffer.getvalue(), 128).pixels.shape == (150, 200, 3)
    preprocess = Preprocess(128, aspect)
    difference = preprocess(buffer.getvalue()).astype(float) - preprocess(png(image))
    assert np.abs(difference).mean() < 2  # 4 to 6 where too few pixels were decoded


def test_the_same_bytes_give_the_same_pixels_in_any_thread() -> None:
    data = png(wide().resize((333, 217)))
    preprocess = Preprocess(96, "squash")
    with ThreadPoolExecutor(8) as pool:
        squares = list(pool.map(preprocess, [data] * 64))
    assert all((square == squares[0]).all() for square in squares)


def test_says_which_photo_data_cannot_be_read() -> None:
    with pytest.raises(Unreadable, match="empty file"):
        Preprocess(96, "squash")(b"")


@pytest.mark.parametrize("size_px", [7, 1025, 0, -1])
def test_refuses_sizes_out_of_range(size_px: int) -> None:
    with pytest.raises(DataError, match=f"size_px must be 8 to 1024 pixels, got {size_px}"):
        Preprocess(size_px, "squash")


def test_reports_all_mistakes_at_once() -> None:
    wrong = r"got 4000; aspect must be one of squash, letterbox, crop, got 'stretch'"
    with pytest.raises(DataError, match=wrong):
        Preprocess(4000, "stretch")  # type: ignore[arg-type]


def test_the_fingerprint_tells_preprocessing_apart() -> None:
    prints = {Preprocess(size, aspect).fingerprint for size in (96, 128) for aspect in ASPECTS}
    assert len(prints) == 6
    assert Preprocess(96, "crop").fingerprint in prints


def test_the_pixels_of_this_version_stay_as_they_are() -> None:
    """When this fails, raise the version in preprocess.py and put the new numbers here."""
    image = Image.fromarray(np.arange(4500).astype(np.uint8).reshape(30, 50, 3))
    pixels = b"".join(Preprocess(16, aspect)(png(image)).tobytes() for aspect in ASPECTS)
    assert hashlib.sha256(pixels).hexdigest()[:16] == "24d623ffa3639551"
    assert Preprocess(16, "squash").fingerprint == "c1c789aff7f52795"


@pytest.mark.parametrize("size", [(1, 1), (500, 1), (30, 40), (409, 213), (900, 700), (64, 64)])
@pytest.mark.parametrize("part", [(0.0, 1.0), (0.25, 0.5)])
def test_it_is_what_pillow_does_to_a_level(
    size: tuple[int, int], part: tuple[float, float]
) -> None:
    assert IS_FAST  # or there is nothing to compare
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    start, share = part
    box = (start * width, start * height, share * width, share * height)
    for new in ((64, 64), (224, 100)):
        found = resized(pixels, *new, box).astype(np.int16)
        assert found.shape == (new[1], new[0], 3)
        assert np.abs(found - by_pillow(pixels, *new, box)).max() <= 1


def test_imports_without_torch() -> None:
    code = "import chajong.photos.cache, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
