"""Photos read and decoded ahead of their user, in their order, each with a truthful status."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chajong.environment import num_cores
from chajong.photos.decode import Unreadable
from chajong.photos.layout import PhotoRef
from chajong.photos.preprocess import Preprocess
from chajong.photos.reading import read_file

_AHEAD = 128  # photos: bounds the memory whatever the number of photos


@dataclass(frozen=True)
class Read:
    """One photo that was asked for.

    Args:
        ref: Which.
        status: `ok`, or why there are no pixels.
        pixels: uint8 `(s, s, 3)`, or none.
    """

    ref: PhotoRef
    status: str
    pixels: NDArray[np.uint8] | None


def read_photo(ref: PhotoRef, preprocess: Preprocess) -> Read:
    """Read, decode and resize one photo.

    Args:
        ref: Which.
        preprocess: How.

    Returns:
        Its pixels, or a status that says why there are none.
    """
    try:
        return Read(ref, "ok", preprocess(read_file(ref.path)))
    except Unreadable as error:
        return Read(ref, f"unreadable: {error.reason}", None)


def read_photos(refs: Sequence[PhotoRef], preprocess: Preprocess) -> Iterator[Read]:
    """Read photos in parallel, some ahead of their user.

    Args:
        refs: Which photos.
        preprocess: How.

    Yields:
        One result a photo, in the order asked for.
    """
    waiting: deque[Future[Read]] = deque()
    with ThreadPoolExecutor(num_cores()) as pool:
        try:
            for ref in refs:
                waiting.append(pool.submit(read_photo, ref, preprocess))
                if len(waiting) >= _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
