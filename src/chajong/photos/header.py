"""What the headers of a photo's file say of it; no picture is decoded and no memory taken for it.

Shapes: none; sizes are in pixels.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chajong.errors import DataError

# The largest photo that is opened: that of a phone's 108-megapixel camera fits.
MAX_MEGAPIXELS = 120

NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "bmp": "BMP", "gif": "GIF", "tiff": "TIFF"}
"""The formats that are opened, and what people call them."""

PNG_START = b"\x89PNG\r\n\x1a\n"
PROGRESSIVE = (0xC2, 0xCA)
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
SENSELESS = "its header makes no sense"

_JPEG_START, _SOS = b"\xff\xd8", 0xDA
_MOST_SEGMENTS = 10_000
_FILL_BYTES = re.compile(rb"\xff+(?=\xff)")


class Unreadable(DataError):  # noqa: N818 it reads as what it says of a photo
    """A photo that cannot be read as it was meant.

    Args:
        reason: Why not, in plain words, such as `truncated JPEG`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Header:
    """What a file says of the photo in it.

    Attributes:
        format: `jpeg`, `png` or `webp`, by content.
        width_px: Width as it is stored, before it is turned upright.
        height_px: Height as it is stored.
        num_frames: How many pictures there are; more than one is an animation.
        num_scans: How often a decoder goes over the whole picture; several if progressive.
    """

    format: str
    width_px: int
    height_px: int
    num_frames: int = 1
    num_scans: int = 1

    @property
    def megapixels(self) -> float:
        """The size, in millions of pixels."""
        return self.width_px * self.height_px / 1e6


def read_header(data: bytes) -> Header:
    """Read what a JPEG, PNG or WebP says of itself.

    Args:
        data: The whole file.

    Returns:
        Its header.

    Raises:
        Unreadable: If it is none of these, or its header is cut off or makes no sense.
    """
    kind = format_of(data)
    if kind is None:
        raise Unreadable(what_else(data))
    if kind not in _READERS:
        raise Unreadable(f"a {NAMES[kind]}")
    try:
        return _READERS[kind](data)
    except struct.error as error:
        raise Unreadable(f"truncated {NAMES[kind]}") from error


def format_of(data: bytes) -> str | None:
    """Tell the format by content.

    Args:
        data: The whole file, or its start.

    Returns:
        A key of `NAMES`; none if it is no picture that is opened.
    """
    if data.startswith(_JPEG_START):
        return "jpeg"
    if data.startswith(PNG_START):
        return "png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(b"BM") and data[15:18] == b"\0\0\0":  # or it is a text about a BMW
        return "bmp"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "tiff" if data.startswith((b"II*\0", b"MM\0*")) else None


def what_else(data: bytes) -> str:
    """Tell what a file is that is no photo.

    Args:
        data: The whole file.

    Returns:
        In plain words.
    """
    if not data:
        return "empty file"
    if len(data) < 18:
        return f"too short for a picture: {len(data)} bytes"
    if not data.strip(b"\0"):
        return "nothing but zero bytes, as an interrupted copy leaves"
    start = data[:512]
    if start[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file; save it as JPEG"
    text = start.decode("utf-8", errors="ignore")
    if re.match(r"\s*<(!doctype html|html|head|body)", text, re.IGNORECASE):
        return "a web page (HTML), not a picture"
    # The last letter may be cut in two.
    if "\0" not in text and len(start) - len(text.encode()) <= 3:
        return "a text file, not a picture"
    return f"not a picture in a known format: {', '.join(NAMES.values())}"


def damage(kind: str, said: str) -> str:
    """Put a decoder's complaint in plain words.

    Args:
        kind: The format.
        said: The complaint.

    Returns:
        The reason for an `Unreadable`.
    """
    name, lower = NAMES[kind], said.lower()
    if any(word in lower for word in ("truncat", "premature end", "not enough image data")):
        return f"truncated {name}"
    if "unsupported" in lower:
        return f"an unusual {name} ({said}); save it as an ordinary one"
    return f"corrupt {name}: {said.removeprefix('Corrupt JPEG data: ')}"


def check_size(width_px: int, height_px: int) -> None:
    """Refuse a photo by what its header says, before memory is taken for it.

    Args:
        width_px: Its width.
        height_px: Its height.

    Raises:
        Unreadable: If it has no pixels or more than `MAX_MEGAPIXELS`.
    """
    if width_px < 1 or height_px < 1:
        raise Unreadable(f"a size of {width_px} x {height_px} pixels in its header")
    megapixels = width_px * height_px / 1e6
    if megapixels > MAX_MEGAPIXELS:
        raise Unreadable(
            f"too many pixels: {width_px} x {height_px} = {megapixels:,.0f} megapixels, "
            f"at most {MAX_MEGAPIXELS} are opened; save it smaller"
        )


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Walk the segments of a JPEG up to the first scan header.

    Args:
        data: The whole file.

    Yields:
        The marker of each, and where its content lies.

    Raises:
        Unreadable: If it is cut off or no JPEG.
    """
    at, marker, num = 2, 0, 0
    while marker != _SOS:
        num += 1
        if num > _MOST_SEGMENTS:
            raise Unreadable("a JPEG of absurdly many segments")
        if fill := _FILL_BYTES.match(data, at):
            at = fill.end()
        if at + 4 > len(data):
            raise Unreadable("truncated JPEG")
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if data[at] != 0xFF:
            raise Unreadable(damage("jpeg", SENSELESS))
        if end > len(data):
            raise Unreadable("truncated JPEG")
        yield marker, at + 4, end
        at = end


def webp_sides(data: bytes) -> tuple[int, int]:
    """Read the size of a WebP.

    Args:
        data: The whole file.

    Returns:
        Width and height in pixels.

    Raises:
        Unreadable: If it is cut off.
    """
    if len(data) < 30 or len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise Unreadable("truncated WebP")
    if data[12:16] == b"VP8X":
        sides = data[24:27], data[27:30]
        width, height = (1 + int.from_bytes(side, "little") for side in sides)
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    return width, height


def _jpeg(data: bytes) -> Header:
    for marker, start, _ in jpeg_segments(data):
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", data, start + 1)
            scans = data.count(b"\xff\xda") if marker in PROGRESSIVE else 1
            return Header("jpeg", width, height, num_scans=scans)
    raise Unreadable(damage("jpeg", SENSELESS))


def _png(data: bytes) -> Header:
    # The first chunk must be the size; how many frames there are stands before the picture.
    name, width, height = struct.unpack_from(">4sII", data, len(PNG_START) + 4)
    if name != b"IHDR":
        raise Unreadable(damage("png", SENSELESS))
    animation = data.find(b"acTL", 0, max(0, data.find(b"IDAT")))
    frames = 1 if animation < 0 else struct.unpack_from(">I", data, animation + 4)[0]
    return Header("png", width, height, num_frames=max(1, frames))


def _webp(data: bytes) -> Header:
    width, height = webp_sides(data)
    is_animated = data[12:16] == b"VP8X" and data[20] & 0x02
    return Header("webp", width, height, num_frames=max(1, is_animated and data.count(b"ANMF")))


_READERS: dict[str, Callable[[bytes], Header]] = {"jpeg": _jpeg, "png": _png, "webp": _webp}
