from pathlib import Path

import polars as pl
import pytest

from chajong.errors import DataError
from chajong.photos.audit import audit
from chajong.photos.layout import find_photos, find_unlabelled
from chajong.photos.sources import open_source
from tests.photos.laid_out import NFC, NFD, PHOTO, dacon, ids, labels, put, write


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
    (tmp_path / "work/more/second").mkdir(parents=True)
    write(tmp_path / "work/more/second/run.json", "")
    write(tmp_path / "work/more/second/recipe.yaml", "")
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


def test_blank_lines_of_tables_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    assert ids(write(tmp_path / "cars.csv", "path,label\n1.jpg,a\n\n2.jpg,b\n\n\n")) == [
        "1.jpg",
        "2.jpg",
    ]
    with pytest.raises(DataError, match=r"an empty label in row\(s\) 2, .*without blank lines"):
        find_photos(write(tmp_path / "cars.csv", "path,label\n1.jpg,a\n\n2.jpg,\n"))
