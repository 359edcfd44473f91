"""Finding photos: which files there are, what part they belong to and how they are labelled.

A photo is a file whose name ends as those of `PHOTO_SUFFIXES` do, in any case. Every other file in
a folder is passed over, and so are hidden files (`.x`, the `._x` of macOS), the folder `__MACOSX`
and runs, audits and bundles of this program. A table may list a file of any name; whether it is a
photo is for its content to say. Links to folders are followed, because people stitch data sets
together with them; a link back to a folder that it lies in is refused.
"""

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from chajong.choices import Layout
from chajong.errors import DataError
from chajong.parquet import read_parquet
from chajong.photos.class_folders import class_photos, others_with_photos
from chajong.photos.walk import (
    PHOTO_SUFFIXES,
    Names,
    below,
    check_utf8,
    folders,
    is_photo,
    is_there,
    photos_in,
)
from chajong.wording import first_line, listed, nfc

_ALLOWED = f"Photos end in {', '.join(PHOTO_SUFFIXES)} (any case)"
_LAYOUTS = (
    "a DACON folder (train/<class>/, test/, test.csv), class folders (<class>/ or"
    " train/<class>/), a folder with metadata.csv (file_name,label), or a CSV or Parquet file"
    " (path,label[,fold,group])"
)
_PATH_COLUMNS = ("path", "img_path", "file_name")
_ID_COLUMNS = ("ID", "id")
_TABLE_SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class PhotoRef:
    """One photo that a folder or a table names; the file itself may be missing or broken.

    Attributes:
        id: The path from the data folder, with slashes and in NFC; or what the ID column says.
        path: The file, spelled as it is on disk.
        part: Whether it is there to learn from or to be answered.
        label: Its class name in NFC, for train photos.
        fold: The fold that the user gave it, from 0.
        group: The user's name for photos that belong together, such as one car's.
    """

    id: str
    path: Path
    part: Literal["train", "test"]
    label: str | None = None
    fold: int | None = None
    group: str | None = None


@dataclass(frozen=True)
class Found:
    """The photos of a data set.

    Attributes:
        layout: How the photos are laid out.
        root: The folder that ids count from.
        photos: Train photos, then test photos, each sorted by id.
        sample: The competition's `sample_submission.csv`, where there is one.
        passed_over: Folders beside `train/`, such as `val`, that hold photos which are not read.
        nested: Folders in class folders that may be what was meant as the classes.
    """

    layout: Layout
    root: Path
    photos: tuple[PhotoRef, ...]
    sample: Path | None = None
    passed_over: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse repeated ids.

        Raises:
            DataError: If two photos have one id.
        """  # noqa: DOC502 raised by `_check_ids`
        _check_ids(self.photos)


def find_photos(data: Path, layout: Layout | None = None) -> Found:
    """Find the labelled photos of a data set, and the test photos where it has some.

    Beside `train/` only `test/` is read. In a DACON folder the test photos are the rows of
    `test.csv`; with `train/<class>/` and no table they are the files under `test/`.

    Args:
        data: A folder, or a CSV or Parquet file.
        layout: How the photos are laid out; looked for where it is not said.

    Returns:
        Every photo that is on disk or listed.

    Raises:
        DataError: If there is nothing usable there: what was found, and what would be right.
    """
    _check_there(data)
    layout = layout or _layout_of(data)
    if layout == "csv":
        found = _from_csv(data)
    elif not data.is_dir():
        raise DataError(
            f"{data} is a file, but the layout {layout} needs a folder. Give {_LAYOUTS}."
        )
    elif layout == "metadata":
        found = Found("metadata", data, _labelled(data / "metadata.csv", data))
    elif layout == "dacon":
        found = _from_dacon(data)
    else:
        found = _from_folders(data)
    if not any(photo.part == "train" for photo in found.photos):
        raise DataError(f"No labelled photos were found in {data}. {_ALLOWED}. Give {_LAYOUTS}.")
    return found


def find_unlabelled(photos: Path) -> tuple[PhotoRef, ...]:
    """Find the photos to predict; labels are neither needed nor read.

    Args:
        photos: A folder (all photos in it, however deep; where `train/<class>/` lies beside
            `test/`, those of `test/` alone), one photo, a CSV or Parquet file with
            the column `path` or `img_path` and perhaps `ID`, or a DACON folder, whose
            `test.csv` says what is asked.

    Returns:
        A photo for every file or row: those of a folder sorted by id, those of a table in its
        order. A listed file that is not there is among them.

    Raises:
        DataError: If there is nothing to predict there.
    """
    _check_there(photos)
    if photos.is_dir() and (photos / "test.csv").is_file():
        found = _unlabelled(photos / "test.csv", photos)
    elif photos.is_dir():
        found = tuple(_sorted(_test_photo(photos, path) for path in unlabelled_in(photos)))
    elif _is_table(photos):
        found = _unlabelled(photos, photos.parent)
    elif is_photo(photos.name):
        found = (_test_photo(photos.parent, photos),)
    else:
        raise DataError(
            f"{photos} is neither a photo nor a table. {_ALLOWED}, tables in .csv or .parquet."
            " Give one of these, or a folder of photos."
        )
    if not found:
        raise DataError(f"There are no photos in {photos}. {_ALLOWED}.")
    _check_ids(found)
    return found


def unlabelled_in(folder: Path) -> Iterator[Path]:
    """Go through the photos of a folder that are to be predicted.

    Args:
        folder: The folder, without `test.csv`.

    Returns:
        All of its photos; where it has `train/<class>/` and `test/`, those of `test/` alone.
    """
    has_both = _has_train(folder) and (folder / "test").is_dir()
    return photos_in(folder / "test" if has_both else folder)


def _has_train(folder: Path) -> bool:
    # A class may be called "train": it then holds photos, and no folders.
    return (folder / "train").is_dir() and any(folders(folder / "train"))


def _layout_of(data: Path) -> Layout:
    if not data.is_dir():
        return "csv"
    has_train = (data / "train").is_dir()
    if has_train and any((data / name).is_file() for name in ("test.csv", "sample_submission.csv")):
        return "dacon"
    return "metadata" if (data / "metadata.csv").is_file() else "imagefolder"


def _from_csv(data: Path) -> Found:
    if data.is_dir() or not _is_table(data):
        kind = "a folder" if data.is_dir() else "a file of another kind"
        raise DataError(
            f"{data} is {kind}, but a list of labelled photos must be a .csv or .parquet file."
            f" Give {_LAYOUTS}."
        )
    return Found("csv", data.parent, _labelled(data, data.parent))


def _from_dacon(data: Path) -> Found:
    if not (data / "train").is_dir():
        raise DataError(f"{data} has no folder train/, which the layout dacon needs.")
    if not (data / "test.csv").is_file():
        raise DataError(
            f"{data} has no test.csv (ID,img_path), which the layout dacon needs: fetch it again,"
            " or say --layout imagefolder to go without the test photos' IDs."
        )
    train, nested = _in_classes(data, data / "train")
    test = _sorted(_unlabelled(data / "test.csv", data))
    sample = data / "sample_submission.csv"
    there = sample if sample.is_file() else None
    return Found("dacon", data, (*train, *test), there, _others(data, test), nested)


def _from_folders(data: Path) -> Found:
    if not _has_train(data):
        photos, nested = _in_classes(data, data)
        return Found("imagefolder", data, tuple(photos), nested=nested)
    train, nested = _in_classes(data, data / "train")
    tested = photos_in(data / "test") if (data / "test").is_dir() else ()
    test = _sorted(_test_photo(data, path) for path in tested)
    return Found("imagefolder", data, (*train, *test), None, _others(data, test), nested)


def _others(data: Path, test: Iterable[PhotoRef]) -> tuple[str, ...]:
    # What lies beside `train/`, if it holds photos that are not asked about either.
    asked = (below(photo.path, data).partition("/")[0] for photo in test)
    return tuple(others_with_photos(data, {"train", "test", *asked}))


def _in_classes(root: Path, parent: Path) -> tuple[list[PhotoRef], tuple[str, ...]]:
    found = class_photos(parent, _ALLOWED)
    if spaced := sorted({name for name, _ in found.photos if name != name.strip()}):
        raise DataError(
            f"{len(spaced)} class folder(s) in {parent} have space around their names: "
            f"{listed(spaced)}. Rename them."
        )
    photos = (PhotoRef(_id(root, path), path, "train", nfc(name)) for name, path in found.photos)
    return _sorted(photos), found.nested


def _labelled(path: Path, root: Path) -> tuple[PhotoRef, ...]:
    # The rows of a table of labelled photos, sorted by id.
    table = _read_table(path)
    relative = _relative(table, path, root)
    labels = _text(table, "label", path)
    _refuse_rows(path, "an empty label", [i for i, label in enumerate(labels) if not label])
    spaced = [i for i, label in enumerate(labels) if label != label.strip()]
    _refuse_rows(path, "a label with space around it", spaced)
    folds = _folds(table, path)
    groups = _text(table, "group", path) if "group" in table.columns else [""] * len(labels)
    names = Names(root)
    photos = [
        PhotoRef(nfc(there), names.on_disk(there), "train", nfc(label), fold, nfc(group) or None)
        for there, label, fold, group in zip(relative, labels, folds, groups, strict=True)
    ]
    if photos and not any(is_there(photo.path) for photo in photos):
        raise DataError(
            f"None of the {len(photos):,} files that {path} lists is there; the first would be"
            f" {photos[0].path}. Paths count from {root}: put the table beside the photos."
        )
    return tuple(_sorted(photos))


def _unlabelled(path: Path, root: Path) -> tuple[PhotoRef, ...]:
    # The rows of a table of photos to answer, in its order.
    table = _read_table(path)
    relative = _relative(table, path, root)
    id_column = next((name for name in _ID_COLUMNS if name in table.columns), None)
    ids = _text(table, id_column, path) if id_column else relative
    _refuse_rows(path, "an empty ID", [i for i, name in enumerate(ids) if not name])
    names = Names(root)
    return tuple(
        PhotoRef(nfc(name), names.on_disk(there), "test")
        for name, there in zip(ids, relative, strict=True)
    )


def _relative(table: pl.DataFrame, path: Path, root: Path) -> list[str]:
    # Where each listed file lies below the root.
    column = next((name for name in _PATH_COLUMNS if name in table.columns), _PATH_COLUMNS[0])
    texts = _text(table, column, path)
    _refuse_rows(path, "an empty path", [i for i, text in enumerate(texts) if not text])
    names = Names(root)
    inside = [names.inside(text) for text in texts]
    outside = [texts[i] for i, there in enumerate(inside) if there is None]
    if outside:
        raise DataError(
            f"{path} lists {len(outside):,} path(s) outside {root}: {listed(outside)}. Only files"
            " below that folder are read: put the table in a folder above all the photos."
        )
    return [there for there in inside if there is not None]


def _folds(table: pl.DataFrame, path: Path) -> list[int | None]:
    if "fold" not in table.columns:
        return [None] * table.height
    texts = _text(table, "fold", path)
    # A column of numbers with a gap is written with fractions by many programs: 0.0, 1.0.
    texts = [text.removesuffix(".0") for text in texts]
    wrong = [i for i, text in enumerate(texts) if text and not re.fullmatch("[0-9]{1,9}", text)]
    _refuse_rows(path, "a fold that is not a whole number from 0", wrong)
    return [int(text) if text else None for text in texts]


def _refuse_rows(path: Path, what: str, rows: list[int]) -> None:
    if rows:
        more = f" and {len(rows) - 5:,} more" if len(rows) > 5 else ""
        raise DataError(
            f"{path} has {what} in row(s) {', '.join(str(row + 1) for row in rows[:5])}{more},"
            " counted from 1 below the header, without blank lines. Put them right, or take them"
            " out."
        )


def _text(table: pl.DataFrame, column: str, path: Path) -> list[str]:
    # A column as texts, empty where it has nothing.
    if column not in table.columns:
        raise DataError(
            f"{path} has no column {column!r}. It has the columns {listed(table.columns, 8)}. A"
            " table of labelled photos needs path,label (metadata.csv: file_name,label), one of"
            " photos to predict path or img_path; fold, group and ID are optional."
        )
    try:
        return [text or "" for text in table[column].cast(pl.String).to_list()]
    except pl.exceptions.PolarsError as error:
        raise DataError(f"The column {column!r} of {path} must be text: {error}.") from error


def _read_table(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"There is no table {path}. Give {_LAYOUTS}.")
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".parquet":
            return read_parquet(io.BytesIO(content))
        text = content.decode("utf-8-sig")  # a BOM is what Excel and DACON write
        table = pl.read_csv(io.BytesIO(text.encode()), infer_schema=False)
        header = pl.read_csv(io.BytesIO(text.encode()), has_header=False, n_rows=1).row(0)
        if again := [name for name in dict.fromkeys(header) if name and header.count(name) > 1]:
            raise DataError(f"{path} has more than one column {listed(again)}. Keep one of each.")
        return table.filter(~pl.all_horizontal(pl.all().is_null()))  # but for blank lines
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path} is not UTF-8: line {line} has the byte 0x{error.object[error.start]:02x}."
            " Save it as UTF-8 (Excel: 'CSV UTF-8')."
        ) from error
    except OSError as error:
        raise DataError(f"Could not read {path}: {error.strerror}.") from error
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"Could not read the table {path}: {first_line(error)}. It must be CSV with"
            " a header row and commas, or Parquet."
        ) from error


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in _TABLE_SUFFIXES


def _test_photo(root: Path, path: Path) -> PhotoRef:
    return PhotoRef(_id(root, path), path, "test")


def _id(root: Path, path: Path) -> str:
    return nfc(below(path, root))


def _sorted(photos: Iterable[PhotoRef]) -> list[PhotoRef]:
    return sorted(photos, key=lambda photo: photo.id)


def _check_there(path: Path) -> None:
    check_utf8(str(path))
    if not path.exists():
        raise DataError(f"There is nothing at {path.absolute()}. Give {_LAYOUTS}.")


def _check_ids(photos: Iterable[PhotoRef]) -> None:
    seen: dict[str, PhotoRef] = {}
    for photo in photos:
        other = seen.setdefault(photo.id, photo)
        if other is photo:
            continue
        if other.path == photo.path:
            raise DataError(f"The photo {photo.id} is listed twice. Keep one of the rows.")
        raise DataError(
            f"Two photos have the id {photo.id}: {_spelled(other.path)} and"
            f" {_spelled(photo.path)}. Names are compared in Unicode's NFC: rename or delete one."
        )


def _spelled(path: Path) -> str:
    # The path, with the Unicode form in sight where it is not NFC.
    return str(path) if nfc(str(path)) == str(path) else ascii(str(path))
