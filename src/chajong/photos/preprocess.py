"""The pixel half of the evaluation transform, the only one: bytes in, a square of pixels out.

The cache, training's evaluation, the export check and the service all call it, so a photo looks
the same to a model wherever it is asked. Normalising to floats is the model's half.

Shapes: s is the side of the square in pixels.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from chajong.errors import DataError
from chajong.files import fingerprint
from chajong.photos.decode import decode
from chajong.photos.resize import resized

Aspect = Literal["squash", "letterbox", "crop"]

Squares = tuple[NDArray[np.uint8], ...]
"""A photo prepared in each of several ways: (s, s, 3) RGB, s may differ."""

# Raise it whenever the same photo would come out with other pixels: caches are then made anew.
_VERSION = 2
_MIN_SIZE_PX, _MAX_SIZE_PX = 8, 1024
_GREY = 128


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
        pixels, side = decode(data, at_least_px=self.size_px).pixels, self.size_px
        height, width = pixels.shape[:2]
        if self.aspect == "squash":
            return resized(pixels, side, side)
        if self.aspect == "crop":
            # The largest square in the middle. Not rounded to whole pixels, so that a photo decoded
            # at a smaller scale is cropped alike.
            least = min(width, height)
            box = ((width - least) / 2, (height - least) / 2, least, least)
            return resized(pixels, side, side, box)
        inner = [max(1, round(side * each / max(width, height))) for each in (width, height)]
        left, top = ((side - each) // 2 for each in inner)
        square = np.full((side, side, 3), _GREY, np.uint8)
        square[top : top + inner[1], left : left + inner[0]] = resized(pixels, *inner)
        return square
