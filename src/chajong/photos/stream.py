"""Photos read and decoded ahead of their user, in their order, each with a truthful status."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from chajong.ahead import in_order
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


def read_batches(
    refs: Sequence[PhotoRef], preprocess: Preprocess, size: int
) -> Iterator[list[Read]]:
    """Read photos in parallel, in batches.

    Args:
        refs: Which photos.
        preprocess: How.
        size: Photos of a batch; the last may be smaller.

    Yields:
        Lists of results, in the order asked for.
    """
    reads = read_photos(refs, preprocess)
    while batch := list(islice(reads, size)):
        yield batch


def good_pixels(batch: Sequence[Read]) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Stack the photos of a batch that could be read.

    Args:
        batch: The results.

    Returns:
        Their places in the batch, and uint8 `(n, s, s, 3)`; both empty if there are none.
    """
    places = [place for place, read in enumerate(batch) if read.pixels is not None]
    pixels = [read.pixels for read in batch if read.pixels is not None]
    stacked = np.stack(pixels) if pixels else np.zeros((0, 1, 1, 3), np.uint8)
    return np.array(places, np.intp), stacked


def read_photos(refs: Sequence[PhotoRef], preprocess: Preprocess) -> Iterator[Read]:
    """Read photos in parallel, some ahead of their user.

    Args:
        refs: Which photos.
        preprocess: How.

    Yields:
        One result a photo, in the order asked for.
    """
    yield from in_order(lambda ref: read_photo(ref, preprocess), refs, num_cores(), _AHEAD)
