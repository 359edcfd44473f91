"""Reading CSV files as people and spreadsheets save them: with a BOM, CRLF, quotes, or damaged."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from chajong.errors import DataError
from chajong.wording import first_line, listed


def read_header(path: Path) -> tuple[str, ...]:
    """Read the column names of a CSV file.

    Args:
        path: The file: UTF-8, with or without a BOM, separated by commas.

    Returns:
        The names as they are written, without the BOM.

    Raises:
        DataError: If the file is missing, empty or not UTF-8, or if a name is repeated or blank.
    """
    with _reading(path):
        first = pl.read_csv(path, has_header=False, n_rows=1, infer_schema=False, glob=False)
    names = [name or "" for name in first.row(0)]
    if "" in names:
        raise DataError(f"{path}: column {names.index('') + 1} has no name in the header.")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path}: column names must be unique; repeated: {listed(repeated)}.")
    return tuple(names)


def read_columns(
    path: Path, types: Mapping[str, type[pl.DataType]], may_be_empty: Collection[str] = ()
) -> pl.DataFrame:
    """Read some columns of a CSV file.

    Args:
        path: The file: UTF-8, with or without a BOM, separated by commas, with a header.
        types: The columns to read, by their names in the header, and the type of each.
        may_be_empty: Those whose cells need not all be filled.

    Returns:
        The rows, in the order of the file; blank lines are passed over.

    Raises:
        DataError: If the file cannot be read, a column is missing, or a cell is empty or is not
            of its type.
    """
    header = read_header(path)
    if missing := [name for name in types if name not in header]:
        raise DataError(
            f"{path} has no column {listed(missing)}; it has {len(header)}: {listed(header)}."
        )
    with _reading(path):
        table = pl.read_csv(
            path,
            schema_overrides=types,
            infer_schema=False,
            glob=False,
            null_values=[""],  # quoted, too
        )
    # A line is blank by all of its cells, so that whoever reads some of them gets the same rows.
    table = table.filter(~pl.all_horizontal(pl.all().is_null())).select(list(types))
    for column in table.iter_columns():
        num_empty = column.null_count() if column.name not in may_be_empty else 0
        if num_empty:
            first = column.is_null().arg_true()[0] + 1
            raise DataError(
                f"{path}: column {column.name!r} has {num_empty:,} empty cell(s), the first in "
                f"row {first} below the header: fill them."
            )
    return table


def read_lines(path: Path) -> tuple[str, ...]:
    """Read a text file's lines, without blank ones.

    Args:
        path: The file: UTF-8, with or without a BOM.

    Returns:
        The lines, without the space around them.

    Raises:
        DataError: If the file is missing or not UTF-8.
    """  # noqa: DOC502 raised by `read_text`
    lines = read_text(path).splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def read_text(path: Path) -> str:
    """Read a text file as it is.

    Args:
        path: A UTF-8 text file, with or without a BOM.

    Returns:
        The text, with the ends of lines that it has.

    Raises:
        DataError: If the file is missing or not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} must be a UTF-8 text file: {error}.") from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    if not path.is_file():
        what = f"{path} is a folder, not a file" if path.is_dir() else f"There is no file {path}"
        raise DataError(f"{what}. Give a CSV file.")
    try:
        yield
    except pl.exceptions.NoDataError as error:
        raise DataError(f"{path} is empty: it must be a CSV file with a header.") from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path} cannot be read as CSV: {first_line(error)}. It must be UTF-8 text separated "
            'by commas (in a spreadsheet: save as "CSV UTF-8").'
        ) from error
