"""Which way up a photo is: EXIF's orientation, read from bytes without opening the photo.

Shapes: h, w are the height and width in pixels.
"""

import struct

import numpy as np
from numpy.typing import NDArray

_TAG = 0x0112
_LONG = 4


def orientation_in(exif: bytes) -> int:
    """Find the orientation in EXIF data.

    Args:
        exif: The data from their byte order mark (`II` or `MM`) on; may be damaged or empty.

    Returns:
        1 to 8; 1 (upright) where they say nothing sensible, which is no reason to lose a photo.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (num_entries,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * num_entries, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, at)
            if tag == _TAG:
                (value,) = struct.unpack_from(order + ("I" if kind == _LONG else "H"), exif, at + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:  # cut off
        pass
    return 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an orientation; source: Exif 2.32, 4.6.4, tag 0x0112.

    Args:
        pixels: The photo as stored, of shape (h, w, 3).
        orientation: 1 to 8.

    Returns:
        The photo as seen, contiguous, of shape (h, w, 3) for 1 to 4 and (w, h, 3) for 5 to 8.
    """
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
