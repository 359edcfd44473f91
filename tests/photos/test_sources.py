from pathlib import Path
from zipfile import ZipFile

from chajong.photos.sources import open_source
from tests.photos.pictures import encoded, put, scene
from tests.photos.test_scan import edit_quietly


def test_a_zip_may_name_its_photos_from_its_folder(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("./a.jpg", "b.jpg", "./K5/c.jpg", "./.hidden.jpg"):
            archive.writestr(name, encoded(scene(1)))
    found = open_source(str(tmp_path / "photos.zip"))
    assert [asked.id for asked in found.photos()] == ["./K5/c.jpg", "./a.jpg", "b.jpg"]


def test_a_photo_that_was_changed_has_another_stamp(tmp_path: Path) -> None:
    photo = put(tmp_path / "1.jpg", encoded(scene(1)))
    (asked,) = open_source(str(tmp_path)).photos()
    before = asked.stamp()
    assert asked.stamp() == before
    edit_quietly(photo)
    assert asked.stamp() != before
