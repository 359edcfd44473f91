import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import stdtrit
from sklearn import metrics as reference

from chajong.errors import PredictionsError
from chajong.intervals import student
from chajong.labels import Labels, known_names
from chajong.metrics import (
    Estimate,
    Outcomes,
    calibration_error,
    estimate,
    log_loss,
    macro_f1,
    outcomes,
    photo_losses,
)


def random_case(
    seed: int, num_photos: int = 200, num_classes: int = 12, sharpness: float = 3.0
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    generator = np.random.default_rng(seed)
    truth = generator.integers(num_classes, size=num_photos)
    logits = generator.normal(size=(num_photos, num_classes)) * sharpness
    logits[np.arange(num_photos), truth] += sharpness
    probs = np.exp(logits)
    return probs / probs.sum(axis=1, keepdims=True), truth


def extreme_case() -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Rows that are certain and right, certain and wrong, tiny, and plain."""
    probs, truth = random_case(9, 40, 12, sharpness=30.0)
    probs[:10] = np.eye(12)[truth[:10]]
    probs[10:20] = np.eye(12)[(truth[10:20] + 1) % 12]
    probs[20:25] = 1e-300
    return probs, truth


def sklearn_log_loss(probs: NDArray[np.float64], truth: NDArray[np.intp]) -> float:
    normalised = probs / probs.sum(axis=1, keepdims=True)
    clipped = np.clip(normalised, 1e-15, 1 - 1e-15)
    return float(reference.log_loss(truth, clipped, labels=np.arange(probs.shape[1])))


@pytest.mark.parametrize("seed", range(5))
def test_log_loss_is_that_of_scikit_learn(seed: int) -> None:
    probs, truth = random_case(seed, sharpness=2.0**seed)
    assert log_loss(probs, truth) == pytest.approx(sklearn_log_loss(probs, truth), abs=1e-9)


def test_log_loss_of_zeros_and_ones_is_that_of_scikit_learn() -> None:
    probs, truth = extreme_case()
    assert log_loss(probs, truth) == pytest.approx(sklearn_log_loss(probs, truth), abs=1e-9)
    losses = photo_losses(probs, truth)
    np.testing.assert_allclose(losses[:10], -np.log(1 - 1e-15))
    np.testing.assert_allclose(losses[10:20], -np.log(1e-15))
    assert losses.mean() == log_loss(probs, truth)


def test_rows_are_normalised_first() -> None:
    probs, truth = random_case(1)
    scale = np.random.default_rng(0).uniform(0.01, 100, size=(len(truth), 1))
    assert log_loss(probs * scale, truth) == pytest.approx(log_loss(probs, truth), abs=1e-12)


def test_equal_classes_count_as_one_by_brute_force() -> None:
    probs, truth = random_case(2, num_classes=6)
    canonical = np.array([0, 1, 0, 3, 1, 1])
    groups = {0: [0, 2], 1: [1, 4, 5], 3: [3]}
    of_truth = [probs[row, groups[canonical[label]]].sum() for row, label in enumerate(truth)]
    expected = -np.log(np.clip(of_truth, 1e-15, 1 - 1e-15))
    np.testing.assert_allclose(photo_losses(probs, truth, canonical), expected, atol=1e-12)
    merged = np.stack([probs[:, members].sum(axis=1) for members in groups.values()], axis=1)
    names = np.array(list(groups))
    found = outcomes(probs, truth, canonical)
    correct = found.top == found.truth
    np.testing.assert_array_equal(correct, names[merged.argmax(axis=1)] == canonical[truth])
    np.testing.assert_allclose(found.confidence, merged.max(axis=1))


def test_the_competitions_equal_classes_are_merged() -> None:
    labels = Labels.of(known_names())
    one, other = (labels.index(name) for name in labels.equal[0])
    probs = np.full((2, 396), 1e-3)
    probs[:, one], probs[:, other] = 0.3, 0.3
    truth = np.array([one, other])
    expected = -np.log(0.6 / (0.6 + 394e-3))
    np.testing.assert_allclose(photo_losses(probs, truth, labels.canonical), expected)


def test_arguments_are_left_as_they_were() -> None:
    probs, truth = random_case(3)
    before = probs.copy(), truth.copy()
    outcomes(probs, truth, np.zeros(12, dtype=np.intp))
    outcomes(probs, truth)
    np.testing.assert_array_equal(probs, before[0])
    np.testing.assert_array_equal(truth, before[1])


@pytest.mark.parametrize("seed", range(3))
def test_shares_and_f1_are_those_of_scikit_learn(seed: int) -> None:
    probs, truth = random_case(seed, num_photos=25, num_classes=40, sharpness=1.0)
    figures = estimate(outcomes(probs, truth), num_resamples=2)
    top, classes = probs.argmax(axis=1), np.arange(40)
    for got, expected in (
        (figures.top1, reference.accuracy_score(truth, top)),
        (figures.top5, reference.top_k_accuracy_score(truth, probs, k=5, labels=classes)),
        (figures.macro_f1, reference.f1_score(truth, top, average="macro")),
    ):
        assert got.value == pytest.approx(expected, abs=1e-12)
    assert len(set(truth) | set(top)) < 40  # else absent classes were not tried


def test_a_tie_is_won_by_the_first_class_alone() -> None:
    found = outcomes(np.ones((10, 10)), np.arange(10))
    np.testing.assert_array_equal(found.top, np.zeros(10))
    np.testing.assert_array_equal(found.in_top5, np.arange(10) < 5)


def slow_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], num_bins: int
) -> float:
    bins: dict[int, list[int]] = {}
    for row, value in enumerate(confidence):
        num_lower = sum(1 for other in confidence if other < value)
        bins.setdefault(num_bins * num_lower // len(confidence), []).append(row)
    total = 0.0
    for rows in bins.values():
        accuracy = sum(bool(correct[row]) for row in rows) / len(rows)
        mean = sum(confidence[row] for row in rows) / len(rows)
        total += len(rows) / len(confidence) * abs(accuracy - mean)
    return total


@pytest.mark.parametrize("num_photos", [1, 7, 15, 16, 100, 301])
@pytest.mark.parametrize("decimals", [1, 9])
def test_calibration_error_is_that_of_a_slow_reference(num_photos: int, decimals: int) -> None:
    generator = np.random.default_rng(num_photos)
    confidence = generator.uniform(size=num_photos).round(decimals)  # 1 makes many ties
    correct = generator.uniform(size=num_photos) < confidence**2
    expected = slow_calibration_error(confidence, correct, 15)
    assert calibration_error(confidence, correct) == pytest.approx(expected, abs=1e-12)
    order = generator.permutation(num_photos)
    assert calibration_error(confidence[order], correct[order]) == pytest.approx(expected)


def test_bins_have_equal_mass_and_ties_share_one() -> None:
    confidence = np.linspace(0.9, 0.99, 30)
    correct = np.arange(30) % 2 == 0  # each bin of two: accuracy 1/2
    assert calibration_error(confidence, correct) == pytest.approx(confidence.mean() - 0.5)
    assert calibration_error(np.full(30, 0.5), correct) == 0
    # By hand: two bins, gaps +0.1 and -0.3, half of the photos each.
    by_hand = calibration_error(np.array([0.9, 0.3]), np.array([True, False]), num_bins=2)
    assert by_hand == pytest.approx((0.1 + 0.3) / 2)


def slow_intervals(
    found: Outcomes, units: NDArray[np.intp], seed: int, num_resamples: int
) -> NDArray[np.float64]:
    """Bootstrap by really repeating photos; (5 figures, low and high)."""
    generator = np.random.default_rng(seed)

    def figures(rows: NDArray[np.intp]) -> list[float]:
        truth, top, confidence = found.truth[rows], found.top[rows], found.confidence[rows]
        return [
            found.losses[rows].mean(),
            (truth == top).mean(),
            found.in_top5[rows].mean(),
            macro_f1(truth, top),
            calibration_error(confidence, truth == top),
        ]

    draws = []
    for _ in range(num_resamples):
        drawn = generator.integers(units.max() + 1, size=units.max() + 1, dtype=np.int32)
        rows = np.concatenate([np.flatnonzero(units == unit) for unit in drawn])
        draws.append(figures(rows))
    moved = np.array(figures(np.arange(len(units)))) - np.mean(draws, axis=0)
    wider = np.sqrt((num := units.max() + 1) / (num - 1)) * stdtrit(num - 1, 0.975) / 1.959964
    mean = np.mean(draws, axis=0)
    low, high = (np.percentile(draws, [2.5, 97.5], axis=0) - mean) * wider + mean + moved
    return np.stack([low, high], axis=1)


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_are_those_of_a_slow_bootstrap(grouped: bool) -> None:
    probs, truth = random_case(5, num_photos=80, num_classes=8, sharpness=1.0)
    found = outcomes(probs.round(2), truth)  # rounded, so that there are ties
    # Photos are drawn in the order of confidence, groups in that of their names.
    order = np.arange(80) if grouped else np.argsort(found.confidence, kind="stable")
    found = Outcomes(
        *(
            getattr(found, name)[order]
            for name in ("losses", "truth", "top", "in_top5", "confidence")
        )
    )
    units = np.random.default_rng(1).integers(30, size=80) if grouped else np.arange(80)
    units = np.unique(units, return_inverse=True)[1]
    groups = [f"car {unit:03}" for unit in units] if grouped else None
    figures = estimate(found, groups, seed=4, num_resamples=50)
    got = [
        (figure.low, figure.high)
        for figure in (figures.log_loss, figures.top1, figures.top5, figures.macro_f1, figures.ece)
    ]
    np.testing.assert_allclose(got, slow_intervals(found, units, 4, 50), atol=1e-6)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    num_covered = 0
    for trial in range(150):
        right = generator.uniform(0.2, 1, size=100)  # the mean loss is known
        probs = np.stack([right, 1 - right], axis=1)
        figure = estimate(outcomes(probs, np.zeros(100, int)), None, trial, 200).log_loss
        expected = 1 + 0.2 * np.log(0.2) / 0.8  # mean of -log u for u uniform in [0.2, 1]
        num_covered += figure.low <= expected <= figure.high
    assert 0.90 <= num_covered / 150 <= 0.99


@pytest.mark.parametrize("num_groups", [2, 5, 12])
def test_intervals_of_few_groups_cover_the_truth_as_often_as_they_say(num_groups: int) -> None:
    generator = np.random.default_rng(num_groups)
    groups, num_covered = np.repeat(np.arange(num_groups), 20), 0
    for trial in range(150):
        # A car's photos are all as hard as the car; its mean loss is 1 over all cars.
        losses = np.repeat(generator.normal(1, 0.2, num_groups), 20)
        right = np.exp(-losses)
        found = outcomes(np.stack([right, 1 - right], axis=1), np.zeros(len(losses), int))
        figure = estimate(found, groups, trial, 200).log_loss
        num_covered += figure.low <= 1 <= figure.high
    # Two cars drawn with replacement have few different means, so that theirs is on the safe side.
    assert 0.91 <= num_covered / 150 <= (1 if num_groups == 2 else 0.99)


def test_one_group_tells_nothing_of_how_far_off_it_is() -> None:
    figures = estimate(outcomes(*random_case(6, num_photos=300)), np.zeros(300, int))
    assert [figures.log_loss.low, figures.log_loss.high] == pytest.approx([0, 34.54], abs=0.01)
    assert (figures.ece.low, figures.ece.high) == (figures.macro_f1.low, figures.macro_f1.high)
    assert (figures.ece.low, figures.ece.high) == (0, 1)
    assert 0 < figures.top1.low < figures.top1.value < figures.top1.high < 1  # of one case


@pytest.mark.parametrize("degrees", [1, 2, 3.5, 30, 143, 1e4, 1e7, 1e30])
def test_student(degrees: float) -> None:
    assert student(degrees) == pytest.approx(stdtrit(degrees, 0.975), rel=1e-5)


def test_groups_widen_intervals() -> None:
    probs, truth = random_case(6, num_photos=300)
    found = outcomes(np.repeat(probs, 4, axis=0), np.repeat(truth, 4))
    alone = estimate(outcomes(probs, truth)).log_loss
    naive = estimate(found).log_loss
    grouped = estimate(found, np.repeat(np.arange(300), 4)).log_loss

    def width(figure: Estimate) -> float:
        return figure.high - figure.low

    assert width(grouped) == pytest.approx(width(alone), rel=0.1)
    assert width(naive) == pytest.approx(width(alone) / 2, rel=0.1)


def test_intervals_hold_their_value_and_stay_in_range() -> None:
    generator = np.random.default_rng(0)
    sure = generator.uniform(0.5, 1, size=500)
    truth = (generator.uniform(size=500) > sure).astype(np.intp)  # calibrated: error is all noise
    calibrated = estimate(outcomes(np.stack([sure, 1 - sure], axis=1), truth))
    perfect = estimate(outcomes(np.eye(5), np.arange(5)))
    for figures in (calibrated, perfect):
        for figure in (figures.top1, figures.top5, figures.macro_f1, figures.ece):
            assert 0 <= figure.low <= figure.value <= figure.high <= 1
    # Five of five right is no proof of never wrong (Wilson 1927).
    assert perfect.top1.low == pytest.approx(0.5655, abs=1e-3)
    assert perfect.top1.high == 1
    twice = estimate(outcomes(np.eye(5), np.arange(5)), groups=[0, 0, 1, 1, 1])
    assert twice.top1.low == pytest.approx(0.3424, abs=1e-3)
    nearly = outcomes(np.eye(20), np.array([1, *range(1, 20)]))
    for seed in range(8):  # the percentiles move beyond what is possible
        figures = estimate(nearly, seed=seed, num_resamples=50)
        assert figures.top1.high <= 1
        assert figures.log_loss.low >= 0
    assert calibrated.ece.low < calibrated.ece.value < calibrated.ece.high


def test_the_seed_decides_the_intervals() -> None:
    found = outcomes(*random_case(7))
    assert estimate(found, seed=1) == estimate(found, seed=1)
    assert estimate(found, seed=1) != estimate(found, seed=2)


@pytest.mark.parametrize(
    ("probs", "truth", "message"),
    [
        (np.ones((0, 3)), [], "at least one photo"),
        (np.ones((2, 3)), [0], "true class for each"),
        (np.ones(3), [0, 0, 0], "true class for each"),
        (np.ones((2, 3)), [0, 3], "0 to 2; got 0 to 3"),
        (np.ones((2, 3)), [0, -1], "got -1 to 0"),
        (np.array([[1.0, 0.0], [np.nan, 1.0]]), [0, 0], "the first is row 1"),
        (np.array([[1.0, 0.0], [-0.1, 1.1]]), [0, 0], "1 of 2 rows"),
        (np.array([[0.0, 0.0], [np.inf, 1.0]]), [0, 0], "2 of 2 rows"),
    ],
)
def test_refuses_what_cannot_be_scored(
    probs: NDArray[np.float64], truth: list[int], message: str
) -> None:
    with pytest.raises(PredictionsError, match=message):
        log_loss(probs, np.array(truth, dtype=np.intp))


def test_refuses_groups_of_other_photos() -> None:
    with pytest.raises(PredictionsError, match="one group for each of 200 photos"):
        estimate(outcomes(*random_case(8)), [1, 2])


@pytest.mark.parametrize("right", [1.0, 0.0])
def test_f1_of_few_photos_is_no_surer_than_top1(right: float) -> None:
    truth = np.arange(8) % 4
    probs = np.full((8, 4), 0.1)
    probs[np.arange(8), truth if right else (truth + 1) % 4] = 0.7
    found = estimate(outcomes(probs, truth, np.arange(4)))
    assert found.macro_f1.value == found.top1.value == right
    assert (found.macro_f1.low, found.macro_f1.high) == (found.top1.low, found.top1.high)
