"""The only place that opens images: from bytes, strictly, without a file name in sight.

JPEG goes through libjpeg-turbo (simplejpeg), which refuses what is cut off or damaged; everything
else goes through Pillow, after the container was checked here, because Pillow alone would pad or
overlook some damage. Sizes are read from headers and refused before anything is decoded.

Colour profiles (ICC) are ignored: nearly all car photos are sRGB, and the models' own training
photos were read without them. Transparent parts become white, like the web page or studio around
a cut-out car; the colours below full transparency are arbitrary, often black.

Shapes: h, w are the height and width in pixels.
"""

import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from chajong.photos.header import (
    FRAMES,
    PNG_START,
    PROGRESSIVE,
    SENSELESS,
    check_size,
    damage,
    format_of,
    jpeg_segments,
    webp_sides,
    what_else,
)
from chajong.photos.header import MAX_MEGAPIXELS as MAX_MEGAPIXELS
from chajong.photos.header import Unreadable as Unreadable
from chajong.photos.orientation import orientation_in, upright

NO_MEMORY = "more pixels than the memory of this machine holds"
"""Why a photo cannot be read that could be at another time."""

# The most work that a progressive JPEG may ask for; encoders write about 10 scans.
_MAX_MEGAPIXEL_SCANS = 4000
_STRIP_PX = 256

_JPEG_END, _APP0, _APP1, _APP2 = b"\xff\xd9", 0xE0, 0xE1, 0xE2
_MODES_READ = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB"}
_SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N"}

# Pillow warns about some damage, and Python keeps its warning filters for the whole process.
_QUIETLY = threading.Lock()


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
        pixels: RGB of shape (h, w, 3), upright; may be smaller than the full photo.
        width_px: Width of the full photo, upright.
        height_px: Height of the full photo, upright.
        format: `jpeg`, `png`, `webp`, `bmp`, `gif` or `tiff`, by content, not by name.
        notes: What was special: `exif-rotated`, `grey`, `cmyk`, `palette`, `alpha`, `16-bit`,
            `animated` (the first picture is taken), `odd-scan-header`, `odd-colour-profile`,
            `odd-jfif-version`, `padded-end`.
    """

    pixels: NDArray[np.uint8]
    width_px: int
    height_px: int
    format: str
    notes: tuple[str, ...]


def decode(data: bytes, at_least_px: int | None = None) -> Photo:
    """Open a photo.

    Args:
        data: The whole file.
        at_least_px: A JPEG may be decoded at a half, a quarter or an eighth of its size (faster)
            as long as both sides keep at least this many pixels; None decodes in full.

    Returns:
        The photo, upright, as RGB.

    Raises:
        Unreadable: If it is empty, not a picture, cut off, damaged or has too many pixels.
    """
    kind = format_of(data)
    if kind is None:
        raise Unreadable(what_else(data))
    try:
        match kind:
            case "jpeg":
                return _decode_jpeg(data, at_least_px)
            case "png":
                return _decode_png(data)
            case "webp":
                return _decode_webp(data)
            case "bmp" if len(data) < int.from_bytes(data[2:6], "little"):
                raise Unreadable("truncated BMP")
            case "bmp":
                return _from_pillow(BmpImageFile(BytesIO(data)), kind)
            case "gif" if not data.rstrip(b"\0\r\n\t ").endswith(b";"):
                raise Unreadable("truncated GIF")
            case "gif":
                return _decode_quietly(GifImageFile, data, kind)
            case _:  # Pillow itself turns a TIFF upright
                turned = ("exif-rotated",) * (orientation_in(data) != 1)
                return _decode_quietly(TiffImageFile, data, kind, notes=turned)
    except Unreadable:
        raise
    except (OSError, ValueError, SyntaxError) as error:
        raise Unreadable(damage(kind, str(error))) from error
    except MemoryError as error:
        raise Unreadable(NO_MEMORY) from error
    except Exception as error:  # decoders raise nearly anything at damaged headers
        raise Unreadable(damage(kind, SENSELESS)) from error


def _turned(photo: Photo, orientation: int) -> Photo:
    if orientation == 1:
        return photo
    sides = photo.width_px, photo.height_px
    width, height = sides if orientation < 5 else sides[::-1]
    pixels, notes = upright(photo.pixels, orientation), (*photo.notes, "exif-rotated")
    return Photo(pixels, width, height, photo.format, notes)


# --- JPEG -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Jpeg:
    data: bytes
    width_px: int
    height_px: int
    num_colours: int
    orientation: int
    scan: int  # where the picture data start
    strict: bool = True  # whether a complaint of the decoder is an error


def _decode_jpeg(data: bytes, at_least_px: int | None) -> Photo:
    jpeg = _jpeg_header(data)
    try:
        pixels, notes = _jpeg_pixels(jpeg, at_least_px)
    except ValueError as error:
        if "subsampling" not in str(error):
            raise
        # A rare chroma subsampling: Pillow reads it, though it overlooks some damage.
        return _decode_quietly(JpegImageFile, data, "jpeg", jpeg.orientation)
    photo = Photo(pixels, jpeg.width_px, jpeg.height_px, "jpeg", notes)
    return _turned(photo, jpeg.orientation)


def _jpeg_header(data: bytes) -> _Jpeg:
    exif, frame, scan = b"", None, 0
    for marker, start, end in jpeg_segments(data):
        if marker == _APP1 and data[start : start + 6] == b"Exif\0\0":
            exif = exif or data[start + 6 : end]
        elif marker in FRAMES:
            frame = struct.unpack_from(">HHB", data, start + 1)
            check_size(frame[1], frame[0])
            if marker in PROGRESSIVE:
                _check_scans(frame[0] * frame[1] * data.count(b"\xff\xda"))
        scan = end
    if frame is None:
        raise Unreadable(damage("jpeg", SENSELESS))
    if data.rfind(_JPEG_END, scan) < 0:
        raise Unreadable("truncated JPEG")
    height, width, num_colours = frame
    return _Jpeg(data, width, height, num_colours, orientation_in(exif), scan)


def _check_scans(pixel_scans: int) -> None:
    if pixel_scans > _MAX_MEGAPIXEL_SCANS * 1e6:
        raise Unreadable("a progressive JPEG of absurdly many scans")


# Decodes strictly; photos with harmless flaws are decoded too, and each flaw is noted.
def _jpeg_pixels(jpeg: _Jpeg, at_least_px: int | None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    notes = {1: ("grey",), 4: ("cmyk",)}.get(jpeg.num_colours, ())
    while True:
        try:
            return _turbo(jpeg, at_least_px), notes
        except ValueError as error:
            flaw, mended = _mended(jpeg, str(error))
            if flaw is None or flaw in notes:
                raise
        jpeg, notes = mended, (*notes, flaw)


def _mended(jpeg: _Jpeg, said: str) -> tuple[str | None, _Jpeg]:
    # The name of a harmless flaw that the decoder complains of, and the photo without it.
    data, scan = jpeg.data, jpeg.scan
    if said == "Invalid SOS parameters for sequential JPEG":  # many Samsung phones write these
        mended = data[: scan - 3] + b"\0\x3f\0" + data[scan:]  # all that is allowed there
        return "odd-scan-header", replace(jpeg, data=mended)
    if "bad ICC marker" in said:  # of a profile that is ignored anyway
        others, begin = [], 0
        for marker, start, end in jpeg_segments(data):
            if marker == _APP2:
                others.append(data[begin : start - 4])
                begin = end
        data = b"".join([*others, data[begin:]])
        scan -= len(jpeg.data) - len(data)
        return "odd-colour-profile", replace(jpeg, data=data, scan=scan)
    if "unknown JFIF revision" in said:
        fixed = bytearray(data)
        for marker, start, _ in jpeg_segments(data):
            if marker == _APP0 and data[start : start + 5] == b"JFIF\0":
                fixed[start + 5 : start + 7] = b"\1\2"
        return "odd-jfif-version", replace(jpeg, data=bytes(fixed))
    # The first complaint is about bytes after the last pixel. Padding is harmless; the rest of a
    # picture, out of step since some damage, is not.
    padding = re.fullmatch(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9", said)
    if padding is not None:
        end = data.find(_JPEG_END, scan)
        if len(set(data[end - int(padding[1]) : end])) == 1:
            return "padded-end", replace(jpeg, strict=False)
    return None, jpeg


# Decodes at the smallest fast scale; 3/8, 5/8 and the like are slower than the full size.
def _turbo(jpeg: _Jpeg, at_least_px: int | None) -> NDArray[np.uint8]:
    factor, shorter = 1, min(jpeg.width_px, jpeg.height_px)
    while at_least_px is not None and factor < 8 and shorter / (2 * factor) >= at_least_px:
        factor *= 2
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        jpeg.data,
        colorspace="CMYK" if jpeg.num_colours == 4 else "RGB",
        min_height=-(-jpeg.height_px // factor),
        min_width=-(-jpeg.width_px // factor),
        min_factor=factor,
        strict=jpeg.strict,
    )
    if jpeg.num_colours < 4:
        return pixels
    # By Adobe's convention, which all decoders follow, 255 stands for no ink.
    light = pixels[..., :3].astype(np.uint16) * pixels[..., 3:] + 127
    return (light // 255).astype(np.uint8)


# --- everything else ------------------------------------------------------------------------------


def _decode_png(data: bytes) -> Photo:
    kept, orientation, depth, animated = [PNG_START], 1, 8, False
    for name, content, whole in _png_chunks(data):
        if name == b"IHDR":
            depth = content[8]
        elif name == b"eXIf":
            orientation = orientation_in(content)
        elif name == b"acTL":
            animated = True
        # Pillow gets the picture alone: no text to inflate, no animation to warn about, and no
        # transparent colour of 16 bits, which it cannot match.
        if name in (b"IHDR", b"PLTE", b"IDAT", b"IEND") or (name == b"tRNS" and depth < 16):
            kept.append(whole)
    notes = ("16-bit",) * (depth == 16) + ("animated",) * animated
    return _from_pillow(PngImageFile(BytesIO(b"".join(kept))), "png", orientation, notes)


# Walks a PNG's chunks to its end: the name, the content and all bytes of each.
def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    at, name = len(PNG_START), b""
    while name != b"IEND":
        length = int.from_bytes(data[at : at + 4])
        end = at + 12 + length
        if len(data) < end:
            raise Unreadable("truncated PNG")
        name = data[at + 4 : at + 8]
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise Unreadable("corrupt PNG: a checksum is wrong")
        yield name, data[at + 8 : end - 4], data[at:end]
        at = end


def _decode_webp(data: bytes) -> Photo:
    check_size(*webp_sides(data))  # here, as Pillow takes the memory when it opens the file
    return _from_pillow(WebPImageFile(BytesIO(data)), "webp", orientation_in(_webp_exif(data)))


def _webp_exif(data: bytes) -> bytes:
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            return data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0")
        at += 8 + length + length % 2
    return b""


def _decode_quietly(
    opener: type[ImageFile.ImageFile],
    data: bytes,
    kind: str,
    orientation: int = 1,
    notes: tuple[str, ...] = (),
) -> Photo:
    with _QUIETLY, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _from_pillow(opener(BytesIO(data)), kind, orientation, notes)


def _is_odd_grey(image: TiffImageFile) -> bool:
    # Pillow gives 12 bits, and white as 0, as if they were 16 bits and black as 0.
    bits_per_sample, photometric = image.tag_v2.get(258), image.tag_v2.get(262)
    return bits_per_sample != (16,) or photometric == 0


# Takes the first picture out of a file that Pillow has opened but not decoded yet. Its opener was
# chosen by content, not by Pillow, whose own limit on pixels would warn or could be switched off.
def _from_pillow(
    image: ImageFile.ImageFile, kind: str, orientation: int = 1, notes: tuple[str, ...] = ()
) -> Photo:
    check_size(*image.size)
    image.load()
    if image.mode in _SIXTEEN_BIT:
        if isinstance(image, TiffImageFile) and _is_odd_grey(image):
            raise Unreadable(damage(kind, "unsupported grey: not 16 bits, or white is 0"))
        notes = tuple(dict.fromkeys((*notes, "grey", "16-bit")))
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        pixels = np.repeat(grey[..., None], 3, axis=2)
    elif image.mode in _MODES_READ:
        notes = (*notes, *_colour_notes(image))
        pixels = _on_white(image) if "alpha" in notes else _opaque(image)
    else:
        raise Unreadable(damage(kind, f"unsupported pixels of mode {image.mode}"))
    if getattr(image, "is_animated", False):
        notes = (*notes, "animated")
    height, width = pixels.shape[:2]
    return _turned(Photo(pixels, width, height, kind, notes), orientation)


def _opaque(image: Image.Image) -> NDArray[np.uint8]:
    # Converting copies in any case, and a photo may be large.
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _colour_notes(image: Image.Image) -> Iterator[str]:
    if image.mode in ("1", "L", "LA"):
        yield "grey"
    if image.mode in ("P", "PA"):
        yield "palette"
    if image.mode == "CMYK":
        yield "cmyk"
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        yield "alpha"


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    # In strips, as whole photos would be in memory five times.
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP_PX):
        strip = image.crop((0, top, image.width, min(top + _STRIP_PX, image.height)))
        layer = strip.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        shown = Image.alpha_composite(white, layer).convert("RGB")
        pixels[top : top + _STRIP_PX] = np.asarray(shown)
    return pixels
