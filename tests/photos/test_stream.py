"""Photos read ahead: each its own pixels or a truthful reason, in the order asked for."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chajong.photos.decode import Unreadable
from chajong.photos.layout import PhotoRef
from chajong.photos.preprocess import Preprocess
from chajong.photos.reading import MAX_FILE_BYTES, read_file
from chajong.photos.stream import read_photos


def photo(shade: int) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (40, 40), (shade, shade, shade)).save(made, "PNG")
    return made.getvalue()


def test_every_photo_gets_its_own_pixels_or_its_own_reason(tmp_path: Path) -> None:
    refs = []
    for number in range(300):  # more than are read ahead
        path = tmp_path / f"{number}.png"
        if number % 7 != 3:
            path.write_bytes(b"no photo" if number % 7 == 5 else photo(number % 256))
        refs.append(PhotoRef(str(number), path, "test"))
    found = list(read_photos(refs, Preprocess(16, "squash")))
    assert [read.ref for read in found] == refs
    for number, read in enumerate(found):
        if number % 7 == 3:
            assert read.status == "unreadable: missing: there is no such file"
        elif number % 7 == 5:
            assert read.status.startswith("unreadable: ")
        else:
            assert read.status == "ok"
            assert read.pixels is not None
            assert np.all(read.pixels == number % 256)
        assert (read.pixels is None) == (read.status != "ok")


def test_a_user_who_has_enough_does_not_wait_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(photo(9))
    reads = read_photos(
        [PhotoRef(str(n), path, "test") for n in range(10_000)], Preprocess(16, "crop")
    )
    assert next(reads).status == "ok"
    reads.close()  # type: ignore[attr-defined]


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="not a regular file"):
        read_file(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="a folder"):
        read_file(tmp_path)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # without a byte on the disk
    with pytest.raises(Unreadable, match="at most 512 MB"):
        read_file(tmp_path / "huge")
