"""The scan: every photo is read once, in parallel, and measured on a small grey copy of it.

Shapes: n photos.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from chajong.environment import num_cores
from chajong.files import read_memory, write_memory
from chajong.photos.decode import Unreadable, decode
from chajong.photos.duplicates import THUMB_PX
from chajong.photos.reading import read_file
from chajong.progress import Progress

SCAN_VERSION = 2
"""Goes up whenever a photo would be measured differently, so that old memories are not used."""

_GREY_PX = 2 * THUMB_PX
_CHUNK = 32
_AT_ONCE = 8  # more at once, and the system has to find new memory for every step
_LIT_FROM, _WHITE_FROM = 80, 250  # grey levels
_COLOURED_FROM = 12  # levels between a pixel's channels; JPEG gives grey photos a few

_FACTS = ("size_bytes", "sha256", "width_px", "height_px", "format", "reason")
_MEASURES = (
    "notes", "brightness", "contrast", "saturation", "lit_share", "white_share", "colour_share",
    "sharpness",
)  # fmt: skip
_COLUMNS = pl.Schema(
    {
        "path": pl.String(),
        "size_bytes": pl.Int64(),
        "mtime_ns": pl.Int64(),
        "sha256": pl.String(),
        "width_px": pl.Int64(),
        "height_px": pl.Int64(),
        "format": pl.String(),
        "reason": pl.String(),
        "notes": pl.List(pl.String),
        "brightness": pl.Float32(),
        "contrast": pl.Float32(),
        "saturation": pl.Float32(),
        "lit_share": pl.Float32(),
        "white_share": pl.Float32(),
        "colour_share": pl.Float32(),
        "sharpness": pl.Float32(),
        "thumb": pl.Binary(),
    }
)

_Row = dict[str, Any]


@dataclass(frozen=True)
class Scan:
    """What the scan found.

    Attributes:
        table: n rows of `size_bytes`, `sha256`, `width_px`, `height_px` (upright), `format`,
            `reason` (why it is not readable, else null). What is not known is null.
        measures: n rows of `notes` (of the decoder) and, of the grey copy with levels 0 to 255,
            `brightness` (mean), `contrast` (standard deviation), `saturation` (distance between a
            pixel's channels by the strongest of them, each summed over the pixels), `lit_share`,
            `white_share` and `colour_share` (of the pixels that are not dark, are white, have some
            colour) and `sharpness` (power of the finest octave by that of the next). Null where
            the photo is not readable.
        thumbs: (n, 48, 48) grey thumbnails; zeros where the photo is not readable.
    """

    table: pl.DataFrame
    measures: pl.DataFrame
    thumbs: NDArray[np.uint8]


def scan(paths: Sequence[Path], memory: Path) -> Scan:
    """Read and measure photos, those that changed since last time.

    Args:
        paths: n files; they need not exist.
        memory: A Parquet file of what earlier scans found, by path, size and time of change. It
            is brought up to date, also when the scan is broken off.

    Returns:
        A row for every path, in their order.
    """
    known = _remembered(memory)
    stamps = [_stamp(path) for path in paths]
    missing = [i for i, stamp in enumerate(stamps) if stamp is None or stamp not in known]
    rows: list[_Row | None] = [known.get(stamp) if stamp else None for stamp in stamps]
    try:
        if missing:
            _read_missing(paths, missing, rows)
    finally:  # what was read before an error or Ctrl-C is not lost
        table = pl.DataFrame([row for row in rows if row is not None], schema=_COLUMNS)
        if missing:
            _remember(memory, table)
    return Scan(table.select(_FACTS), table.select(_MEASURES), _thumbs(table["thumb"]))


def _read_missing(paths: Sequence[Path], missing: list[int], rows: list[_Row | None]) -> None:
    # Fill in the rows that are missing.
    chunks = [missing[at : at + _CHUNK] for at in range(0, len(missing), _CHUNK)]
    progress = Progress("reading photos", len(missing))
    with progress, ThreadPoolExecutor(num_cores()) as threads:
        waiting = [threads.submit(_measure, [paths[i] for i in chunk]) for chunk in chunks]
        try:
            for chunk, future in zip(chunks, waiting, strict=True):
                for place, row in zip(chunk, future.result(), strict=True):
                    rows[place] = row
                progress.advance(len(chunk))
        finally:  # Ctrl-C should not wait for all of them
            threads.shutdown(wait=False, cancel_futures=True)


def _stamp(path: Path) -> tuple[str, int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return str(path), info.st_size, info.st_mtime_ns


def _remembered(memory: Path) -> dict[tuple[str, int, int], _Row]:
    return {
        (row["path"], row["size_bytes"], row["mtime_ns"]): row
        for row in read_memory(memory, _COLUMNS).iter_rows(named=True)
    }


def _remember(memory: Path, table: pl.DataFrame) -> None:
    kept = table.filter(pl.col("sha256").is_not_null())  # others may well be there next time
    write_memory(memory, kept, "The next scan has to read all photos again.")


class _Look(NamedTuple):
    # What is kept of a photo's pixels until a chunk of them is measured.
    grey: Image.Image
    colours: NDArray[np.uint8]  # (k, 3) every fourth pixel of every fourth row


def _measure(paths: Sequence[Path]) -> list[_Row]:
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


def _read(path: Path) -> tuple[_Row, _Look | None]:
    # Read one photo into its row, and keep what its measures are made from.
    row: _Row = dict.fromkeys(_COLUMNS)
    row["path"] = str(path)
    try:
        stamp = _stamp(path)  # before reading: a file changed meanwhile is read again next time
        data = read_file(path)
        row["size_bytes"], row["mtime_ns"] = stamp[1:] if stamp is not None else (len(data), None)
        row["sha256"] = hashlib.sha256(data).hexdigest()
        photo = decode(data, at_least_px=_GREY_PX)
    except Unreadable as error:
        row["reason"] = error.reason
        return row, None
    row["width_px"], row["height_px"] = photo.width_px, photo.height_px
    row["format"], row["notes"] = photo.format, list(photo.notes)
    # A JPEG comes small already; of a large PNG not all pixels are needed.
    step = max(1, min(photo.pixels.shape[:2]) // (4 * _GREY_PX))
    small = Image.fromarray(photo.pixels[::step, ::step]).convert("L")
    grey = small.resize((_GREY_PX, _GREY_PX), Image.Resampling.BOX)
    return row, _Look(grey, photo.pixels[::4, ::4].reshape(-1, 3))


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


def _thumbs(column: pl.Series) -> NDArray[np.uint8]:
    nothing = bytes(THUMB_PX * THUMB_PX)
    joined = b"".join(thumb or nothing for thumb in column.to_list())
    return np.frombuffer(joined, np.uint8).reshape(-1, THUMB_PX, THUMB_PX)
