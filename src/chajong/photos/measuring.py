"""What is measured of each photo: on a small grey copy of it, a chunk of photos at a time.

Threads of one process wait for each other at every step of Python, so of many photos other
processes measure some. They run this module; it imports little, because they start anew each time.

Shapes: k pixels.
"""

import hashlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chajong.photos.decode import NO_MEMORY, Unreadable, decode
from chajong.photos.duplicates import THUMB_PX
from chajong.photos.reading import read_file

MEASURED = (
    "notes", "brightness", "contrast", "saturation", "lit_share", "white_share", "colour_share",
    "sharpness",
)  # fmt: skip
"""What is told of each readable photo beside its facts and its thumbnail."""

Row = dict[str, Any]

_GREY_PX = 2 * THUMB_PX
_AT_ONCE = 8  # more at once, and the system has to find new memory for every step
_LIT_FROM, _WHITE_FROM = 80, 250  # grey levels
_COLOURED_FROM = 12  # levels between a pixel's channels; JPEG gives grey photos a few


class Helper:
    """Another process that measures photos.

    It ends when this one does: nothing is left to read from then.
    """

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def measure(self, paths: Sequence[Path]) -> list[Row]:
        """Do what `measure` does, over there; here, if that process has died.

        Args:
            paths: The photos.

        Returns:
            A row each.
        """
        asked, answered = self.process.stdin, self.process.stdout
        assert asked is not None
        assert answered is not None
        try:
            pickle.dump(list(map(str, paths)), asked)
            asked.flush()
            rows: list[Row] = pickle.load(answered)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            return measure(paths)
        return rows

    def end(self) -> None:
        """End it now, whatever it does."""
        self.process.kill()
        with suppress(OSError):  # what it did not read any more
            self.process.communicate()


@contextmanager
def helpers(num: int) -> Iterator[list[Helper]]:
    """Start processes that measure.

    Args:
        num: How many.

    Yields:
        Those that could be started.
    """
    started: list[Helper] = []
    try:
        with suppress(OSError):  # where no process can be had, there is still this one
            started.extend(Helper() for _ in range(num))
        yield started
    finally:
        for helper in started:
            helper.end()


def measure(paths: Sequence[Path]) -> list[Row]:
    """Read and measure photos.

    Args:
        paths: The photos.

    Returns:
        A row each: `path`, `size_bytes`, `ctime_ns`, `sha256`, and of a readable photo `width_px`,
        `height_px`, `format`, `MEASURED` and `thumb`; of another the `reason`.
    """
    # Numbers are found for a whole chunk at once: threads wait for each other at every step of
    # their own.
    read = [_read(path) for path in paths]
    seen = [(row, look) for row, look in read if look is not None]
    if seen:
        looks = [look for _, look in seen]
        halves = [look.grey.reduce(2) for look in looks]
        measures = {
            **_tones([look.grey for look in looks]),
            **_colours([look.colours for look in looks]),
            "sharpness": _detail([look.grey for look in looks]) / (_detail(halves) + 0.5),
        }
        for i, (row, _) in enumerate(seen):
            row.update({name: float(values[i]) for name, values in measures.items()})
            row["thumb"] = halves[i].tobytes()
    return [row for row, _ in read]


def stamp_of(path: Path) -> tuple[str, int, int] | None:
    """Tell what a file looks like from outside.

    Args:
        path: The file.

    Returns:
        Its path, size in bytes and when it was last changed in any way, in ns (ctime: no program
        sets it back, as some do with mtime); none if it is not there.
    """
    try:
        info = path.stat()
    except OSError:
        return None
    return str(path), info.st_size, info.st_ctime_ns


class _Look(NamedTuple):
    # What is kept of a photo's pixels until a chunk of them is measured.
    grey: Image.Image
    colours: NDArray[np.uint8]  # (k, 3) of every fourth row every fourth pixel, counted through


def _read(path: Path) -> tuple[Row, _Look | None]:
    # Read one photo into its row, and keep what its measures are made from.
    row: Row = {}
    row["path"] = str(path)
    try:
        stamp = stamp_of(path)  # before reading: a file changed meanwhile is read again next time
        data = read_file(path)
        row["size_bytes"], row["ctime_ns"] = stamp[1:] if stamp is not None else (len(data), None)
        row["sha256"] = hashlib.sha256(data).hexdigest()
        photo = decode(data, at_least_px=_GREY_PX)
    except Unreadable as error:
        row["reason"] = error.reason
        if error.reason == NO_MEMORY:
            row["sha256"] = None  # so that it is not remembered
        return row, None
    row["width_px"], row["height_px"] = photo.width_px, photo.height_px
    row["format"], row["notes"] = photo.format, list(photo.notes)
    # A JPEG comes small already; of a large PNG not all pixels are needed.
    step = max(1, min(photo.pixels.shape[:2]) // (4 * _GREY_PX))
    small = Image.fromarray(photo.pixels[::step, ::step]).convert("L")
    grey = small.resize((_GREY_PX, _GREY_PX), Image.Resampling.BOX)
    return row, _Look(grey, photo.pixels[::4].reshape(-1, 3)[::4].copy())


def _tones(greys: Sequence[Image.Image]) -> dict[str, NDArray[np.float64]]:
    shares = np.array([grey.histogram() for grey in greys]) / _GREY_PX**2
    levels = np.arange(256)
    mean = shares @ levels
    return {
        "brightness": mean,
        "contrast": np.sqrt(np.maximum(shares @ levels**2 - mean**2, 0)),
        "lit_share": shares[:, _LIT_FROM:].sum(axis=1),
        "white_share": shares[:, _WHITE_FROM:].sum(axis=1),
    }


def _colours(photos: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[np.float64]]:
    # The share of pixels with some colour, and the saturation; sums, because single dark pixels
    # have any saturation.
    counts = np.array([len(pixels) for pixels in photos])
    starts = np.cumsum(counts) - counts
    red, green, blue = np.concatenate(photos).T.copy()
    most = np.maximum(np.maximum(red, green), blue)
    chroma = most - np.minimum(np.minimum(red, green), blue)
    coloured, chromas, mosts = (
        np.add.reduceat(values, starts, dtype=np.int64)
        for values in (chroma >= _COLOURED_FROM, chroma, most)
    )
    return {"colour_share": coloured / counts, "saturation": chromas / np.maximum(1, mosts)}


def _detail(greys: Sequence[Image.Image]) -> NDArray[np.float64]:
    # (n,) power of what a 3 x 3 mean takes away.
    joined = b"".join(grey.tobytes() for grey in greys)
    levels = np.frombuffer(joined, np.uint8).reshape(len(greys), *greys[0].size)
    parts = [_power(levels[at : at + _AT_ONCE]) for at in range(0, len(levels), _AT_ONCE)]
    return np.concatenate(parts)


def _power(greys: NDArray[np.uint8]) -> NDArray[np.float64]:
    levels = greys.astype(np.int16)
    rows = levels[:, :-2] + levels[:, 1:-1]
    rows += levels[:, 2:]
    away = rows[:, :, :-2] + rows[:, :, 1:-1]
    away += rows[:, :, 2:]
    away -= 9 * levels[:, 1:-1, 1:-1]
    flat = away.reshape(len(away), -1).astype(np.float32)
    power: NDArray[np.float64] = np.einsum("nk,nk->n", flat, flat) / (81.0 * flat.shape[1])
    return power


def _serve() -> None:
    # Ctrl-C is for the process that asks; when that ends, there is nothing left to read.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError):
        while True:
            paths = [Path(path) for path in pickle.load(sys.stdin.buffer)]
            pickle.dump(measure(paths), sys.stdout.buffer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
