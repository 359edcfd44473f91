import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from chajong.errors import DataError
from chajong.files import write_table
from chajong.labels import Labels
from chajong.manifest import ISSUE_COLUMNS, Manifest
from chajong.parquet import read_texts
from tests.manifests import manifest_of, photo_rows

LABELS = ["b", "a", "a", "b", None]


def example() -> Manifest:
    issues = pl.DataFrame(
        [("p00001.jpg", "tiny", 40.0, "60 x 40 pixels")], schema=ISSUE_COLUMNS, orient="row"
    )
    return replace(manifest_of(photo_rows(LABELS)), issues=issues)


def test_saved_and_loaded(tmp_path: Path) -> None:
    manifest = example()
    manifest.save(tmp_path / "new")
    loaded = Manifest.load(tmp_path / "new")
    assert loaded.table.equals(manifest.table)
    assert loaded.issues.equals(manifest.issues)
    assert (loaded.labels, loaded.root) == (manifest.labels, manifest.root)
    assert loaded.fingerprint == manifest.fingerprint
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "issues.parquet",
        "labels.json",
        "manifest.parquet",
    ]


def test_trainable_photos_are_readable_train_photos_by_id() -> None:
    table = photo_rows(LABELS).with_columns(readable=pl.col("id") != "p00001.jpg").reverse()
    assert manifest_of(table).trainable()["id"].to_list() == [
        "p00000.jpg",
        "p00002.jpg",
        "p00003.jpg",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.lit("p00000.jpg").alias("id"), r"unique in a manifest, but 'p00000\.jpg' repeat"),
        (pl.lit("zebra").alias("label"), "among the classes, but 'zebra' are not"),
        (pl.lit(None, pl.String).alias("label"), "needs a label.*'None'"),
        (pl.lit(1.5).alias("group"), "columns .* with their types"),
        (pl.lit(1).alias("more"), "columns .* with their types"),
    ],
)
def test_refused(change: pl.Expr, message: str) -> None:
    manifest = manifest_of(photo_rows(LABELS))
    with pytest.raises(DataError, match=message):
        replace(manifest, table=manifest.table.with_columns(change))


def test_issues_of_unknown_photos_are_refused() -> None:
    issues = pl.DataFrame([("no.jpg", "tiny", None, "")], schema=ISSUE_COLUMNS, orient="row")
    with pytest.raises(DataError, match=r"photos that are not there: 'no\.jpg'"):
        replace(example(), issues=issues)


def where(condition: pl.Expr, value: str | int, column: str) -> pl.Expr:
    return pl.when(condition).then(pl.lit(value)).otherwise(column).alias(column)


ONE = pl.col("id") == "p00001.jpg"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (pl.col("path") + "x", True),
        (pl.col("width_px") + 1, True),
        (pl.col("group") + 7, True),
        (where(pl.col("part") == "test", "x", "sha256"), True),
        (where(ONE, "x", "sha256"), False),
        (where(ONE, "b", "label"), False),
        (where(ONE, 0, "group"), False),
        (("q" + pl.col("id")).alias("id"), False),
        ((~ONE).alias("readable"), False),
        (pl.lit(None, pl.Int64).alias("fold"), True),
        (where(ONE, 3, "fold"), False),
    ],
)
def test_fingerprint_hangs_on_what_training_hangs_on(change: pl.Expr, same: bool) -> None:
    manifest = manifest_of(photo_rows(LABELS))
    changed = replace(manifest, table=manifest.table.with_columns(change))
    assert (changed.fingerprint == manifest.fingerprint) == same


def test_fingerprint_hangs_on_neither_folder_nor_row_order_nor_test_photos() -> None:
    manifest = manifest_of(photo_rows(LABELS))
    moved = replace(manifest, root=Path("/elsewhere"), table=manifest.table.reverse())
    assert moved.fingerprint == manifest.fingerprint
    train = manifest.table.filter(pl.col("part") == "train")
    assert replace(manifest, table=train).fingerprint == manifest.fingerprint
    more_classes = replace(manifest, labels=Labels.of(["a", "b", "c"]))
    assert more_classes.fingerprint != manifest.fingerprint


def test_paths(tmp_path: Path) -> None:
    manifest = manifest_of(photo_rows(LABELS), tmp_path)
    assert manifest.path_of("a/1.jpg") == tmp_path / "a/1.jpg"
    assert manifest.path_of("/else/1.jpg") == Path("/else/1.jpg")


def test_manifests_of_before_there_were_scenes(tmp_path: Path) -> None:
    rows = photo_rows(["a", "a", "b", "b"], groups=[0, 0, 1, 1])
    lot = pl.when(pl.col("group") == 1).then(pl.lit("lot"))
    manifest = manifest_of(rows.with_columns(user_group=lot))
    manifest.save(tmp_path)
    path = tmp_path / "manifest.parquet"
    write_table(path, pl.read_parquet(path).drop("scene"), read_texts(path))
    scenes = Manifest.load(tmp_path).table["scene"].to_list()
    assert scenes[:2] == [0, 0]
    assert len({*scenes}) == 3  # of photos that the user put together nothing is known


def test_load_from_nowhere(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no manifest in .*chajong audit DATA"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("name", ["manifest.parquet", "issues.parquet", "labels.json"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    example().save(tmp_path)
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"cannot be read|labels\.json is damaged"):
        Manifest.load(tmp_path)


def test_the_issues_of_another_audit_are_refused(tmp_path: Path) -> None:
    example().save(tmp_path / "one")
    other = replace(example(), issues=example().issues.head(0))
    other.save(tmp_path / "other")
    shutil.copy(tmp_path / "other/issues.parquet", tmp_path / "one")
    with pytest.raises(DataError, match="do not belong together"):
        Manifest.load(tmp_path / "one")
    # Before, the issues were not vouched for.
    path = tmp_path / "one/manifest.parquet"
    texts = {name: text for name, text in read_texts(path).items() if name != "issues"}
    write_table(path, pl.read_parquet(path), texts)
    assert Manifest.load(tmp_path / "one").issues.is_empty()


def test_files_of_two_manifests_are_not_mixed(tmp_path: Path) -> None:
    example().save(tmp_path)
    Labels.of(["a", "b", "c"]).save(tmp_path / "labels.json")
    with pytest.raises(DataError, match="do not belong together"):
        Manifest.load(tmp_path)
