"""Outliers: planted ones are found, ordinary ones are not, and what is not known is not said."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from chajong.labels import Labels
from chajong.manifest import Manifest
from chajong.photos.outliers import MIN_PHOTOS, find_outliers, outlier_scores
from tests.manifests import manifest_of, photo_rows

NUM_CLASSES, EACH = 8, 25
WHEELS, MOVED = (3, 60, 170), (30, 111)


def photos(num_test: int = 0) -> tuple[Manifest, NDArray[np.float32]]:
    """Features that all cars share, that a class shares, and that are a photo's own."""
    rng = np.random.default_rng(0)
    classes = np.arange(NUM_CLASSES).repeat(EACH)
    shown = classes.copy()
    shown[list(MOVED)] = (shown[list(MOVED)] + 3) % NUM_CLASSES
    of_class = rng.normal(size=(NUM_CLASSES, 40))
    tests = rng.integers(0, NUM_CLASSES, num_test)
    shown = np.concatenate([shown, tests])
    features = 3 + of_class[shown] + 0.8 * rng.normal(size=(len(shown), 40))
    for place in WHEELS:
        features[place] = rng.normal(size=40) * 3
    labels = [f"c{number}" for number in classes] + [None] * num_test
    return manifest_of(photo_rows(labels)), features.astype(np.float32)


def listed(manifest: Manifest, features: NDArray[np.float32], issue: str) -> dict[int, str]:
    ids = manifest.table["id"].to_list()
    found = find_outliers(manifest, features)
    return {ids.index(id_): detail for id_, its, _, detail in found if its == issue}


@pytest.mark.parametrize("num_test", [0, 60])
def test_planted_photos_are_found_and_hardly_any_others(num_test: int) -> None:
    manifest, features = photos(num_test)
    whole = listed(manifest, features, "not_whole_car")
    assert set(WHEELS) <= set(whole)
    assert len(whole) <= 4
    assert all("nearest photo agrees by" in detail for detail in whole.values())
    like = listed(manifest, features, "not_like_class")
    assert set(MOVED) <= set(like)
    assert len(like) <= 4
    assert like[30].startswith("looks less like c1 than like c4, such as p")


def test_no_photo_has_both_issues_and_few_have_one() -> None:
    manifest, features = photos()
    wild = np.random.default_rng(1).standard_cauchy(features.shape).astype(np.float32)
    for some in (features, wild):
        ids = [id_ for id_, *_ in find_outliers(manifest, some)]
        assert len(ids) == len(set(ids))
        assert len(ids) <= 2 * 0.02 * len(some)


def test_copies_do_not_hide_an_outlier() -> None:
    # Fifteen copies of a wheel are alike; known as one group, they have no neighbours.
    manifest, features = photos()
    copies = [3, *range(185, 199)]
    features[copies] = features[3]
    alone = outlier_scores(manifest, features).not_whole_car
    group = pl.Series([0 if place in copies else 1000 + place for place in range(200)])
    grouped = manifest_of(manifest.table.with_columns(group=group))
    together = outlier_scores(grouped, features).not_whole_car
    assert alone[3] < 0.01
    assert together[3] > np.quantile(together, 0.9)


def test_unknown_photos_and_test_photos_have_no_class() -> None:
    manifest, features = photos(60)
    features[[5, 210]] = np.nan
    features[7] = 0
    scores = outlier_scores(manifest, features)
    assert np.isnan(scores.not_whole_car[[5, 7, 210]]).all()
    assert np.isfinite(scores.not_whole_car).sum() == 257
    assert np.isfinite(scores.not_like_class).sum() == 198
    assert scores.nearest[5] == -1
    labels = manifest.table["label"].to_list()
    assert all(labels[scores.nearest[place]] != labels[place] for place in range(8, 200))


def test_a_photo_alone_in_its_class_is_not_judged_by_it() -> None:
    manifest, features = photos()
    label = pl.Series(["only", *manifest.table["label"].to_list()[1:]])
    alone = manifest_of(manifest.table.with_columns(label=label))
    scores = outlier_scores(alone, features)
    assert np.isnan(scores.not_like_class[0])
    assert np.isfinite(scores.not_like_class[1:]).all()


def test_without_another_class_no_photo_is_like_one() -> None:
    manifest, features = photos()
    one = manifest_of(manifest.table.with_columns(label=pl.lit("only")))
    scores = outlier_scores(one, features)
    assert np.isnan(scores.not_like_class).all()
    assert (scores.nearest == -1).all()
    assert not listed(one, features, "not_like_class")
    # Two photos of another class are all that there are to be like.
    few = manifest.table.with_columns(label=pl.Series(["other"] * 2 + ["only"] * 198))
    assert set(outlier_scores(manifest_of(few), features).nearest[2:]) == {0, 1}


def test_equal_classes_are_one() -> None:
    # The moved photos lie in a class that is equal to the one they show.
    manifest, features = photos()
    apart = outlier_scores(manifest, features).not_like_class[30]
    labels = Labels(manifest.labels.names, (("c1", "c4"),))
    joined = outlier_scores(replace(manifest, labels=labels), features).not_like_class[30]
    assert joined < 0 < apart


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, features = photos(60)
    whole = outlier_scores(manifest, features)
    monkeypatch.setattr("chajong.photos.outliers._BLOCK", 7)
    parts = outlier_scores(manifest, features)
    np.testing.assert_allclose(parts.not_whole_car, whole.not_whole_car, atol=1e-6)
    np.testing.assert_allclose(parts.not_like_class, whole.not_like_class, atol=1e-6)
    np.testing.assert_array_equal(parts.nearest, whole.nearest)


def test_few_photos_say_nothing() -> None:
    manifest = manifest_of(photo_rows(["a", "b"] * (MIN_PHOTOS // 2 - 1)))
    features = np.random.default_rng(0).normal(size=(MIN_PHOTOS - 2, 5)).astype(np.float32)
    assert find_outliers(manifest, features) == []
