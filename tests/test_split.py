import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from chajong.errors import DataError
from chajong.manifest import Manifest
from chajong.split import Split, split
from tests.manifests import manifest_of, photo_rows


def random_manifest(seed: int) -> Manifest:
    """Uneven classes, and groups of any size, some of several classes."""
    rng = np.random.default_rng(seed)
    num, num_classes = int(rng.integers(60, 800)), int(rng.integers(2, 12))
    share = rng.dirichlet(np.full(num_classes, 3.0))
    labels = rng.choice(num_classes, num, p=share)
    labels[: 2 * num_classes] = np.repeat(np.arange(num_classes), 2)  # each has two photos
    groups = np.arange(num)
    for _ in range(int(rng.integers(0, num // 8))):
        size = int(rng.integers(2, 7))
        members = rng.choice(np.arange(2 * num_classes, num), size, replace=False)
        if rng.random() < 0.8:  # mostly of one class, like photos of one car
            members = members[labels[members] == labels[members[0]]]
        groups[members] = members[0]
    return manifest_of(photo_rows([f"c{label:02d}" for label in labels], groups.tolist()))


def counts(manifest: Manifest, folds: Split) -> NDArray[np.int64]:
    """(c, k) photos."""
    rows = folds.table.join(manifest.table.select("id", "label"), on="id")
    rank = {label: place for place, label in enumerate(manifest.labels.names)}
    table = np.zeros((len(rank), folds.num_folds), np.int64)
    for label, fold in rows.select("label", "fold").iter_rows():
        table[rank[label], fold] += 1
    return table


@pytest.mark.parametrize("seed", range(30))
def test_folds_are_whole_grouped_and_even(seed: int) -> None:
    manifest = random_manifest(seed)
    num_folds = 2 + seed % 4
    folds = split(manifest, num_folds, seed)
    assert folds.table["id"].to_list() == sorted(manifest.table["id"].to_list())
    assert folds.table.group_by("group").agg(pl.col("fold").n_unique())["fold"].max() == 1
    table = counts(manifest, folds)
    assert ((table.sum(axis=1, keepdims=True) - table) > 0).all()
    # No fold has more of a class than another by over the class's largest group, but for what
    # groups of several classes cost.
    largest = manifest.table.group_by("label", "group").len().group_by("label").agg(pl.max("len"))
    bound = largest.sort("label")["len"].to_numpy()
    assert (table.max(axis=1) - table.min(axis=1) <= bound + 1).all()
    assert table.sum(axis=0).max() - table.sum(axis=0).min() <= 6


def test_without_groups_every_class_is_as_even_as_can_be() -> None:
    labels = [f"c{number % 7}" for number in range(173)]
    manifest = manifest_of(photo_rows(labels))
    table = counts(manifest, split(manifest, 5, 0))
    assert (table.max(axis=1) - table.min(axis=1) <= 1).all()
    assert table.sum(axis=0).max() - table.sum(axis=0).min() <= 1


def test_neither_row_order_nor_group_numbers_matter() -> None:
    manifest = random_manifest(1)
    folds = split(manifest, 4, 7)
    shuffled = manifest.table.sample(fraction=1, shuffle=True, seed=3)
    other = replace(manifest, table=shuffled.with_columns(group=1000 - pl.col("group")))
    assert split(other, 4, 7).table.drop("group").equals(folds.table.drop("group"))
    assert split(other, 4, 7).manifest_fingerprint == folds.manifest_fingerprint


def test_the_seed_matters() -> None:
    manifest = random_manifest(2)
    assert not split(manifest, 4, 0).table.equals(split(manifest, 4, 1).table)
    assert split(manifest, 4, 0).table.equals(split(manifest, 4, 0).table)


def test_only_readable_train_photos_get_a_fold() -> None:
    table = photo_rows(["a", "b"] * 10 + [None]).with_columns(readable=pl.col("id") != "p00003.jpg")
    folds = split(manifest_of(table), 2, 0)
    assert len(folds.table) == 19
    assert "p00003.jpg" not in folds.table["id"]


def test_a_group_of_many_classes_stays_whole() -> None:
    manifest = manifest_of(photo_rows(["a", "b", "c"] * 10, [0] * 9 + list(range(1, 22))))
    folds = split(manifest, 3, 0)
    assert folds.table.filter(pl.col("group") == 0)["fold"].n_unique() == 1
    table = counts(manifest, folds)
    assert table.max() - table.min() <= 1


@pytest.mark.parametrize("seed", range(8))
def test_large_groups_are_dealt_first_and_single_photos_fill_up(seed: int) -> None:
    groups = [0] * 6 + [1] * 3 + list(range(2, 5)) + list(range(5, 17))
    manifest = manifest_of(photo_rows(["a"] * 12 + ["b"] * 12, groups))
    assert counts(manifest, split(manifest, 2, seed)).tolist() == [[6, 6], [6, 6]]


def test_as_large_as_the_competition_in_seconds() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(33_000)
    groups[rng.integers(0, 33_000, 3000)] = rng.integers(0, 33_000, 3000)
    labels = [f"c{label:03d}" for label in rng.integers(0, 396, 33_000)]
    manifest = manifest_of(photo_rows(labels, groups.tolist()))
    start = time.process_time()
    split(manifest, 5, 0)
    assert time.process_time() - start < 4


@pytest.mark.parametrize(
    ("labels", "groups", "num_folds", "message"),
    [
        (["a"] * 9, None, 3, r"2 classes or more, but .* has only 'a'"),
        ([None] * 3, None, 3, "no photo that can be read"),
        (
            ["a"] * 9 + ["b"],
            None,
            3,
            r"1 class\(es\).*b \(1 photo\)\. Ways out: more",
        ),
        (
            ["a"] * 9 + ["b"] * 3,
            [*range(9), 9, 9, 9],
            3,
            r"b \(3 photos in 1 group\(s\)\).*--fold all",
        ),
        (["a", "b"], [0, 0], 2, "needs photos"),
        (["a", "a", "b", "b"], None, 9, r"folds 0 to 8 needs photos.*fewer folds"),
        (["a", "b"] * 9, None, 1, r"must be 2 or more\. Got 1\..*--fold all"),
    ],
)
def test_refused(
    labels: list[str | None], groups: list[int] | None, num_folds: int, message: str
) -> None:
    table = photo_rows(labels, groups)
    manifest = manifest_of(table) if any(labels) else replace_labels(table)
    with pytest.raises(DataError, match=message):
        split(manifest, num_folds, 0)


def replace_labels(table: pl.DataFrame) -> Manifest:
    return replace(manifest_of(photo_rows(["a"])), table=table)


def test_many_classes_with_one_photo_are_counted() -> None:
    labels = ["a"] * 9 + [f"one{number}" for number in range(8)]
    with pytest.raises(DataError, match=r"8 class\(es\).*one0 \(1 photo\).* and 3 more"):
        split(manifest_of(photo_rows(labels)), 3, 0)


@pytest.mark.parametrize("seed", range(10))
def test_folds_that_can_be_are_found_whatever_the_seed(seed: int) -> None:
    # One group holds both classes; dealt once, three of the seeds leave a class in one fold.
    labels, groups = ["b", "a", "b", "b", "a", "a"], [1, 2, 0, 0, 1, 2]
    folds = split(manifest_of(photo_rows(labels, groups)), 2, seed)
    assert folds.table["fold"].n_unique() == 2


def test_folds_of_the_user_are_kept() -> None:
    folds = [0, 1, 1, 0, 2, 2]
    manifest = manifest_of(photo_rows(["a", "b", "a", "b", "a", "b"], None, folds))
    assert split(manifest, 3, 0).table["fold"].to_list() == folds


@pytest.mark.parametrize(
    ("folds", "groups", "num_folds", "message"),
    [
        ([0, 1, 0, None], None, 2, r"1 of 4 photos have no fold, such as 'p00003\.jpg'"),
        ([0, 1, 0, 1], [0, 0, 1, 2], 2, r"two folds or more, such as 'p00000\.jpg', 'p00001\.jpg'"),
        ([0, 1, 0, 1], None, 3, r"has the folds \[0, 1\], but 3 folds .* folds.num_folds=2"),
        ([1, 2, 1, 2], None, 2, r"has the folds \[1, 2\]"),
        ([0, 0, 0, 1], None, 2, r"missing from a training side.*a \(2 photos\)"),
    ],
)
def test_folds_of_the_user_that_are_refused(
    folds: list[int | None], groups: list[int] | None, num_folds: int, message: str
) -> None:
    manifest = manifest_of(photo_rows(["a", "b", "a", "b"], groups, folds))
    with pytest.raises(DataError, match=message):
        split(manifest, num_folds, 0)


def rows(folds: list[int], groups: list[int], ids: str = "abcdef") -> pl.DataFrame:
    names = pl.Series("id", list(ids[: len(folds)]))
    return pl.DataFrame({"id": names, "fold": folds, "group": groups})


@pytest.mark.parametrize(
    ("table", "num_folds", "message"),
    [
        (rows([0, 1, 0], [5, 6, 6]), 2, "two folds or more, such as 'b', 'c'"),
        (rows([0, 1, 0], [5, 6, 7], "aba"), 2, "'a' have several rows"),
        (rows([0, 1, 3], [5, 6, 7]), 3, r"Got photos in \[0, 1, 3\]"),
        (rows([0, 0], [5, 6]), 1, "2 folds or more"),
        (rows([0, 1], [5, 6]).drop("group"), 2, "needs the columns"),
    ],
)
def test_a_wrong_split_cannot_be(table: pl.DataFrame, num_folds: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(table, num_folds, 0, "0123456789abcdef")


def test_saved_and_loaded(tmp_path: Path) -> None:
    folds = split(random_manifest(5), 3, 11)
    folds.save(tmp_path / "new/split.parquet")
    loaded = Split.load(tmp_path / "new/split.parquet")
    assert loaded.table.equals(folds.table)
    assert (loaded.num_folds, loaded.seed) == (3, 11)
    assert loaded.manifest_fingerprint == folds.manifest_fingerprint


def test_what_is_no_split_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "split.parquet"
    with pytest.raises(DataError, match="cannot be read as a split"):
        Split.load(path)
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be read as a split"):
        Split.load(path)
    rows([0, 1], [5, 6]).write_parquet(path)
    with pytest.raises(DataError, match="cannot be read as a split"):
        Split.load(path)
