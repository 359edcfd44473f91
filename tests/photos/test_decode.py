import pickle
import struct
import threading
import warnings
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from chajong.photos.decode import MAX_MEGAPIXELS, Unreadable, decode

Pixels = NDArray[np.uint8]


def picture(width: int = 48, height: int = 36, seed: int = 0) -> Image.Image:
    """A smooth picture, different everywhere and in every direction."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def reason(data: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        decode(data)
    return caught.value.reason


def distance(got: Pixels, wanted: Image.Image) -> float:
    """The mean difference in grey levels."""
    return float(np.abs(got.astype(float) - np.asarray(wanted.convert("RGB"))).mean())


# --- handmade files, for what Pillow cannot write -------------------------------------------------


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def bits(text: str) -> bytes:
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8).replace(b"\xff", b"\xff\x00")


def plain_jpeg(
    width: int, height: int, sampling: Sequence[tuple[int, int]], adobe: int | None = None
) -> bytes:
    """A JPEG whose every component is 128 everywhere, so that a block is the two bits 00."""
    num = len(sampling)
    parts = [b"\xff\xd8"]
    if adobe is not None:
        parts.append(segment(0xEE, b"Adobe\0d\0\0\0\0" + bytes([adobe])))
    parts.append(segment(0xDB, b"\0" + b"\1" * 64))
    components = b"".join(bytes((i, h << 4 | v, 0)) for i, (h, v) in enumerate(sampling))
    parts.append(segment(0xC0, struct.pack(">BHHB", 8, height, width, num) + components))
    parts += [segment(0xC4, bytes([table, 1] + [0] * 16)) for table in (0x00, 0x10)]
    selectors = b"".join(bytes((i, 0)) for i in range(num))
    parts.append(segment(0xDA, bytes([num]) + selectors + b"\0\x3f\0"))
    wide, high = (8 * max(pair[axis] for pair in sampling) for axis in (0, 1))
    blocks = -(-width // wide) * -(-height // high) * sum(h * v for h, v in sampling)
    return b"".join(parts) + bits("00" * blocks) + b"\xff\xd9"


def many_scans_jpeg(side: int, num_scans: int) -> bytes:
    """A grey progressive JPEG with as many almost empty scans as wanted."""
    parts = [b"\xff\xd8", segment(0xDB, b"\0" + b"\1" * 64)]
    parts.append(segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0"))
    parts.append(segment(0xC4, bytes([0, 1] + [0] * 16)))
    parts.append(segment(0xC4, bytes([0x10, 1] + [0] * 15 + [0xE0])))  # a long run of empty blocks
    blocks = (-(-side // 8)) ** 2
    empty = bits(("0" + "1" * 14) * -(-blocks // 32767))
    parts += [segment(0xDA, b"\1\1\0\0\0\0"), bits("0" * blocks)]
    bands = [(band, low) for low in range(13, -1, -1) for band in range(1, 64)][:num_scans]
    for band, low in bands:
        high = 0 if low == 13 else low + 1
        parts += [segment(0xDA, b"\1\1\0" + bytes((band, band, high << 4 | low))), empty]
    return b"".join(parts) + b"\xff\xd9"


# --- what is read ---------------------------------------------------------------------------------


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


# --- what is refused ------------------------------------------------------------------------------


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
