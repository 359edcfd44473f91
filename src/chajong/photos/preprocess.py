"""The pixel half of the evaluation transform, the only one: bytes in, a square of pixels out.

The cache, training's evaluation, the export check and the service all call it, so a photo looks
the same to a model wherever it is asked. Normalising to floats is the model's half.

Shapes: s is the side of the square in pixels.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chajong.errors import DataError
from chajong.files import fingerprint
from chajong.photos.decode import decode

Aspect = Literal["squash", "letterbox", "crop"]

# Raise it whenever the same photo would come out with other pixels: caches are then made anew.
_VERSION = 1
_MIN_SIZE_PX, _MAX_SIZE_PX = 8, 1024
_GREY = (128, 128, 128)

# Antialiased: each new pixel averages all old ones that it covers. The filter of torchvision's own
# evaluation transforms, and 1.5 times as fast as bicubic.
_FILTER = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Preprocess:
    """How a photo of any shape becomes a square.

    Attributes:
        size_px: The side s of the square in pixels, 8 to 1024.
        aspect: `squash` stretches the whole photo into the square, `letterbox` keeps its shape
            and pads with mid grey, `crop` keeps its shape and cuts off what is outside the
            largest square in its middle, which can be a part of the car.
    """

    size_px: int
    aspect: Aspect

    def __post_init__(self) -> None:
        problems = []
        if not _MIN_SIZE_PX <= self.size_px <= _MAX_SIZE_PX:
            problems.append(
                f"size_px must be {_MIN_SIZE_PX} to {_MAX_SIZE_PX} pixels, got {self.size_px}"
            )
        if self.aspect not in get_args(Aspect):
            allowed = ", ".join(get_args(Aspect))
            problems.append(f"aspect must be one of {allowed}, got {self.aspect!r}")
        if problems:
            raise DataError(f"Photos cannot be preprocessed like this: {'; '.join(problems)}.")

    @property
    def fingerprint(self) -> str:
        """Name what this does to pixels, the version of the algorithm included.

        Returns:
            16 hexadecimal digits.
        """
        return fingerprint("preprocess", _VERSION, self.size_px, self.aspect)

    def __call__(self, data: bytes) -> NDArray[np.uint8]:
        """Turn a photo into a square of pixels.

        Args:
            data: The whole file.

        Returns:
            RGB pixels of shape (s, s, 3), 0 to 255, upright and contiguous.

        Raises:
            Unreadable: If the photo cannot be opened.
        """  # noqa: DOC502 raised by `decode`
        photo = Image.fromarray(decode(data, at_least_px=self.size_px).pixels)
        size = (self.size_px, self.size_px)
        if self.aspect == "squash":
            return np.array(photo.resize(size, _FILTER))
        if self.aspect == "crop":
            return np.array(photo.resize(size, _FILTER, box=_middle(*photo.size)))
        inner = [max(1, round(self.size_px * side / max(photo.size))) for side in photo.size]
        square = Image.new("RGB", size, _GREY)
        left, top = ((self.size_px - side) // 2 for side in inner)
        square.paste(photo.resize((inner[0], inner[1]), _FILTER), (left, top))
        return np.array(square)


# The largest square in the middle: left, top, right, bottom. Not rounded to whole pixels, so that
# a photo decoded at a smaller scale is cropped alike.
def _middle(width: int, height: int) -> tuple[float, float, float, float]:
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side
