"""The full audit: measures, the shift, what a network sees, and what is written."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

import chajong
from chajong.corrections import Corrections
from chajong.errors import DataError
from chajong.manifest import Manifest
from chajong.photos.audit import Audit, full_audit
from chajong.photos.measures import Measures
from chajong.photos.shift import Shift
from tests.photos.pictures import encoded, lit, put, scene
from tests.test_corrections import decide


def darker_test_photos(root: Path, num_test: int = 12, num_train: int = 30) -> Path:
    for number in range(num_train):
        put(root / f"train/{'ab'[number % 2]}/{number}.jpg", scene(number))
    for number in range(num_test):
        put(root / f"test/{number}.jpg", lit(scene(100 + number), 0.6))
    put(root / "train/a/broken.jpg", b"no photo")
    return root


def looked(data: Path, look: bool = False) -> Audit:
    # A stand-in for a network: what photos have in common, and a wheel among them.
    def features(manifest: Manifest) -> NDArray[np.float32]:
        num = manifest.table.height
        found = 3 + np.random.default_rng(0).normal(size=(num, 8)).astype(np.float32)
        found[20] *= -1
        return found

    return full_audit(data, cache_folder=data.parent / "cache", look=features if look else None)


def test_measures_are_those_of_the_photos(tmp_path: Path) -> None:
    root = tmp_path / "data"
    put(root / "a/half.png", encoded(Image.new("RGB", (100, 50), (128, 128, 128)), "PNG"))
    colours = Image.new("RGB", (200, 100), (200, 100, 100))
    colours.paste((0, 0, 0), (0, 0, 100, 100))
    path = put(root / "b/colours.png", encoded(colours, "PNG"))
    put(root / "b/broken.jpg", b"no photo")
    found = looked(root).measures.table
    rows = {row["id"]: row for row in found.iter_rows(named=True)}
    half, colour, broken = rows["a/half.png"], rows["b/colours.png"], rows["b/broken.jpg"]
    assert (half["brightness"], half["contrast"], half["saturation"]) == (128, 0, 0)
    assert half["megapixels"] == 0.005
    assert colour["brightness"] == pytest.approx(65, abs=1)
    assert colour["contrast"] == pytest.approx(65, abs=1)
    assert colour["saturation"] == pytest.approx(0.5)  # black has no say
    assert colour["size_kb"] == pytest.approx(path.stat().st_size / 1000)
    assert all(value is None for key, value in broken.items() if key != "id")


def test_darker_test_photos_are_told_with_a_remedy(tmp_path: Path) -> None:
    found = looked(darker_test_photos(tmp_path / "data"))
    assert found.shift is not None
    assert (found.shift.num_train, found.shift.num_test) == (30, 12)
    assert found.shift.of("brightness").verdict == "large"
    light = found.shift.proposal()
    assert light is not None
    assert 0.3 < light.factor[0] < 0.6
    text = "\n".join(found.lines())
    assert "kind: light" in text
    assert "--weights FILE" in text


def test_without_enough_test_photos_there_is_no_shift_and_that_is_said(tmp_path: Path) -> None:
    root = darker_test_photos(tmp_path / "data", 0)
    found = looked(root)
    assert found.shift is None
    text = "\n".join(found.lines())
    assert "no shift" in text
    assert "light" not in text


def test_an_audit_is_saved_and_an_old_shift_does_not_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = looked(darker_test_photos(tmp_path / "data"))
    first.save(out)
    assert Shift.load(out) == first.shift
    assert Measures.load(out).table.equals(first.measures.table)
    assert Manifest.load(out).issues.equals(first.manifest.issues)
    looked(darker_test_photos(tmp_path / "other", 0)).save(out)
    with pytest.raises(DataError, match="no shift"):
        Shift.load(out)


def test_what_a_network_sees_is_among_the_issues(tmp_path: Path) -> None:
    root = darker_test_photos(tmp_path / "data", 12, 60)
    plain, found = looked(root), looked(root, look=True)
    odd = found.manifest.table["id"][20]
    issues = found.manifest.issues
    assert odd in issues.filter(pl.col("issue") == "not_whole_car")["id"].to_list()
    assert found.shift is not None
    assert found.shift.telltale is not None
    assert not any("not looked for" in line for line in found.lines())
    both = found.manifest.issues.filter(~pl.col("issue").is_in(["not_whole_car", "not_like_class"]))
    assert both.equals(plain.manifest.issues)
    assert found.manifest.issues.equals(found.manifest.issues.sort("issue", "id"))
    assert found.manifest.fingerprint == plain.manifest.fingerprint


def test_after_corrections_it_is_as_if_the_folder_had_been_put_right(tmp_path: Path) -> None:
    root = darker_test_photos(tmp_path / "data")
    for name in ("a/copy.jpg", "b/copy.jpg"):
        put(root / "train" / name, (root / "train/a/0.jpg").read_bytes())
    before = looked(root)
    assert {"unreadable", "exact_duplicate", "duplicate_other_label"} <= issues_of(before)
    path = tmp_path / "corrections.csv"
    Corrections(
        (
            decide("train/a/copy.jpg", "exclude"),
            decide("train/a/broken.jpg", "exclude"),
            decide("train/b/1.jpg", "relabel", "a"),
            decide("train/b/copy.jpg", "relabel", "a"),
        )
    ).save(path)
    found = chajong.audit(root, cache=tmp_path / "cache", out=tmp_path / "out", corrections=path)
    for name in ("a/copy.jpg", "a/broken.jpg"):
        (root / "train" / name).unlink()
    for name in ("1.jpg", "copy.jpg"):
        (root / "train/b" / name).rename(root / "train/a" / name)
    wanted = looked(root)
    assert issues_of(found) == issues_of(wanted) == {"exact_duplicate"}
    content = ("sha256", "label", "part")
    rows = (sorted(each.manifest.table.select(content).rows()) for each in (found, wanted))
    assert next(rows) == next(rows)
    assert found.shift is not None
    assert (found.shift.num_train, found.shift.num_test) == (31, 12)
    said = "corrections carried out first: 2 excluded, 2 relabelled, 0 kept"
    assert next(iter(found.lines())) == said
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "Corrections carried out first: 2 excluded, 2 relabelled" in page


def issues_of(found: Audit) -> set[str]:
    return set(found.manifest.issues["issue"])
