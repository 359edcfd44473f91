"""Folders and tables that are refused, each with its reason."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chajong.choices import Layout
from chajong.errors import DataError
from chajong.photos.layout import find_photos
from tests.photos.laid_out import NFC, NFD, dacon, ids, put, write


def test_link_loops_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "data/a/1.jpg")
    (tmp_path / "outside").mkdir()
    (tmp_path / "data/a/out").symlink_to(tmp_path / "outside")
    (tmp_path / "outside/back").symlink_to(tmp_path / "data/a")
    with pytest.raises(DataError, match=r"data/a/out/back leads back to .*Remove the link"):
        find_photos(tmp_path / "data")


def test_space_around_the_name_of_a_class(tmp_path: Path) -> None:
    put(tmp_path, "K5/1.jpg", "K5 /1.jpg")
    with pytest.raises(DataError, match=r"1 class folder.* space around their names: 'K5 '\. Ren"):
        find_photos(tmp_path)


def test_a_link_to_itself(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg")
    (tmp_path / "a/2.jpg").symlink_to("2.jpg")
    assert ids(tmp_path) == ["a/1.jpg", "a/2.jpg"]
    (tmp_path / "b").symlink_to("b")
    with pytest.raises(DataError, match=r"b leads nowhere: Too many levels.*Remove the link"):
        find_photos(tmp_path)


def test_a_link_to_a_class_that_is_not_there(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "a/2.jpg").symlink_to("/gone.jpg")
    assert ids(tmp_path) == ["a/1.jpg", "a/2.jpg", "b/1.jpg"]
    (tmp_path / "G90 3.8").symlink_to("/not/mounted")
    with pytest.raises(DataError, match=r"G90 3\.8 leads nowhere: No such file.*Remove the link"):
        find_photos(tmp_path)


Make = Callable[[Path], Path]


def two_files_equal_in_nfc(root: Path) -> Path:
    put(root, f"{NFC}/1.jpg", f"{NFD}/1.jpg")
    return root


def with_table(text: str | bytes, name: str = "t.csv") -> Make:
    def make(root: Path) -> Path:
        put(root, "data/1.jpg", "data/2.jpg", "outside.jpg")
        path = root / "data" / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def with_files(*names: str) -> Make:
    def make(root: Path) -> Path:
        put(root / "data", *names)
        return root / "data"

    return make


def with_cp949_folder(root: Path) -> Path:
    folder = os.fsencode(root) + b"/" + "차".encode("cp949")
    os.mkdir(folder)  # noqa: PTH102 a Path cannot be made of these bytes
    return root


def folder(root: Path) -> Path:
    return root


BAD: dict[str, tuple[Make, str]] = {
    "nothing there": (lambda root: root / "gone", r"nothing at .*gone\. Give a DACON folder"),
    "empty folder": (folder, r"No labelled photos .*Photos end in \.jpg"),
    "no photos": (with_files("a/x.txt"), r"No labelled photos"),
    "text file": (with_files("a.txt"), r"No labelled photos"),
    "a photo": (lambda root: with_files("a.jpg")(root) / "a.jpg", r"a\.jpg is a file of another"),
    "stray": (with_files("a/1.jpg", "2.jpg"), r"1 photo\(s\) lie in .*no class folder.*2\.jpg"),
    "empty class": (with_files("a/1.jpg", "b/x.txt"), r"1 folder\(s\).*hold no photos, such as b"),
    "equal in NFC": (two_files_equal_in_nfc, r"Two photos have the id .*\\u1100.*rename or delete"),
    "not UTF-8": (with_cp949_folder, r"b'.*\\xc2\\xf7' is not UTF-8.*cp949"),
    "no column": (with_table("path,name\n1.jpg,a\n"), r"no column 'label'.*'path', 'name'"),
    "semicolons": (with_table("path;label\n1.jpg;a\n"), r"no column 'path'.*'path;label'"),
    "above": (with_table("path,label\n../outside.jpg,a\n"), r"1 path\(s\) outside .*'\.\./outs"),
    "elsewhere": (with_table("path,label\n/etc/x.jpg,a\n"), r"1 path\(s\) outside .*'/etc/x\.jpg'"),
    "sideways": (with_table("path,label\na/../../x.jpg,a\n"), r"1 path\(s\) outside"),
    "zero byte": (with_table("path,label\n1\0.jpg,a\n"), r"1 path\(s\) outside|Could not read"),
    "empty label": (with_table("path,label\n1.jpg,a\n2.jpg,\n"), r"empty label in row\(s\) 2,"),
    "empty path": (with_table("path,label\n,a\n"), r"empty path in row\(s\) 1,"),
    "twice": (with_table("path,label\n1.jpg,a\n./1.jpg,b\n"), r"1\.jpg is listed twice"),
    "fold": (with_table("path,label,fold\n1.jpg,a,-1\n"), r"fold that is not a whole number"),
    "huge fold": (with_table(f"path,label,fold\n1.jpg,a,{10**22}\n"), r"not a whole number .* 1,"),
    "half a fold": (with_table("path,label,fold\n1.jpg,a,0.5\n"), r"fold that is not a whole"),
    "all gone": (with_table("path,label\nx.jpg,a\n"), r"None of the 1 files .* is there"),
    "cp949": (with_table("path,label\n1.jpg,현대\n".encode("cp949")), r"not UTF-8: line 2.*Excel"),
    "empty table": (with_table(""), r"Could not read the table"),
    "ragged": (with_table("path,label\n1.jpg,a,b,c\n"), r"Could not read the table"),
    "header only": (with_table("path,label\n"), r"No labelled photos"),
    "not Parquet": (with_table("x", "t.parquet"), r"Could not read the table .*or Parquet"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_refused_with_a_reason(tmp_path: Path, case: str) -> None:
    make, message = BAD[case]
    with pytest.raises(DataError, match=f"(?s){message}"):
        find_photos(make(tmp_path))


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("dacon", "no folder train/"),
        ("metadata", r"no table .*metadata\.csv"),
        ("csv", "is a folder, but"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(
    tmp_path: Path, layout: Layout, message: str
) -> None:
    put(tmp_path, "a/1.jpg")
    with pytest.raises(DataError, match=message):
        find_photos(tmp_path, layout)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a file, but the layout dacon needs a folder"):
        find_photos(write(tmp_path / "t.csv", "path,label\n"), "dacon")


def test_sample_submission_without_test_table(tmp_path: Path) -> None:
    (dacon(tmp_path) / "test.csv").unlink()
    with pytest.raises(DataError, match=r"no test\.csv .*--layout imagefolder"):
        find_photos(tmp_path)
    assert len(ids(tmp_path, "imagefolder")) == 4


def test_folder_that_may_not_be_read(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg")
    (tmp_path / "a").chmod(0)
    try:
        if os.access(tmp_path / "a", os.R_OK):
            pytest.skip("this user may read everything")
        with pytest.raises(DataError, match="could not be read: Permission denied"):
            find_photos(tmp_path)
    finally:
        (tmp_path / "a").chmod(0o755)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    table = write(tmp_path / "cars.csv", "path,label,label\n1.jpg,a,b\n")
    with pytest.raises(DataError, match="more than one column 'label'"):
        find_photos(table)
    # As pandas writes its index, a column may have no name.
    assert ids(write(tmp_path / "cars.csv", ",path,label\n0,1.jpg,a\n")) == ["1.jpg"]


def test_a_label_with_space_around_it_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    with pytest.raises(DataError, match=r"a label with space around it in row\(s\) 2"):
        find_photos(write(tmp_path / "cars.csv", "path,label\n1.jpg,A\n2.jpg, A\n"))
