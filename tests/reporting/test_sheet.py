import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from chajong.errors import ResourceError
from chajong.manifest import Manifest
from chajong.photos.audit import audit
from chajong.photos.lettering import Lettering, romanised
from chajong.reporting.page import as_uri
from chajong.reporting.sheet import contact_sheet
from tests.photos.pictures import encoded, put, scene


def look(data: Path) -> Manifest:
    return audit(data, cache_folder=data.parent / "cache")


def small_data(root: Path) -> Path:
    for number in range(5):
        put(root / f"현대_아반떼/{number}.jpg", scene(number))
        put(root / f"기아_K5/{number}.jpg", scene(10 + number))
    return root


@pytest.mark.parametrize(("name", "format_"), [("s.jpg", "JPEG"), ("s.png", "PNG"), ("s", "JPEG")])
def test_sheet_of_issues_and_duplicates(tmp_path: Path, name: str, format_: str) -> None:
    root = small_data(tmp_path / "data")
    put(root / "현대_아반떼/copy.jpg", encoded(scene(10), quality=70))
    put(root / "기아_K5/broken_차량.jpg", b"no photo")
    put(root / "기아_K5/grey.jpg", scene(30).convert("L").convert("RGB"))
    out = tmp_path / "new" / name
    assert contact_sheet(look(root), out) == out
    with Image.open(out) as sheet:
        assert sheet.format == format_
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    # The two photos of other labels stand side by side in a red frame.
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90)
    assert red.sum(axis=1).max() > 300
    assert 500 < pixels.shape[0] < 1200


def test_a_photo_that_is_a_line_is_drawn(tmp_path: Path) -> None:
    root = small_data(tmp_path / "data")
    put(root / "기아_K5/line.png", scene(1).resize((2000, 1)))
    assert contact_sheet(look(root), tmp_path / "s.png").is_file()
    assert as_uri(np.zeros((1, 2000, 3), np.uint8)).startswith("data:image/jpeg")


def test_duplicates_stand_together_and_not_all_that_the_user_calls_a_group(tmp_path: Path) -> None:
    root = small_data(tmp_path / "data")
    rows = []
    for number in range(4):  # the cars 0 and 1, each photographed for two classes, from one lot
        path = root / f"{number}.jpg"
        put(path, scene(number // 2))
        rows.append(f"{path.name},{'ab'[number % 2]},lot1")
    (root / "photos.csv").write_text("\n".join(["path,label,group", *rows]), encoding="utf-8")
    manifest = look(root / "photos.csv")
    with Image.open(contact_sheet(manifest, tmp_path / "s.png")) as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90)
    sides = red.sum(axis=0) > 100  # of frames
    assert sides.sum() == 2 * 2 * 2
    # Folds take a group whole, so that a class of one car is small.
    small = manifest.issues.filter(issue="small_class")
    assert set(small["score"]) == {1.0}


def test_every_issue_makes_the_sheet_longer(tmp_path: Path) -> None:
    root = small_data(tmp_path / "data")
    heights = []
    for number, content in enumerate((None, b"broken", encoded(scene(20).resize((60, 40))))):
        if content is not None:
            put(root / f"기아_K5/{number}x.jpg", content)
        with Image.open(contact_sheet(look(root), tmp_path / "s.png")) as sheet:
            heights.append(sheet.height)
    assert heights[0] < heights[1] < heights[2]


def test_photos_that_vanish_are_no_harm(tmp_path: Path) -> None:
    root = small_data(tmp_path / "data")
    put(root / "기아_K5/grey.jpg", scene(30).convert("L").convert("RGB"))
    manifest = look(root)
    (root / "기아_K5/grey.jpg").unlink()
    assert contact_sheet(manifest, tmp_path / "s.jpg").is_file()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    root = small_data(tmp_path / "data")
    os.mkfifo(root / "기아_K5/pipe.jpg")
    manifest = look(root)
    assert "pipe.jpg" in str(manifest.issues.filter(issue="unreadable")["id"].to_list())
    assert contact_sheet(manifest, tmp_path / "s.jpg").is_file()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    manifest = look(small_data(tmp_path / "data"))
    put(tmp_path / "file", b"")
    with pytest.raises(ResourceError, match="Could not write"):
        contact_sheet(manifest, tmp_path / "file/s.jpg")


def test_romanised() -> None:
    assert romanised("현대_그랜저 2020") == "hyeondae_geuraenjeo 2020"
    assert romanised("쏘렌토 값 닭 없다") == "ssorento gap dak eopda"
    assert romanised("é ü 車") == "é ü ?"


def test_korean_is_written_as_it_is_in_a_korean_font(tmp_path: Path) -> None:
    letters = Lettering([str(tmp_path)])
    assert letters.korean_font is None
    assert letters.fitting("기아", 14, 500) == "gia"
    built_in = ImageFont.load_default(14)
    assert isinstance(built_in, ImageFont.FreeTypeFont)
    put(tmp_path / "UnDotum.ttf", b"damaged")
    put(tmp_path / "deep/NanumGothic.ttf", built_in.font_bytes)
    letters = Lettering([str(tmp_path)])
    assert letters.korean_font == tmp_path / "deep/NanumGothic.ttf"
    assert letters.fitting("기아", 14, 500) == "기아"


def test_long_names_lose_their_middle(tmp_path: Path) -> None:
    short = Lettering([str(tmp_path)]).fitting("Aston_Martin_Vantage_Convertible_2012", 14, 150)
    start, end = short.split("…")
    assert "Aston_Martin_Vantage_Convertible_2012".startswith(start)
    assert "Aston_Martin_Vantage_Convertible_2012".endswith(end)
    assert 8 < len(short) < 30
