"""Parquet files, read and joined so that what goes wrong is an error that says what it is."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import polars as pl


def read_parquet(source: Path | BinaryIO, columns: list[str] | None = None) -> pl.DataFrame:
    """Read a table.

    Args:
        source: The file.
        columns: Those to read; all of them if it is not said.

    Returns:
        The rows.

    Raises:
        OSError: If the file cannot be read.
        pl.exceptions.PolarsError: If it is damaged, or has no such column.
    """  # noqa: DOC502 raised by polars
    with _without_panic():
        if isinstance(source, Path):
            return pl.read_parquet(source, columns=columns, glob=False)
        return pl.read_parquet(source, columns=columns)


def read_texts(path: Path) -> dict[str, str]:
    """Read the texts that a file keeps beside its rows.

    Args:
        path: The file.

    Returns:
        The texts that were given when it was written, by their names.

    Raises:
        OSError: If the file cannot be read.
        pl.exceptions.PolarsError: If it is damaged.
    """  # noqa: DOC502 raised by polars
    with _without_panic():
        return {
            name: text
            for name, text in pl.read_parquet_metadata(path).items()
            if not name.startswith("ARROW:")
        }


def join_parquet(paths: Sequence[Path], out: Path) -> None:
    """Write the rows of several files into one, with the texts of the first; a part at a time.

    Args:
        paths: The files, at least one, of the same columns.
        out: The file to write.

    Raises:
        OSError: If one cannot be read or the other not be written.
        pl.exceptions.PolarsError: If one is damaged.
    """  # noqa: DOC502 raised by polars
    texts = read_texts(paths[0])
    tables = pl.scan_parquet(list(paths), glob=False)
    try:
        with _without_panic():
            tables.sink_parquet(out, metadata=texts, row_group_size=4096)
    except pl.exceptions.PolarsError as error:
        # What the system said, such as that the disk is full, is left in the text alone.
        if said := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(said[1]), os.strerror(int(said[1])), str(out)) from error
        raise


@contextmanager
def _without_panic() -> Iterator[None]:
    # A panic of polars at damage that it did not foresee is a BaseException, which no one expects.
    try:
        yield
    except pl.exceptions.PanicException as error:
        raise pl.exceptions.ComputeError(f"the file is damaged: {error}") from error
