from pathlib import Path

import polars as pl
import pytest

from chajong.errors import DataError
from chajong.tables import read_columns, read_header

TEXTS = {"ID": pl.String, "label": pl.String}
BOM = b"\xef\xbb\xbf"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "표[1].csv"  # brackets must not be taken for a pattern
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"ID,label\na,b\n007,c\n",
        BOM + b"ID,label\r\na,b\r\n007,c\r\n\r\n",
        BOM + b'"label",x,"ID"\nb,1,a\n\n"c",2,"007"',
    ],
)
def test_reads_what_people_save(tmp_path: Path, content: bytes) -> None:
    table = read_columns(written(tmp_path, content), TEXTS)
    assert table.columns == ["ID", "label"]
    assert table.rows() == [("a", "b"), ("007", "c")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (BOM, "is empty"),
        (b"ID;label\na;b\n", "no column 'ID', 'label'; it has 1: 'ID;label'"),
        (b"ID,label,label\na,b,c\n", "must be unique; repeated: 'label'"),
        (b"ID,,label\na,b,c\n", "column 2 has no name"),
        (b"ID,label\na,b\nc,\n", r"'label' has 1 empty cell\(s\), the first in row 2"),
        (b"ID,label\na\n", "'label' has 1 empty"),
        (b"ID,label\na,b,c\n", "cannot be read as CSV"),
        (b'ID,label\na,"b\n', "cannot be read as CSV"),
        ("ID,label\na,쏘나타\n".encode("cp949"), "must be UTF-8"),
        ("ID,차종\na,b\n".encode("cp949"), "must be UTF-8"),
        ("ID,label\na,b\n".encode("utf-16"), "must be UTF-8"),
    ],
)
def test_refuses_with_a_message(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_columns(written(tmp_path, content), TEXTS)


def test_numbers_must_be_numbers(tmp_path: Path) -> None:
    types = {"x": pl.Float64}
    assert read_columns(written(tmp_path, b"x\n1e-15\n"), types)["x"].to_list() == [1e-15]
    with pytest.raises(DataError, match="could not parse `abc`"):
        read_columns(written(tmp_path, b"x\nabc\n"), types)


def test_a_header_alone_is_no_rows(tmp_path: Path) -> None:
    assert read_columns(written(tmp_path, b"ID,label\n"), TEXTS).shape == (0, 2)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path, what in ((tmp_path, "is a folder, not a file"), (tmp_path / "none.csv", "no file")):
        with pytest.raises(DataError, match=what):
            read_header(path)
