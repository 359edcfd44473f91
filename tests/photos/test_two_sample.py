"""Two samples told apart: the area is scikit-learn's, its interval covers, chance is a half."""

from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from chajong.photos.two_sample import Floats, auc, likeness_to_test, principal


def test_the_area_is_that_of_scikit_learn_also_with_ties() -> None:
    rng = np.random.default_rng(0)
    values, is_test = rng.integers(0, 9, 300) / 3, rng.random(300) < 0.3
    found = auc(values, is_test, np.arange(300))
    assert found.value == pytest.approx(roc_auc_score(is_test, values), abs=1e-12)
    assert 0 <= found.low < found.value < found.high <= 1


@pytest.mark.parametrize("copies", [1, 4])
def test_the_interval_covers_the_truth_in_19_of_20_cases(copies: int) -> None:
    # Of normal values one standard deviation apart the area is 0.760; copies add no knowledge.
    is_test = (np.arange(120) < 40).repeat(copies)
    hits = []
    for seed in range(400):
        values = (np.random.default_rng(seed).normal(size=120)).repeat(copies) + is_test
        found = auc(values, is_test, np.arange(120).repeat(copies))
        hits.append(found.low <= 0.7602 <= found.high)
    assert 0.92 < np.mean(hits) < 0.98


@pytest.mark.parametrize(("num_groups", "of_each"), [(1, 12), (2, 10), (4, 5), (10, 1)])
def test_few_groups_are_seldom_taken_for_a_difference(num_groups: int, of_each: int) -> None:
    # 200 train photos and few cars in many photos each, all of one distribution.
    is_test = np.arange(200 + num_groups * of_each) >= 200
    groups = np.concatenate([np.arange(200), 200 + np.arange(num_groups).repeat(of_each)])
    wrong = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        test = rng.normal(size=num_groups).repeat(of_each) + rng.normal(0, 0.1, len(groups) - 200)
        found = auc(np.concatenate([rng.normal(size=200), test]), is_test, groups)
        wrong.append(not found.low <= 0.5 <= found.high)
    assert np.mean(wrong) < 0.08


@pytest.mark.parametrize(("num", "away"), [(10, 1.5), (20, 2.5), (40, 3.0)])
def test_the_interval_covers_areas_near_one(num: int, away: float) -> None:
    is_test = np.arange(2 * num) >= num
    truth = NormalDist().cdf(away / 2**0.5)
    hits = []
    for seed in range(400):
        values = np.random.default_rng(seed).normal(size=2 * num) + away * is_test
        found = auc(values, is_test, np.arange(2 * num))
        hits.append(found.low <= truth <= found.high)
    assert np.mean(hits) > 0.93


def test_an_interval_is_no_narrower_for_a_single_overlap() -> None:
    values, is_test = np.arange(20.0), np.arange(20) >= 10
    values[[9, 10]] = values[[10, 9]]
    found = auc(values, is_test, np.arange(20))
    assert found.value == pytest.approx(0.99)
    assert 0.6 < found.low < 0.9
    assert found.value < found.high < 1
    below = auc(-values, is_test, np.arange(20))
    assert (below.low, below.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_an_area_of_one_may_be_chance() -> None:
    values, is_test = np.arange(20.0), np.arange(20) >= 10
    found = auc(values, is_test, np.arange(20))
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025 ** (1 / 10))  # Clopper-Pearson of 10 of 10
    below = auc(-values, is_test, np.arange(20))
    assert (below.low, below.value) == (0, 0)
    assert below.high == pytest.approx(1 - found.low)


def test_groups_may_hold_photos_of_both_kinds_and_have_any_number() -> None:
    rng = np.random.default_rng(1)
    values, is_test, groups = rng.normal(size=60), np.arange(60) % 2 == 0, np.arange(60) // 2
    found = auc(values, is_test, groups)
    assert found == auc(values, is_test, groups * 7 + 3)
    apart = auc(values, is_test, np.arange(60))
    assert found.value == apart.value
    # What a pair shares cancels out.
    shared = auc(values.reshape(30, 2).mean(axis=1).repeat(2), is_test, groups)
    assert shared.high - shared.low < 1e-9 < apart.high - apart.low


def clouds(away: float, num: int = 400, seed: int = 0) -> tuple[Floats, np.ndarray]:
    """Two clouds in 20 dimensions; the last third are test photos."""
    rng = np.random.default_rng(seed)
    is_test = np.arange(num) >= 2 * num // 3
    return rng.normal(size=(num, 20)) + away * is_test[:, None] / np.sqrt(20), is_test


@pytest.mark.parametrize(("away", "low", "high"), [(0.0, 0.4, 0.6), (1.5, 0.78, 0.92)])
def test_photos_are_told_apart_as_far_as_they_can_be(away: float, low: float, high: float) -> None:
    rows, is_test = clouds(away)
    likeness = likeness_to_test(principal(rows), is_test, np.arange(400))
    assert low < auc(likeness, is_test, np.arange(400)).value < high


def test_chance_is_seldom_taken_for_a_difference() -> None:
    above = []
    for seed in range(80):
        rows, is_test = clouds(0, 200, seed)
        likeness = likeness_to_test(rows, is_test, np.arange(200))
        above.append(auc(likeness, is_test, np.arange(200), cross_validated=True).low > 0.5)
    assert np.mean(above) < 0.06


def test_copies_of_photos_do_not_give_them_away() -> None:
    # Without groups a classifier would know each photo by its copy: 60 photos, 60 features.
    rows = np.random.default_rng(2).normal(size=(60, 60)).repeat(5, axis=0)
    is_test, groups = (np.arange(60) % 2 == 0).repeat(5), np.arange(60).repeat(5)
    honest = auc(likeness_to_test(rows, is_test, groups), is_test, groups).value
    cheated = auc(likeness_to_test(rows, is_test, np.arange(300)), is_test, groups).value
    assert cheated > 0.9
    assert 0.25 < honest < 0.75


def test_components_are_uncorrelated_and_no_more_than_there_are() -> None:
    rng = np.random.default_rng(3)
    features = (rng.normal(size=(200, 3)) @ rng.normal(size=(3, 50)) + 7).astype(np.float32)
    found = principal(features)
    assert found.shape == (200, 3)
    np.testing.assert_allclose(found.T @ found / 200, np.eye(3), atol=1e-3)
    assert principal(features, 2).shape == (200, 2)
    assert principal(np.ones((5, 4), np.float32)).shape == (5, 0)
