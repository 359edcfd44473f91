"""What the opener of photos reads, upright and in RGB."""

import pickle
import struct
import subprocess
import sys
import threading
import warnings
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from chajong.photos.decode import Unreadable, decode
from tests.photos.handmade import picture, plain_jpeg, png, reason, segment
from tests.photos.pictures import encoded

Pixels = NDArray[np.uint8]


def distance(got: Pixels, wanted: Image.Image) -> float:
    """The mean difference in grey levels."""
    return float(np.abs(got.astype(float) - np.asarray(wanted.convert("RGB"))).mean())


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("JPEG", {"quality": 95}, "jpeg"),
        ("JPEG", {"quality": 95, "progressive": True}, "jpeg"),
        ("PNG", {}, "png"),
        ("WEBP", {"quality": 95}, "webp"),
        ("WEBP", {"lossless": True}, "webp"),
        ("BMP", {}, "bmp"),
        ("TIFF", {"compression": "tiff_lzw"}, "tiff"),
    ],
)
def test_reads_each_format_by_content(kind: str, options: dict[str, Any], name: str) -> None:
    image = picture()
    photo = decode(encoded(image, kind, **options))
    assert (photo.format, photo.width_px, photo.height_px, photo.notes) == (name, 48, 36, ())
    assert photo.pixels.shape == (36, 48, 3)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    assert distance(photo.pixels, image) < 3


def test_reads_a_photo_of_one_pixel() -> None:
    dot = Image.new("RGB", (1, 1), (200, 100, 50))
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF"):
        assert decode(encoded(dot, kind), at_least_px=224).pixels.shape == (1, 1, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_photos_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(), kind, exif=exif)
    wanted = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    photo = decode(data)
    assert photo.pixels.shape == (wanted.height, wanted.width, 3)
    assert (photo.width_px, photo.height_px) == wanted.size
    assert distance(photo.pixels, wanted) < 1
    assert photo.pixels.flags.c_contiguous
    assert photo.notes == (("exif-rotated",) if orientation > 1 else ())


@pytest.mark.parametrize(
    ("exif", "turned"),
    [
        (b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0), True),
        (b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHII", 0x0112, 4, 1, 6), True),
        (b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x0112, 3, 1, 9, 0), False),
        (b"MM\0*\0\0\0\x08\xff\xff" + b"\0" * 7, False),
        (b"MM\0*\xff\xff\xff\xff", False),
        (b"nonsense", False),
        (b"", False),
    ],
)
def test_odd_exif_never_costs_the_photo(exif: bytes, turned: bool) -> None:
    data = encoded(picture(), "JPEG")
    photo = decode(data[:2] + segment(0xE1, b"Exif\0\0" + exif) + data[2:])
    assert photo.notes == (("exif-rotated",) if turned else ())


def test_reads_cmyk_by_adobes_convention() -> None:
    colours = Image.new("RGB", (32, 32), (200, 60, 20))
    photo = decode(encoded(colours.convert("CMYK"), "JPEG", quality=95))
    assert photo.notes == ("cmyk",)
    assert np.abs(photo.pixels.astype(int) - (200, 60, 20)).max() < 6
    assert decode(encoded(colours.convert("CMYK"), "TIFF")).pixels[0, 0].tolist() == [200, 60, 20]


def test_reads_ycck_and_rgb_jpegs() -> None:
    ycck = decode(plain_jpeg(20, 20, [(1, 1)] * 4, adobe=2))
    assert ycck.notes == ("cmyk",)
    assert (ycck.pixels == 64).all()  # half of the ink of half of the black
    assert (decode(plain_jpeg(20, 20, [(1, 1)] * 3, adobe=0)).pixels == 128).all()


@pytest.mark.parametrize(
    "sampling",
    [
        [(1, 1)],
        [(2, 2)],
        [(4, 1), (1, 1), (1, 1)],
        [(3, 1), (1, 1), (1, 1)],  # from here on beyond libjpeg-turbo's own interface
        [(2, 2), (2, 1), (1, 2)],
    ],
)
def test_reads_rare_chroma_subsampling(sampling: list[tuple[int, int]]) -> None:
    data = plain_jpeg(50, 40, sampling)
    photo = decode(data)
    assert photo.pixels.shape == (40, 50, 3)
    assert (photo.pixels == 128).all()
    assert reason(data[:-2]) == "truncated JPEG"


@pytest.mark.parametrize(
    ("mode", "kind", "note"),
    [
        ("L", "PNG", "grey"),
        ("L", "JPEG", "grey"),
        ("L", "BMP", "grey"),
        ("1", "PNG", "grey"),
        ("P", "PNG", "palette"),
        ("P", "BMP", "palette"),
        ("P", "GIF", "palette"),
    ],
)
def test_reads_grey_palette_and_bits(mode: str, kind: str, note: str) -> None:
    image = picture().convert(mode)
    photo = decode(encoded(image, kind))
    assert photo.notes == (note,)
    assert distance(photo.pixels, image) < 3


def test_scales_16_bit_and_never_clips_it() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        photo = decode(encoded(Image.fromarray(ramp), kind))
        assert set(photo.notes) == {"grey", "16-bit"}
        assert np.abs(photo.pixels[..., 0] - ramp / 257).max() <= 1
    colours = np.stack([ramp, ramp[::-1], ramp.T], axis=2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    photo = decode(png(16, 16, 16, 2, rows))
    assert photo.notes == ("16-bit",)
    assert np.abs(photo.pixels - colours / 257).max() <= 1


def test_puts_transparent_pictures_on_white() -> None:
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        layer = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
        layer.paste((200, 0, 0, 255), (0, 0, 10, 10))
        layer.putpixel((19, 9), (0, 0, 0, 128))
        photo = decode(encoded(layer, kind, **options))
        assert photo.notes == ("alpha",)
        assert photo.pixels[0, 0].tolist() == [200, 0, 0]
        assert photo.pixels[0, 19].tolist() == [255, 255, 255]
        assert photo.pixels[9, 19].tolist() == [127, 127, 127]
    colours = Image.new("P", (4, 4), 1)
    colours.putpalette([10, 20, 30, 40, 50, 60])
    photo = decode(encoded(colours, "PNG", transparency=1))
    assert photo.notes == ("palette", "alpha")
    assert (photo.pixels == 255).all()


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"quality": 95})])
def test_takes_the_first_picture_of_an_animation(kind: str, options: dict[str, Any]) -> None:
    image = picture()
    more = [picture(seed=1), picture(seed=2)]
    photo = decode(encoded(image, kind, save_all=True, append_images=more, **options))
    assert "animated" in photo.notes
    assert distance(photo.pixels, image) < 8  # a GIF has 256 colours
    assert distance(photo.pixels, more[0]) > 20


def test_takes_the_first_picture_of_an_mpo() -> None:
    data = encoded(picture(), "MPO", save_all=True, append_images=[picture(seed=1)], quality=95)
    photo = decode(data)
    assert photo.format == "jpeg"
    assert distance(photo.pixels, picture()) < 3


def test_decodes_at_a_smaller_scale_only_as_far_as_allowed() -> None:
    image = picture(400, 304)
    data = encoded(image, "JPEG", quality=95)
    for at_least, shape in [
        (None, (304, 400)),
        (305, (304, 400)),
        (153, (304, 400)),
        (152, (152, 200)),
        (77, (152, 200)),
        (76, (76, 100)),
        (38, (38, 50)),
        (8, (38, 50)),
    ]:
        photo = decode(data, at_least_px=at_least)
        assert photo.pixels.shape == (*shape, 3)
        assert (photo.width_px, photo.height_px) == (400, 304)
        assert distance(photo.pixels, image.resize(shape[::-1], Image.Resampling.BOX)) < 2
    cmyk = decode(encoded(image.convert("CMYK"), "JPEG"), at_least_px=76)
    assert cmyk.pixels.shape == (76, 100, 3)
    odd = decode(encoded(picture(401, 305), "JPEG"), at_least_px=153)
    assert min(odd.pixels.shape[:2]) >= 153


# --- harmless flaws -------------------------------------------------------------------------------


def test_reads_the_odd_scan_headers_of_some_phones() -> None:
    data = encoded(picture(), "JPEG")
    scan = data.index(b"\xff\xda")
    odd = data[: scan + 11] + b"\0\0\0" + data[scan + 14 :]
    photo = decode(odd)
    assert photo.notes == ("odd-scan-header",)
    assert (photo.pixels == decode(data).pixels).all()
    assert reason(odd[:-50]) == "truncated JPEG"
    assert reason(odd[:-50] + b"\xff\xd9") == "truncated JPEG"


def test_reads_a_padded_jpeg_but_none_out_of_step() -> None:
    data = encoded(picture(), "JPEG")
    padded = decode(data[:-2] + b"\0" * 40 + data[-2:])
    assert padded.notes == ("padded-end",)
    assert (padded.pixels == decode(data).pixels).all()
    assert "extraneous bytes" in reason(data[:-2] + bytes(range(1, 41)) + data[-2:])
    assert (decode(data + b"\0a video follows").pixels == decode(data).pixels).all()


def with_flaws(data: bytes, *flaws: str) -> bytes:
    """Give a JPEG flaws that do not touch its picture."""
    if "odd-colour-profile" in flaws:  # the first of two parts, without the second
        data = data[:2] + segment(0xE2, b"ICC_PROFILE\0\1\2" + bytes(40)) + data[2:]
    if "odd-jfif-version" in flaws:
        at = data.index(b"JFIF\0") + 5
        data = data[:at] + b"\2\1" + data[at + 2 :]
    if "odd-scan-header" in flaws:
        scan = data.index(b"\xff\xda")
        data = data[: scan + 11] + b"\0\0\0" + data[scan + 14 :]
    if "padded-end" in flaws:
        data = data[:-2] + b"\0" * 40 + data[-2:]
    return data


@pytest.mark.parametrize(
    "flaws",
    [
        ("odd-colour-profile",),
        ("odd-jfif-version",),
        ("odd-colour-profile", "odd-jfif-version", "odd-scan-header", "padded-end"),
        ("odd-colour-profile", "padded-end"),
    ],
)
def test_reads_a_jpeg_with_harmless_flaws_and_notes_them(flaws: tuple[str, ...]) -> None:
    data = encoded(picture(), "JPEG")
    photo = decode(with_flaws(data, *flaws))
    assert sorted(photo.notes) == sorted(flaws)
    assert (photo.pixels == decode(data).pixels).all()
    assert reason(with_flaws(data, *flaws)[:-60]) == "truncated JPEG"
    assert "extraneous bytes" in reason(
        with_flaws(data[:-2] + bytes(range(1, 41)) + data[-2:], *set(flaws) - {"padded-end"})
    )


def test_a_jpeg_of_many_segments() -> None:
    data = encoded(picture(), "JPEG")
    flawed = with_flaws(data, "odd-colour-profile")
    mended = decode(flawed[:2] + segment(0xE2, b"") * 9_000 + flawed[2:])
    assert mended.notes == ("odd-colour-profile",)
    assert (mended.pixels == decode(data).pixels).all()
    assert "absurdly many segments" in reason(data[:2] + segment(0xE2, b"") * 10_001 + data[2:])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparent_photos_are_on_white_as_if_made_at_once(mode: str) -> None:
    rng = np.random.default_rng(3)
    layers = Image.fromarray(rng.integers(0, 256, (600, 30, 4), np.uint8), "RGBA")
    image = layers if mode == "RGBA" else layers.convert("LA" if mode != "P" else "P")
    if mode == "P":
        image.info["transparency"] = bytes(range(256))
    data = encoded(image, "PNG")
    with Image.open(BytesIO(data)) as opened:
        whole = opened.convert("RGBA")
    white = Image.new("RGBA", whole.size, "white")
    wanted = np.array(Image.alpha_composite(white, whole).convert("RGB"))
    assert (decode(data).pixels == wanted).all()


def test_a_large_transparent_photo_takes_little_memory() -> None:
    code = (
        "import sys; from io import BytesIO; from PIL import Image\n"
        "from chajong.photos.decode import decode; from chajong.environment import *\n"
        "file = BytesIO(); Image.new('RGBA', (5000, 5000), (9, 9, 9, 9)).save(file, 'PNG')\n"
        "print(peak_memory_bytes()); decode(file.getvalue()); print(peak_memory_bytes())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    before, after = map(int, said.split())
    assert after - before < 200e6  # 382 MB where it is made at once


def test_many_threads_decode_the_same() -> None:
    files = [
        encoded(picture(seed=seed), kind) for seed in range(4) for kind in ("JPEG", "PNG", "GIF")
    ]
    wanted = [decode(data).pixels for data in files]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(5):
            for index, data in enumerate(files):
                if not (decode(data).pixels == wanted[index]).all():
                    wrong.append(index)

    threads = [threading.Thread(target=work) for _ in range(4)]
    filters = list(warnings.filters)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert list(warnings.filters) == filters


def test_unreadable_survives_a_process_border() -> None:
    error = pickle.loads(pickle.dumps(Unreadable("truncated JPEG")))
    assert error.reason == str(error) == "truncated JPEG"
