import io
import os
import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageFilter, ImageOps

from chajong.errors import DataError
from chajong.labels import Labels, known_equal, known_names
from chajong.manifest import Manifest
from chajong.photos.audit import audit, summary
from chajong.photos.decode import NO_MEMORY, Photo, Unreadable
from chajong.photos.duplicates import Pairs
from chajong.photos.groups import Alike, duplicate_issues
from tests.photos.pictures import encoded, lit, put, scene

OTHER = "duplicate_other_label"


def look(data: Path) -> Manifest:
    return audit(data, cache_folder=data.parent / "cache")


def issues_of(manifest: Manifest, id_: str) -> dict[str, str]:
    rows = manifest.issues.filter(pl.col("id") == id_)
    return dict(rows.select("issue", "detail").iter_rows())


def ids_with(manifest: Manifest, issue: str) -> set[str]:
    return set(manifest.issues.filter(pl.col("issue") == issue)["id"].to_list())


def row(manifest: Manifest, id_: str) -> dict[str, object]:
    return manifest.table.row(by_predicate=pl.col("id") == id_, named=True)


def groups_of(manifest: Manifest) -> dict[str, int]:
    return dict(manifest.table.select("id", "group").iter_rows())


def lying(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def animated(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", save_all=True, append_images=[ImageOps.mirror(image)])
    return buffer.getvalue()


def said_to_be(png: bytes, width_px: int, height_px: int) -> bytes:
    header = b"IHDR" + struct.pack(">II", width_px, height_px) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


# What is planted, by file name, and the issues that it must have and no others.
FAULTS: dict[str, tuple[Callable[[Image.Image], bytes], set[str]]] = {
    "fine.jpg": (encoded, set()),
    "fine.png": (lambda image: encoded(image, "PNG"), set()),
    "fine.webp": (lambda image: encoded(image, "WEBP"), set()),
    "fine.bmp": (lambda image: encoded(image, "BMP"), set()),
    "empty.jpg": (lambda _: b"", {"unreadable"}),
    "text.jpg": (lambda _: b"no photo at all", {"unreadable"}),
    "cut.jpg": (lambda image: encoded(image)[:2500], {"unreadable"}),
    "cut.png": (lambda image: encoded(image, "PNG")[:2500], {"unreadable"}),
    "renamed.jpg": (lambda image: encoded(image, "PNG"), {"wrong_suffix"}),
    "animated.webp": (animated, {"animated"}),
    "cmyk.jpg": (lambda image: encoded(image.convert("CMYK")), {"cmyk"}),
    "lying.jpg": (lying, {"exif_rotated"}),
    "tiny.jpg": (lambda image: encoded(image.resize((90, 60))), {"tiny"}),
    "dot.png": (lambda _: encoded(Image.new("RGB", (1, 1), "orange"), "PNG"), {"tiny", "low_info"}),
    "long.jpg": (lambda image: encoded(image.resize((520, 128))), {"odd_aspect"}),
    "dark.jpg": (lambda image: lit(image, 0.25), {"dark"}),
    "burnt.jpg": (lambda image: lit(image, 5), {"over_exposed"}),
    "blurred.jpg": (lambda i: encoded(i.filter(ImageFilter.GaussianBlur(3.2))), {"blurred"}),
    "grey.jpg": (lambda image: encoded(image.convert("L").convert("RGB")), {"grey"}),
    "wall.png": (lambda _: encoded(Image.new("RGB", (200, 150), "#904030"), "PNG"), {"low_info"}),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("faulty") / "data"
    for number, (name, (make, _)) in enumerate(FAULTS.items()):
        put(root / "a" / name, make(scene(number)))
    put(root / "b/huge.png", encoded(Image.new("1", (10_000, 5_001)), "PNG"))
    put(root / "b/too-huge.png", said_to_be(encoded(scene(0), "PNG"), 20_000, 20_000))
    (root / "b/folder.jpg").mkdir()
    (root / "b/nowhere.jpg").symlink_to("gone.jpg")
    os.mkfifo(root / "b/pipe.jpg")
    table = [f"{path.relative_to(root)},{path.parent.name}" for path in sorted(root.glob("*/*"))]
    put(root / "all.csv", "\n".join(["path,label", *table, "b/never.jpg,b"]).encode())
    return look(root / "all.csv")


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_and_no_other(faulty: Manifest, name: str) -> None:
    wanted = {issue.replace("low_info", "low_information") for issue in FAULTS[name][1]}
    assert set(issues_of(faulty, f"a/{name}")) == wanted
    assert row(faulty, f"a/{name}")["readable"] == ("unreadable" not in wanted)


def test_a_huge_photo_is_told_and_one_beyond_all_is_not_opened(faulty: Manifest) -> None:
    assert issues_of(faulty, "b/huge.png")["huge"] == "10000 x 5001 pixels"
    assert "20000 x 20000" in issues_of(faulty, "b/too-huge.png")["unreadable"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("never", "missing: there is no such file"),
        ("nowhere", "missing: there is no such file"),
        ("folder", "a folder"),
        ("pipe", "not a regular file"),
    ],
)
def test_what_is_no_file_is_a_row_with_a_reason(faulty: Manifest, name: str, reason: str) -> None:
    found = row(faulty, f"b/{name}.jpg")
    assert (found["readable"], found["reason"]) == (False, reason)
    assert issues_of(faulty, f"b/{name}.jpg")["unreadable"] == reason


def test_unreadable_photos_are_alone_in_their_groups(faulty: Manifest) -> None:
    unreadable = faulty.table.filter(~pl.col("readable"))
    assert unreadable["group"].is_unique().all()
    assert unreadable["phash"].null_count() == unreadable.height
    assert not set(unreadable["id"]) & set(faulty.trainable()["id"])


def test_facts_of_a_photo(tmp_path: Path) -> None:
    data = lying(scene(0, (200, 120)))
    put(tmp_path / "data/a/1.jpg", data)
    put(tmp_path / "data/b/2.jpg", scene(1))
    found = row(look(tmp_path / "data"), "a/1.jpg")
    assert found["path"] == "a/1.jpg"
    assert found["size_bytes"] == len(data)
    assert (found["width_px"], found["height_px"], found["format"]) == (200, 120, "jpeg")
    assert isinstance(found["phash"], int)
    assert (found["reason"], found["fold"], found["user_group"]) == (None, None, None)


def test_copies_share_a_group_and_are_told(tmp_path: Path) -> None:
    image = scene(0)
    data = encoded(image)
    put(tmp_path / "data/a/1.jpg", data)
    put(tmp_path / "data/a/2.jpg", data)
    put(tmp_path / "data/a/3.jpg", data[:2] + b"\xff\xfe\x00\x04ab" + data[2:])
    put(tmp_path / "data/a/4.jpg", ImageOps.mirror(image))
    put(tmp_path / "data/a/5.jpg", scene(1))
    put(tmp_path / "data/b/6.jpg", scene(2))
    manifest = look(tmp_path / "data")
    groups = groups_of(manifest)
    assert [groups[f"a/{n}.jpg"] for n in (1, 2, 3, 4)] == [0] * 4
    assert len({groups["a/1.jpg"], groups["a/5.jpg"], groups["b/6.jpg"]}) == 3
    assert (
        issues_of(manifest, "a/2.jpg")["exact_duplicate"] == "the same bytes as a/1.jpg and 1 more"
    )
    assert (
        issues_of(manifest, "a/3.jpg")["exact_duplicate"] == "the same pixels as a/1.jpg and 1 more"
    )
    told = issues_of(manifest, "a/4.jpg")
    assert told["near_duplicate"] == "group 0: looks like a/1.jpg, mirrored"
    assert "exact_duplicate" not in told
    assert ids_with(manifest, "near_duplicate") == {f"a/{n}.jpg" for n in (1, 2, 3, 4)}
    assert not ids_with(manifest, "duplicate_other_label")


def test_a_png_of_a_jpeg_has_the_same_pixels(tmp_path: Path) -> None:
    data = encoded(scene(0))
    put(tmp_path / "data/a/1.jpg", data)
    put(tmp_path / "data/b/2.png", encoded(Image.open(io.BytesIO(data)), "PNG"))
    told = issues_of(look(tmp_path / "data"), "b/2.png")
    assert told["exact_duplicate"] == "the same pixels as a/1.jpg"


def test_duplicates_with_other_labels(tmp_path: Path) -> None:
    put(tmp_path / "data/a/1.jpg", scene(0))
    put(tmp_path / "data/a/2.jpg", encoded(scene(0), quality=70))
    put(tmp_path / "data/b/3.jpg", scene(0))
    put(tmp_path / "data/b/4.jpg", scene(1))
    manifest = look(tmp_path / "data")
    found = manifest.issues.filter(pl.col("issue") == "duplicate_other_label")
    told = {id_: (score, detail) for id_, score, detail in found.drop("issue").iter_rows()}
    assert set(told) == {"a/1.jpg", "a/2.jpg", "b/3.jpg"}
    assert told["a/1.jpg"] == (1.0, "labelled a, but b/3.jpg is labelled b")
    assert 0.84 < told["a/2.jpg"][0] < 1


def test_equal_classes_do_not_contradict_each_other(tmp_path: Path) -> None:
    one, other = known_equal(known_names())[0]
    for name in (one, other):
        put(tmp_path / "data" / name / "1.jpg", scene(0))
    manifest = look(tmp_path / "data")
    assert len(ids_with(manifest, "exact_duplicate")) == 2
    assert not ids_with(manifest, "duplicate_other_label")


def test_duplicates_across_train_and_test(tmp_path: Path) -> None:
    put(tmp_path / "data/train/a/1.jpg", scene(0))
    put(tmp_path / "data/train/b/2.jpg", scene(1))
    put(tmp_path / "data/test/3.jpg", encoded(scene(0), quality=60))
    put(tmp_path / "data/test.csv", b"ID,img_path\nTEST_0,test/3.jpg\n")
    manifest = look(tmp_path / "data")
    assert ids_with(manifest, "duplicate_train_test") == {"train/a/1.jpg", "TEST_0"}
    assert issues_of(manifest, "TEST_0")["duplicate_train_test"] == (
        "a test photo, and train/a/1.jpg is a train photo"
    )
    assert row(manifest, "TEST_0")["path"] == "test/3.jpg"
    assert row(manifest, "TEST_0")["label"] is None


def test_groups_of_the_user_join_those_of_duplicates(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path / f"data/{number}.jpg", scene(number))
    put(tmp_path / "data/4.jpg", encoded(scene(0), quality=60))
    put(tmp_path / "data/5.jpg", b"unreadable")
    rows = ["0.jpg,a,x", "1.jpg,a,x", "2.jpg,b,", "3.jpg,b,", "4.jpg,b,y", "5.jpg,b,y"]
    put(tmp_path / "data/t.csv", "\n".join(["path,label,group", *rows]).encode())
    groups = groups_of(look(tmp_path / "data/t.csv"))
    assert groups["0.jpg"] == groups["1.jpg"] == groups["4.jpg"] == 0
    assert len({groups[f"{number}.jpg"] for number in (0, 2, 3, 5)}) == 4


def test_a_scene_is_of_what_is_alike_and_not_of_the_users_groups(tmp_path: Path) -> None:
    for name, seed in (("a1", 1), ("a2", 1), ("b1", 2), ("b2", 2)):
        put(tmp_path / f"{name}.jpg", scene(seed))
    rows = ("a1.jpg,x,g", "a2.jpg,y,h", "b1.jpg,p,g", "b2.jpg,q,h")
    put(tmp_path / "t.csv", "\n".join(("path,label,group", *rows)).encode())
    found = look(tmp_path / "t.csv").table.sort("id")
    assert found["group"].n_unique() == 1
    scenes = found["scene"].to_list()
    assert scenes[0] == scenes[1] != scenes[2] == scenes[3]


def test_of_a_long_scene_each_photo_is_set_against_the_likest_of_another_kind() -> None:
    # Contents 0 to 3 in a row, as frames of one camera; photo 4 is a copy of 3.
    near = Pairs(
        np.array([0, 1, 2]), np.array([1, 2, 3]), np.array([0.9, 0.8, 0.7]), np.zeros(3, bool)
    )
    alike = Alike(np.array([0, 1, 2, 3, 3]), np.zeros(5, np.intp), near)
    table = pl.DataFrame(
        {
            "id": [f"{place}.jpg" for place in range(5)],
            "label": ["a", "a", "b", "a", "c"],
            "part": ["train"] * 5,
            "sha256": [f"{place}" for place in (0, 1, 2, 3, 3)],
            "group": [0] * 5,
        }
    )
    issues = duplicate_issues(table, alike, Labels(("a", "b", "c")))
    told = {id_: (score, detail.split()[3]) for id_, kind, score, detail in issues if kind == OTHER}
    assert told == {
        "0.jpg": (None, "2.jpg"),  # is linked to none of another label: the first of one
        "1.jpg": (0.8, "2.jpg"),
        "2.jpg": (0.8, "1.jpg"),
        "3.jpg": (1.0, "4.jpg"),
        "4.jpg": (1.0, "3.jpg"),
    }


def test_small_classes_count_different_photos_only(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path / f"data/a/{number}.jpg", scene(number))
        put(tmp_path / f"data/b/{number}.jpg", scene(9))
    put(tmp_path / "data/c/0.jpg", b"unreadable")
    manifest = look(tmp_path / "data")
    small = manifest.issues.filter(pl.col("issue") == "small_class")
    scores = dict(small.select("id", "score").iter_rows())
    assert scores == {**{f"b/{n}.jpg": 1.0 for n in range(5)}, "c/0.jpg": 0.0}


def test_nothing_is_touched(tmp_path: Path) -> None:
    put(tmp_path / "data/a/1.jpg", b"unreadable")
    put(tmp_path / "data/a/2.jpg", scene(0))
    put(tmp_path / "data/b/3.jpg", scene(0))

    def state() -> list[tuple[str, bytes, int]]:
        files = sorted(path for path in (tmp_path / "data").rglob("*") if path.is_file())
        return [(str(path), path.read_bytes(), path.stat().st_mtime_ns) for path in files]

    before = state()
    look(tmp_path / "data")
    assert state() == before


def test_decomposed_names(tmp_path: Path) -> None:
    nfd = unicodedata.normalize("NFD", "쏘나타")
    put(tmp_path / "data" / nfd / f"{nfd}.jpg", scene(0))
    put(tmp_path / "data/b/1.jpg", scene(1))
    manifest = look(tmp_path / "data")
    found = row(manifest, "쏘나타/쏘나타.jpg")
    assert found["readable"]
    assert manifest.path_of(str(found["path"])).is_file()
    assert manifest.labels.names == ("b", "쏘나타")


def two_classes(root: Path) -> Path:
    for number in range(3):
        put(root / f"a/{number}.jpg", scene(number))
        put(root / f"b/{number}.jpg", scene(10 + number))
    return root


def test_a_lack_of_memory_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = two_classes(tmp_path / "data")

    def no_memory(_: bytes, **__: int) -> Photo:
        raise Unreadable(NO_MEMORY)

    with monkeypatch.context() as short:
        short.setattr("chajong.photos.measuring.decode", no_memory)
        assert set(look(root).table["reason"]) == {NO_MEMORY}
    assert look(root).table["readable"].all()


def test_a_second_audit_reads_only_what_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = two_classes(tmp_path / "data")
    first = look(root)
    assert "reading photos: 6 photos" in capsys.readouterr().err
    second = look(root)
    assert "reading photos" not in capsys.readouterr().err
    assert second.table.equals(first.table)
    assert second.issues.equals(first.issues)
    put(root / "a/0.jpg", scene(99))
    put(root / "a/new.jpg", scene(98))
    third = look(root)
    assert "reading photos: 2 photos" in capsys.readouterr().err
    assert row(third, "a/0.jpg")["sha256"] != row(first, "a/0.jpg")["sha256"]
    assert row(third, "b/0.jpg")["sha256"] == row(first, "b/0.jpg")["sha256"]


@pytest.mark.parametrize("damage", [b"", b"no Parquet", b"PAR1"])
def test_a_damaged_memory_is_no_harm(tmp_path: Path, damage: bytes) -> None:
    root = two_classes(tmp_path / "data")
    first = look(root)
    (memory,) = (tmp_path / "cache/scans").iterdir()
    memory.write_bytes(damage)
    assert look(root).table.equals(first.table)


def test_a_cache_that_cannot_be_written_is_no_harm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "cache", b"a file stands here")
    assert look(two_classes(tmp_path / "data")).table.height == 6
    assert "has to read all photos again" in capsys.readouterr().err


def test_the_order_of_rows_in_a_table_does_not_matter(tmp_path: Path) -> None:
    two_classes(tmp_path / "data")
    rows = [f"{name}/{number}.jpg,{name}" for name in "ab" for number in range(3)]
    manifests = []
    for order in (rows, rows[::-1]):
        put(tmp_path / "data/t.csv", "\n".join(["path,label", *order]).encode())
        manifests.append(look(tmp_path / "data/t.csv"))
    assert manifests[0].table.equals(manifests[1].table)
    assert manifests[0].fingerprint == manifests[1].fingerprint


def test_issues_are_sorted(faulty: Manifest) -> None:
    assert faulty.issues.equals(faulty.issues.sort("issue", "id"))


def test_summary(faulty: Manifest) -> None:
    lines = list(summary(faulty))
    assert lines[0].startswith("26 train photos of 2 classes in ")
    assert any(line.split() == ["unreadable", "9"] for line in lines)


def test_data_without_photos(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No labelled photos"):
        look(tmp_path)
