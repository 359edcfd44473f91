"""Photos without labels: found in folders and tables, or refused."""

from pathlib import Path

import pytest

from chajong.errors import DataError
from chajong.photos.layout import find_unlabelled
from tests.photos.laid_out import NFC, NFD, PHOTO, put, write


def test_unlabelled_folder(tmp_path: Path) -> None:
    put(tmp_path, "b.jpg", "a/c.PNG", "x.txt", f"{NFD}.jpg")
    found = find_unlabelled(tmp_path)
    assert [photo.id for photo in found] == ["a/c.PNG", "b.jpg", f"{NFC}.jpg"]
    assert all(photo.part == "test" and photo.label is None for photo in found)
    assert all(photo.path.read_bytes() == PHOTO for photo in found)


def test_unlabelled_photo(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    (photo,) = find_unlabelled(tmp_path / "a.jpg")
    assert (photo.id, photo.path) == ("a.jpg", tmp_path / "a.jpg")


def test_unlabelled_dacon_folder_without_train_photos(tmp_path: Path) -> None:
    put(tmp_path, "test/TEST_1.jpg")
    write(tmp_path / "test.csv", "ID,img_path\nTEST_1,./test/TEST_1.jpg\nTEST_0,./test/no.jpg\n")
    found = find_unlabelled(tmp_path)
    # A row without its file must be answered too: what is said of it comes later.
    assert [photo.id for photo in found] == ["TEST_1", "TEST_0"]
    assert [photo.path.exists() for photo in found] == [True, False]


@pytest.mark.parametrize("id_column", ["ID", "id"])
@pytest.mark.parametrize("path_column", ["path", "img_path", "file_name"])
def test_unlabelled_table(tmp_path: Path, id_column: str, path_column: str) -> None:
    put(tmp_path, "1.jpg")
    table = write(tmp_path / "t.csv", f"{id_column},{path_column}\nq,1.jpg\np,1.jpg\n")
    assert [photo.id for photo in find_unlabelled(table)] == ["q", "p"]


def test_unlabelled_table_without_ids(tmp_path: Path) -> None:
    put(tmp_path, "x/1.jpg")
    (photo,) = find_unlabelled(write(tmp_path / "t.csv", "img_path\n./x/1.jpg\n"))
    assert photo.id == "x/1.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ID,path\na,1.jpg\na,2.jpg\n", "Two photos have the id a"),
        ("ID,path\n,1.jpg\n", r"empty ID in row\(s\) 1"),
        ("ID,photo\na,1.jpg\n", "no column 'path'"),
        ("ID,path\na,../1.jpg\n", "outside"),
        ("ID,path\n", "There are no photos in"),
    ],
)
def test_unlabelled_tables_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_unlabelled(write(tmp_path / "t.csv", text))


def test_unlabelled_things_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no photos in"):
        find_unlabelled(tmp_path)
    with pytest.raises(DataError, match="neither a photo nor a table"):
        find_unlabelled(write(tmp_path / "x.txt", ""))
    with pytest.raises(DataError, match="nothing at"):
        find_unlabelled(tmp_path / "gone")
