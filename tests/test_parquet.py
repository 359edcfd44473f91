"""Parquet files that are damaged, and a disk that is full."""

import errno
from pathlib import Path

import polars as pl
import pytest

from chajong.files import write_table
from chajong.parquet import join_parquet, read_parquet, read_texts

TABLE = pl.DataFrame({"id": [f"{place}.jpg" for place in range(40)]})


def test_texts_are_those_that_were_given(tmp_path: Path) -> None:
    path = tmp_path / "[1].parquet"  # no pattern
    write_table(path, TABLE, {"run": "runs/차"})
    assert read_texts(path) == {"run": "runs/차"}
    assert read_parquet(path).equals(TABLE)


def test_damage_is_an_error_wherever_it_is(tmp_path: Path) -> None:
    # Of byte 431 polars 2.1 panics, with an exception that is none (`BaseException`).
    path = tmp_path / "table.parquet"
    write_table(path, TABLE)
    good = path.read_bytes()
    refused = []
    for place in range(len(good) // 2, len(good) - 4):
        damaged = bytearray(good)
        damaged[place] ^= 255
        path.write_bytes(damaged)
        try:
            read_parquet(path)
            read_texts(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert any("the file is damaged" in said for said in refused)


def test_files_are_joined_with_the_texts_of_the_first(tmp_path: Path) -> None:
    parts = [tmp_path / f"{place}.parquet" for place in range(2)]
    write_table(parts[0], TABLE[:30], {"run": "a"})
    write_table(parts[1], TABLE[30:], {"run": "b"})
    join_parquet(parts, tmp_path / "all.parquet")
    assert read_parquet(tmp_path / "all.parquet").equals(TABLE)
    assert read_texts(tmp_path / "all.parquet") == {"run": "a"}


def test_a_full_disk_is_what_the_system_says(tmp_path: Path) -> None:
    write_table(tmp_path / "part.parquet", TABLE)
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'") as found:
        join_parquet([tmp_path / "part.parquet"], Path("/dev/full"))
    assert found.value.errno == errno.ENOSPC
