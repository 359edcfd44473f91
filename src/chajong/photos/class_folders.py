"""Folders of which each is a class: what lies in them, and what only looks like a class."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chajong.errors import DataError
from chajong.photos.walk import below, folders, holds_ours, photos_in
from chajong.wording import listed

_PARTS = ("train", "training", "test", "testing", "val", "valid", "validation")


@dataclass(frozen=True)
class ClassPhotos:
    """The photos of class folders.

    Attributes:
        photos: The name of a class as on disk, and a photo of it.
        nested: Sub-folders of which each holds photos of a class that has none beside them: they
            may be what was meant as the classes.
    """

    photos: tuple[tuple[str, Path], ...]
    nested: tuple[str, ...]


def class_photos(parent: Path, allowed: str) -> ClassPhotos:
    """Find the photos in class folders; each must be in one, and each folder hold some.

    What the program itself wrote there, such as `runs/`, is passed over.

    Args:
        parent: The folder of the class folders.
        allowed: What a photo is, for messages.

    Returns:
        The photos.

    Raises:
        DataError: If photos lie beside the folders, folders are empty, or are parts of a data set
            and no classes.
    """
    names = folders(parent)
    _refuse_parts(parent, names)
    num_photos = dict.fromkeys(names, 0)
    flat: Counter[str] = Counter()
    deep: dict[str, dict[str, None]] = {name: {} for name in names}
    found, strays = [], []
    for path in photos_in(parent):
        name, within, rest = below(path, parent).partition("/")
        if not within:
            strays.append(name)
            continue
        num_photos[name] += 1
        deeper, is_deep, _ = rest.partition("/")
        if is_deep:
            deep[name][deeper] = None
        else:
            flat[name] += 1
        found.append((name, path))
    if strays and num_photos:
        raise DataError(
            f"{len(strays)} photo(s) lie in {parent} itself, in no class folder, such as"
            f" {strays[0]}. Move each into the folder of its class, or elsewhere."
        )
    empty = [name for name, num in num_photos.items() if not num and not holds_ours(parent / name)]
    if empty and found:
        raise DataError(
            f"{len(empty)} folder(s) in {parent} hold no photos, such as {empty[0]}, but each"
            f" folder there is a class. {allowed}. Add photos, or move the folder elsewhere."
        )
    nested = (
        f"{name}/{each}"
        for name, of in deep.items()
        if len(of) > 1 and not flat[name]
        for each in of
    )
    return ClassPhotos(tuple(found), tuple(sorted(nested)))


def others_with_photos(data: Path, read: set[str]) -> Iterator[str]:
    """Name the folders beside those that are read which hold photos too.

    Args:
        data: The folder.
        read: Names of folders that are read.

    Yields:
        Names; a folder that cannot be looked through is none of ours to refuse.
    """
    for name in folders(data, strict=False):
        try:
            if name not in read and any(photos_in(data / name)):
                yield name
        except DataError:
            continue


def _refuse_parts(parent: Path, names: list[str]) -> None:
    # As a class `Train` would be learned from what lies in `Train/A` and `Train/B` alike.
    # One of class folders alone may be called so: `train/x.jpg` beside `tram/y.jpg`.
    parts = [name for name in names if name.casefold() in _PARTS]
    is_class = all(name.casefold() == "train" and not any(folders(parent / name)) for name in parts)
    if len(names) > 1 and not is_class:
        raise DataError(
            f"{parent} has the folder(s) {listed(parts)}: parts of a data set, and no classes? "
            "Name the folder with the class folders to learn from train and the one to be answered "
            "test, give one of them alone, or list the photos in a table (path,label)."
        )
