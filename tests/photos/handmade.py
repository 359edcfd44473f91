"""Pictures for the opener, with files that Pillow cannot write, made byte by byte."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from chajong.photos.decode import Unreadable, decode


def picture(width: int = 48, height: int = 36, seed: int = 0) -> Image.Image:
    """A smooth picture, different everywhere and in every direction."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def reason(data: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        decode(data)
    return caught.value.reason


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
