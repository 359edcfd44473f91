from pathlib import Path

from chajong.photos.sources import open_source
from tests.photos.pictures import encoded, put, scene
from tests.photos.test_scan import edit_quietly


def test_a_photo_that_was_changed_has_another_stamp(tmp_path: Path) -> None:
    photo = put(tmp_path / "1.jpg", encoded(scene(1)))
    (asked,) = open_source(str(tmp_path)).photos()
    before = asked.stamp()
    assert asked.stamp() == before
    edit_quietly(photo)
    assert asked.stamp() != before
