"""What the opener of photos refuses, with a reason, and what it bears without a word."""

import struct
import warnings
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chajong.photos.decode import MAX_MEGAPIXELS, Unreadable, decode
from tests.photos.handmade import many_scans_jpeg, picture, plain_jpeg, png, reason
from tests.photos.pictures import encoded


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("GIF", {}),
    ],
)
def test_refuses_a_file_cut_anywhere(kind: str, options: dict[str, Any]) -> None:
    data = encoded(picture(47), kind, **options)
    assert decode(data).pixels.shape == (36, 47, 3)
    cuts = [*range(1, 60), *range(60, len(data), 23), *range(len(data) - 30, len(data))]
    for cut in cuts:
        said = reason(data[:cut])
        assert cut < 60 or said.startswith("truncated"), (cut, said)
        with pytest.raises(Unreadable):
            decode(data[:cut], at_least_px=4)


def test_refuses_a_jpeg_with_a_hole() -> None:
    data = encoded(picture(320, 240), "JPEG", quality=95)
    assert reason(data[: len(data) // 2] + b"\xff\xd9") == "truncated JPEG"
    assert "JPEG" in reason(data[: len(data) // 2] + data[len(data) // 2 + 900 :])
    assert "JPEG" in reason(data[: len(data) // 2] + bytes(len(data) // 2))
    assert "JPEG" in reason(data[: len(data) // 2] + bytes(len(data) // 2) + b"\xff\xd9")


def test_refuses_a_damaged_png() -> None:
    data = encoded(picture(), "PNG")
    middle = len(data) // 2
    damaged = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    assert reason(damaged) == "corrupt PNG: a checksum is wrong"


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", "empty file"),
        (b"\xff\xd8", "truncated JPEG"),
        (b"\0" * 5000, "nothing but zero bytes"),
        (b"This is no photo but a text, whatever its name says.\n", "a text file"),
        ("사진이 아니라 글입니다. ".encode() * 40, "a text file"),
        (b"BMW 320d, 2015, black, 98,000 km", "a text file"),
        (b"\n<!DOCTYPE html><html><body>404 Not found</body></html>", "a web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99, "HEIC"),
        (b"PK\3\4\x14\0\0\0\x08\0" + bytes(range(99)), "not a picture in a known format"),
        (b"\xff\xd8\xff\xe0" + b"no JPEG at all" * 9, "JPEG"),
    ],
)
def test_says_what_a_file_is_that_is_no_photo(data: bytes, wanted: str) -> None:
    assert wanted in reason(data)


def test_refuses_too_many_pixels_by_the_header() -> None:
    too_many = f"20000 x 20000 = 400 megapixels, at most {MAX_MEGAPIXELS} are opened"
    bomb = png(20_000, 20_000, 1, 0, bytes(20_000 * 2501))
    assert len(bomb) < 100_000
    assert too_many in reason(bomb)
    dib = struct.pack("<IiiHHIIiiII", 40, 20_000, 20_000, 1, 24, 0, 0, 0, 0, 0, 0)
    corner = struct.pack("<I", 19_999)[:3] * 2
    jpeg = bytearray(plain_jpeg(16, 16, [(1, 1)] * 3))
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = struct.pack(">HH", 20_000, 20_000)
    size = struct.pack("<HH", 20_000, 20_000)
    gif = b"GIF89a" + size + b"\0\0\0,\0\0\0\0" + size + b"\0\2\0;"
    for data in (
        png(20_000, 20_000, 8, 2, b""),
        bytes(jpeg),
        bytes(jpeg).replace(b"\xff\xc0", b"\xff\xc9"),
        b"BM\0\0\0\0\0\0\0\0\x36\0\0\0" + dib,
        gif,
    ):
        assert too_many in reason(data)
    webp = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X\x0a\0\0\0\0\0\0\0" + corner
    assert too_many in reason(webp)
    vp8l = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8L\x0a\0\0\0\x2f" + b"\xff" * 4 + bytes(5)
    assert "16384 x 16384" in reason(vp8l)


def test_needs_no_warning_from_pillow_for_large_photos() -> None:
    dib = struct.pack("<IiiHHIIiiII", 40, 10_000, 10_000, 1, 24, 0, 0, 0, 0, 0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reason(b"BM\0\0\0\0\0\0\0\0\x36\0\0\0" + dib) == "truncated BMP"


def test_refuses_a_progressive_jpeg_made_to_take_long() -> None:
    assert decode(many_scans_jpeg(64, 800)).pixels.shape == (64, 64, 3)
    assert "scans" in reason(many_scans_jpeg(4000, 800))


def test_what_follows_a_gif_is_no_damage() -> None:
    assert decode(encoded(picture(), "GIF") + b"\n").pixels.shape == (36, 48, 3)


def test_grey_that_pillow_takes_for_another_is_refused() -> None:
    grey = Image.fromarray(np.full((36, 48), 60000, np.uint16))
    assert int(decode(encoded(grey, "TIFF")).pixels.max()) == 234
    data = bytearray(encoded(grey, "TIFF"))
    tag = data.index(struct.pack("<HHI", 262, 3, 1))
    data[tag + 8] = 0  # white is 0
    assert "unsupported grey: not 16 bits, or white is 0" in reason(bytes(data))


def test_an_odd_tiff_does_not_warn() -> None:
    data = bytearray(encoded(picture(), "TIFF", software="chajong"))
    tag = data.index(struct.pack("<HH", 305, 2))
    data[tag + 4 : tag + 8] = struct.pack("<I", 1_000_000)  # longer than the file
    with pytest.warns(UserWarning, match="Skipping tag|Truncated"):
        Image.open(BytesIO(data)).load()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(bytes(data)).pixels.shape == (36, 48, 3)


def test_an_odd_animated_png_does_not_warn() -> None:
    data = encoded(picture(), "PNG")
    control = b"acTL" + bytes(8)  # an animation of no pictures
    chunk = struct.pack(">I", 8) + control + struct.pack(">I", zlib.crc32(control))
    data = data[:33] + chunk + data[33:]
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(BytesIO(data)).load()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(data).notes == ("animated",)


def test_damage_of_any_kind_is_refused_or_read_but_never_crashes() -> None:
    image = picture()
    originals = [encoded(image, kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF")]
    originals.append(encoded(image, "JPEG", progressive=True))
    originals.append(encoded(image.convert("CMYK"), "JPEG"))
    originals.append(encoded(image, "TIFF"))
    rng = np.random.default_rng(0)
    for number in range(1200):
        data = bytearray(originals[number % len(originals)])
        span = len(data) if number % 3 else min(len(data), 120)
        for place in rng.integers(0, span, rng.integers(1, 6)):
            data[place] = rng.choice((0, 127, 128, 255, int(rng.integers(256))))
        try:
            photo = decode(bytes(data))
        except Unreadable:
            continue
        assert photo.pixels.shape[2] == 3
