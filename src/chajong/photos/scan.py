"""The scan: every photo is read once, in parallel, and measured on a small grey copy of it.

Shapes: n photos.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chajong.environment import num_cores
from chajong.files import read_memory, write_memory
from chajong.photos.duplicates import THUMB_PX
from chajong.photos.measuring import MEASURED, Row, helpers, measure, stamp_of
from chajong.progress import Progress

SCAN_VERSION = 5
"""Goes up whenever a photo would be measured differently, so that old memories are not used."""

_CHUNK = 32
_WORTH_KEEPING = 4096  # photos
_WORTH_A_HELPER = 16 * 2**20  # bytes of photos: reading them takes longer than to start a process

_FACTS = ("size_bytes", "sha256", "width_px", "height_px", "format", "reason")
_COLUMNS = pl.Schema(
    {
        "path": pl.String(),
        "size_bytes": pl.Int64(),
        "ctime_ns": pl.Int64(),
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


def scan(paths: Sequence[Path], memory: Path, num_helpers: int | None = None) -> Scan:
    """Read and measure photos, those that changed since last time.

    Args:
        paths: n files; they need not exist.
        memory: A Parquet file of what earlier scans found, by path, size and time of change. It
            is brought up to date, also when the scan is broken off.
        num_helpers: How many other processes measure too, fewer than there are cores; as many as
            there is work for, if none.

    Returns:
        A row for every path, in their order.
    """
    known = _remembered(memory)
    stamps = [stamp_of(path) for path in paths]
    missing = [i for i, stamp in enumerate(stamps) if stamp is None or stamp not in known]
    rows: list[Row | None] = [known.get(stamp) if stamp else None for stamp in stamps]
    if missing:
        if num_helpers is None:
            num_bytes = sum(stamp[1] for stamp in map(stamps.__getitem__, missing) if stamp)
            num_helpers = min(num_cores() - 1, num_bytes // _WORTH_A_HELPER)

        def keep() -> None:
            _remember(memory, _table(rows))

        try:
            _read_missing(paths, missing, rows, num_helpers, keep)
        finally:  # what was read before an error or Ctrl-C is not lost
            keep()
    table = _table(rows)
    return Scan(table.select(_FACTS), table.select(MEASURED), _thumbs(table["thumb"]))


def _read_missing(
    paths: Sequence[Path],
    missing: list[int],
    rows: list[Row | None],
    num_helpers: int,
    keep: Callable[[], None],
) -> None:
    # Fill in the rows that are missing: a thread for each core, of which some only ask a helper.
    # They are kept now and then, for a kill asks nobody: each time there are twice as many.
    chunks = [missing[at : at + _CHUNK] for at in range(0, len(missing), _CHUNK)]
    idle: SimpleQueue[Callable[[Sequence[Path]], list[Row]]] = SimpleQueue()

    def measured(chunk: list[int]) -> list[Row]:
        someone = idle.get()
        try:
            return someone([paths[i] for i in chunk])
        finally:
            idle.put(someone)

    num_new, keep_from = 0, max(_WORTH_KEEPING, len(paths) - len(missing))
    progress = Progress("reading photos", len(missing))
    with progress, ThreadPoolExecutor(num_cores()) as threads, helpers(num_helpers) as others:
        for someone in [measure] * (num_cores() - len(others)) + [each.measure for each in others]:
            idle.put(someone)
        waiting = [threads.submit(measured, chunk) for chunk in chunks]
        try:
            for chunk, future in zip(chunks, waiting, strict=True):
                for place, row in zip(chunk, future.result(), strict=True):
                    rows[place] = row
                progress.advance(len(chunk))
                num_new += len(chunk)
                if num_new >= keep_from:
                    keep()
                    keep_from = 2 * num_new
        finally:  # Ctrl-C should not wait for all of them
            threads.shutdown(wait=False, cancel_futures=True)


def _table(rows: Sequence[Row | None]) -> pl.DataFrame:
    return pl.DataFrame([row for row in rows if row is not None], schema=_COLUMNS)


def _remembered(memory: Path) -> dict[tuple[str, int, int], Row]:
    return {
        (row["path"], row["size_bytes"], row["ctime_ns"]): row
        for row in read_memory(memory, _COLUMNS).iter_rows(named=True)
    }


def _remember(memory: Path, table: pl.DataFrame) -> None:
    kept = table.filter(pl.col("sha256").is_not_null())  # others may well be there next time
    write_memory(memory, kept, "The next scan has to read all photos again.")


def _thumbs(column: pl.Series) -> NDArray[np.uint8]:
    nothing = bytes(THUMB_PX * THUMB_PX)
    joined = b"".join(thumb or nothing for thumb in column.to_list())
    return np.frombuffer(joined, np.uint8).reshape(-1, THUMB_PX, THUMB_PX)
