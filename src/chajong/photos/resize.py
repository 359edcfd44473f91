"""Photos brought to another size, as every network sees them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:
    from cykooz_resizer import (
        CropBox,
        FilterType,
        ImageData,
        PixelType,
        ResizeAlg,
        ResizeOptions,
        Resizer,
    )
except ImportError:  # it is not built for every machine
    Resizer = None

IS_FAST = Resizer is not None
"""Whether SIMD resizes here."""


def resized(
    pixels: NDArray[np.uint8],
    width_px: int,
    height_px: int,
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """Resize a photo; each new pixel averages all old ones that it covers (antialiased, bilinear).

    The filter of torchvision's own evaluation transforms, and 1.5 times as fast as bicubic. On most
    machines SIMD computes it in a third of Pillow's time; both agree to one level of 256.

    Args:
        pixels: RGB of shape (h, w, 3).
        width_px: The new width.
        height_px: The new height.
        box: What part of the photo to take, in its pixels: left, top, width, height; all if none.

    Returns:
        RGB of shape (height_px, width_px, 3).
    """
    if not IS_FAST:
        return by_pillow(pixels, width_px, height_px, box)
    options = ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.bilinear))
    if box is not None:
        options.crop_box = CropBox(*box)
    height, width = pixels.shape[:2]
    photo = ImageData(width, height, PixelType.U8x3, pixels.tobytes())
    made = ImageData(width_px, height_px, PixelType.U8x3)
    Resizer().resize(photo, made, options)  # one for each: they keep what they work on
    return np.frombuffer(made.get_buffer(), np.uint8).reshape(height_px, width_px, 3).copy()


def by_pillow(
    pixels: NDArray[np.uint8],
    width_px: int,
    height_px: int,
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """Do the same with Pillow.

    Args:
        pixels: As in `resized`.
        width_px: Likewise.
        height_px: Likewise.
        box: Likewise.

    Returns:
        Likewise.
    """
    left, top, width, height = box or (0, 0, pixels.shape[1], pixels.shape[0])
    part = (left, top, left + width, top + height)
    photo = Image.fromarray(pixels)
    return np.array(photo.resize((width_px, height_px), Image.Resampling.BILINEAR, box=part))
