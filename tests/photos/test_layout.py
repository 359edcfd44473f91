import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from chajong.choices import Layout
from chajong.errors import DataError
from chajong.photos.audit import audit
from chajong.photos.layout import find_photos, find_unlabelled
from chajong.photos.sources import open_source

PHOTO = b"layouts are found without opening photos"
NFC, NFD = (unicodedata.normalize(form, "그랜저_2020") for form in ("NFC", "NFD"))


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PHOTO)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def ids(data: Path, layout: Layout | None = None) -> list[str]:
    return [photo.id for photo in find_photos(data, layout).photos]


def labels(data: Path) -> list[str | None]:
    return [photo.label for photo in find_photos(data).photos]


def dacon(root: Path) -> Path:
    put(root, "train/b/2.jpg", "train/a/1.jpg", "test/TEST_1.jpg", "test/TEST_0.jpg")
    write(root / "test.csv", "ID,img_path\nTEST_1,./test/TEST_1.jpg\nTEST_0,./test/TEST_0.jpg\n")
    write(root / "sample_submission.csv", "ID,a,b\n")
    return root


def test_dacon(tmp_path: Path) -> None:
    found = find_photos(dacon(tmp_path))
    assert found.layout == "dacon"
    assert found.root == tmp_path
    assert found.sample == tmp_path / "sample_submission.csv"
    told = [(photo.id, photo.part, photo.label) for photo in found.photos]
    assert told == [
        ("train/a/1.jpg", "train", "a"),
        ("train/b/2.jpg", "train", "b"),
        ("TEST_0", "test", None),
        ("TEST_1", "test", None),
    ]
    assert all(photo.path.read_bytes() == PHOTO for photo in found.photos)


def test_class_folders(tmp_path: Path) -> None:
    put(tmp_path, "b/x.jpg", "a/deep/er/y.png")
    found = find_photos(tmp_path)
    assert found.layout == "imagefolder"
    assert [(photo.id, photo.label) for photo in found.photos] == [
        ("a/deep/er/y.png", "a"),
        ("b/x.jpg", "b"),
    ]


def test_class_folders_under_train_with_test_photos(tmp_path: Path) -> None:
    put(tmp_path, "train/b/x.jpg", "test/deep/y.jpg", "valid/b/z.jpg")
    found = find_photos(tmp_path)
    assert found.layout == "imagefolder"
    assert [(photo.id, photo.part) for photo in found.photos] == [
        ("train/b/x.jpg", "train"),
        ("test/deep/y.jpg", "test"),
    ]
    # What was learned from is not asked about.
    assert [photo.id for photo in find_unlabelled(tmp_path)] == ["test/deep/y.jpg"]
    assert [photo.id for photo in open_source(str(tmp_path)).photos()] == ["test/deep/y.jpg"]
    asked = [photo.id for photo in find_unlabelled(tmp_path / "train")]
    assert asked == ["b/x.jpg"]


def test_photos_beside_train_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "train/a/1.jpg", "val/a/2.jpg", "valid/b/3.jpg", "notes/deep/4.txt", "test/5.jpg")
    assert find_photos(tmp_path).passed_over == ("val", "valid")
    audit(tmp_path, cache_folder=tmp_path / "cache")
    said = capsys.readouterr().err
    assert "also holds photos in 'val/', 'valid/', which are not read" in said
    # What test.csv lists is read wherever it lies.
    dacon(tmp_path / "dacon")
    put(tmp_path / "dacon", "asked/TEST_2.jpg", "old/9.jpg")
    with (tmp_path / "dacon" / "test.csv").open("a") as table:
        table.write("TEST_2,./asked/TEST_2.jpg\n")
    assert find_photos(tmp_path / "dacon").passed_over == ("old",)


@pytest.mark.parametrize(
    "photos",
    [
        ("Train/A/1.jpg", "Train/B/2.jpg", "Test/A/3.jpg"),
        ("Training/A/1.jpg", "Validation/A/2.jpg"),
        ("A/1.jpg", "B/2.jpg", "test/3.jpg"),
    ],
)
def test_parts_of_a_data_set_are_no_classes(photos: tuple[str, ...], tmp_path: Path) -> None:
    put(tmp_path, *photos)
    with pytest.raises(DataError, match="parts of a data set, and no classes"):
        find_photos(tmp_path)


def test_folders_that_may_be_meant_as_classes_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(
        tmp_path, "Kia/K5/1.jpg", "Kia/K3/2.jpg", "Hyundai/old/3.jpg", "Audi/A4/4.jpg", "Audi/5.jpg"
    )
    found = find_photos(tmp_path)
    assert {photo.label for photo in found.photos} == {"Kia", "Hyundai", "Audi"}
    assert found.nested == ("Kia/K3", "Kia/K5")
    audit(tmp_path, cache_folder=tmp_path.parent / "cache")
    assert (
        "photos in 'Kia/K3', 'Kia/K5' count as photos of the folder above"
        in capsys.readouterr().err
    )


def test_what_the_program_wrote_among_the_photos_is_none_of_them(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/2.jpg", "audit/issues.jpg", "cars/gallery/photos/0.jpg")
    write(tmp_path / "audit/manifest.parquet", "")
    write(tmp_path / "audit/issues.parquet", "")
    write(tmp_path / "cars/bundle.json", "")
    write(tmp_path / "cars/SHA256SUMS", "")
    (tmp_path / "runs/first").mkdir(parents=True)
    write(tmp_path / "runs/first/run.json", "")
    write(tmp_path / "runs/first/recipe.yaml", "")
    assert labels(tmp_path) == ["a", "b"]
    assert [photo.id for photo in find_unlabelled(tmp_path)] == ["a/1.jpg", "b/2.jpg"]
    (tmp_path / "c").mkdir()  # a class without photos is still refused
    with pytest.raises(DataError, match="hold no photos, such as c, but"):
        find_photos(tmp_path)


def test_what_is_not_read_cannot_refuse(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "test/3.jpg", "val/4.jpg", "loop/deep/no.txt")
    (tmp_path / "old").symlink_to("/nowhere/at/all")
    (tmp_path / "loop/deep/back").symlink_to(tmp_path / "loop")
    assert find_photos(tmp_path).passed_over == ("val",)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    put(tmp_path, "train/x.jpg", "tram/y.jpg")
    assert labels(tmp_path) == ["train", "tram"]


def test_table_with_folds_and_groups_as_excel_saves_it(tmp_path: Path) -> None:
    put(tmp_path, "x/1.jpg", "x/2.jpg")
    rows = f"\ufeffpath,label,fold,group\r\nx/2.jpg,b,0,g\r\n{tmp_path}/x/1.jpg,a,1,\r\n"
    found = find_photos(write(tmp_path / "cars.csv", rows))
    assert (found.layout, found.root) == ("csv", tmp_path)
    told = [(p.id, p.label, p.fold, p.group, p.path) for p in found.photos]
    assert told == [
        ("x/1.jpg", "a", 1, None, tmp_path / "x/1.jpg"),
        ("x/2.jpg", "b", 0, "g", tmp_path / "x/2.jpg"),
    ]


def test_parquet_table(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    table = pl.DataFrame({"path": ["1.jpg"], "label": ["a"], "fold": [3]})
    table.write_parquet(tmp_path / "cars.parquet")
    (photo,) = find_photos(tmp_path / "cars.parquet").photos
    assert (photo.id, photo.label, photo.fold) == ("1.jpg", "a", 3)


def test_metadata_in_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "not-listed.jpg")
    write(tmp_path / "metadata.csv", "file_name,label\n1.jpg,a\n")
    assert find_photos(tmp_path).layout == "metadata"
    assert ids(tmp_path) == ["1.jpg"]


def test_table_row_without_its_file_is_still_a_photo(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    assert ids(write(tmp_path / "t.csv", "path,label\n1.jpg,a\ngone.jpg,a\n")) == [
        "1.jpg",
        "gone.jpg",
    ]


def test_suffixes_in_any_case_and_everything_else_passed_over(tmp_path: Path) -> None:
    kept = ["a/1.JPG", "a/2.Jpeg", "a/3.png", "a/4.WEBP", "a/5.bmp", "a/6.jfif", "a/7.TIF"]
    kept += ["a/8.gif", "a/9.HEIC", "a/x.avif"]
    put(tmp_path, *kept, "a/notes.txt", "a/x.jpg.part", "a/.hidden.jpg", "a/._1.JPG")
    put(tmp_path, "__MACOSX/a/1.jpg", ".thumbs/1.jpg", "a/__MACOSX/1.jpg", "readme.md")
    assert ids(tmp_path) == kept


def test_classes_and_photos_are_sorted_by_code_point(tmp_path: Path) -> None:
    names = ["10", "9", "B", "a", "기아", "현대"]
    put(tmp_path, *(f"{name}/1.jpg" for name in reversed(names)))
    assert labels(tmp_path) == names


def test_decomposed_folder_names_become_composed_labels(tmp_path: Path) -> None:
    put(tmp_path, f"{NFD}/{NFD}.jpg")
    (photo,) = find_photos(tmp_path).photos
    assert (photo.id, photo.label) == (f"{NFC}/{NFC}.jpg", NFC)
    assert photo.path.read_bytes() == PHOTO


@pytest.mark.parametrize(("listed", "on_disk"), [(NFC, NFD), (NFD, NFC), (NFD, NFD)])
def test_table_and_disk_may_spell_names_differently(
    tmp_path: Path, listed: str, on_disk: str
) -> None:
    put(tmp_path, f"{on_disk}/{on_disk}.jpg", "other.jpg")
    table = write(tmp_path / "t.csv", f"path,label\n{listed}/{listed}.jpg,{listed}\n")
    (photo,) = find_photos(table).photos
    assert (photo.id, photo.label) == (f"{NFC}/{NFC}.jpg", NFC)
    assert photo.path.read_bytes() == PHOTO


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "1.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").symlink_to(tmp_path / "elsewhere")
    assert ids(tmp_path / "data") == ["a/1.jpg"]


def test_link_loops_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "data/a/1.jpg")
    (tmp_path / "outside").mkdir()
    (tmp_path / "data/a/out").symlink_to(tmp_path / "outside")
    (tmp_path / "outside/back").symlink_to(tmp_path / "data/a")
    with pytest.raises(DataError, match=r"data/a/out/back leads back to .*Remove the link"):
        find_photos(tmp_path / "data")


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


@pytest.mark.parametrize(("listed", "on_disk"), [(NFC, NFD), (NFD, NFC)])
def test_whole_paths_may_be_spelled_in_another_form(
    tmp_path: Path, listed: str, on_disk: str
) -> None:
    put(tmp_path / on_disk, "x/1.jpg")
    table = write(tmp_path / on_disk / "t.csv", f"path,label\n{tmp_path}/{listed}/x/1.jpg,a\n")
    (photo,) = find_photos(table).photos
    assert (photo.id, photo.path.read_bytes()) == ("x/1.jpg", PHOTO)


def test_folds_as_programs_write_numbers_with_gaps(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    table = write(tmp_path / "t.csv", "path,label,fold\n1.jpg,a,0.0\n2.jpg,a,\n3.jpg,b,12.0\n")
    assert [photo.fold for photo in find_photos(table).photos] == [0, None, 12]


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


def test_blank_lines_of_tables_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    assert ids(write(tmp_path / "cars.csv", "path,label\n1.jpg,a\n\n2.jpg,b\n\n\n")) == [
        "1.jpg",
        "2.jpg",
    ]
    with pytest.raises(DataError, match=r"an empty label in row\(s\) 2, .*without blank lines"):
        find_photos(write(tmp_path / "cars.csv", "path,label\n1.jpg,a\n\n2.jpg,\n"))


def test_a_label_with_space_around_it_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    with pytest.raises(DataError, match=r"a label with space around it in row\(s\) 2"):
        find_photos(write(tmp_path / "cars.csv", "path,label\n1.jpg,A\n2.jpg, A\n"))
