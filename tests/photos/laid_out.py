"""Folders of photos in the layouts that are known."""

import unicodedata
from pathlib import Path

from chajong.choices import Layout
from chajong.photos.layout import find_photos

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
