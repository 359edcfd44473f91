"""What is read out of held-out predictions is what is in them."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from chajong.diagnosis import SHARES, Diagnosis
from chajong.errors import PredictionsError
from chajong.labels import Labels
from chajong.metrics import calibration_error
from chajong.predictions import Predictions

NAMES = ("a", "b", "c", "d")
LABELS = Labels(NAMES)


def predictions(probs: NDArray[np.float64], truth: NDArray[np.intp], bad: int = 0) -> Predictions:
    """One view; the last `bad` photos have no prediction."""
    statuses = ("ok",) * (len(probs) - bad) + ("unreadable: empty file",) * bad
    log_probs = np.log(probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)[:, None]
    log_probs[len(probs) - bad :] = np.nan
    return Predictions(
        ids=tuple(f"{row:03}" for row in range(len(probs))),
        statuses=statuses,
        classes=NAMES,
        views=("plain",),
        log_probs=log_probs,
        kind="oof",
        run="0" * 16,
        labels=tuple(NAMES[place] for place in truth),
    )


def drawn(num: int = 300, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet((0.4,) * 4, num)
    truth = (probs.cumsum(axis=1) > rng.random((num, 1))).argmax(axis=1)
    return probs, truth


@pytest.fixture
def found() -> Diagnosis:
    return Diagnosis.of(predictions(*drawn(), bad=3), LABELS)


def test_photos_without_a_prediction_are_left_out(found: Diagnosis) -> None:
    assert len(found.ids) == len(found.found.losses) == 297
    assert sum(row.num_photos for row in found.classes()) == 297
    assert sum(each.num_photos for each in found.reliability()) == 297


def test_reliability_adds_up_to_the_calibration_error(found: Diagnosis) -> None:
    bins = found.reliability()
    assert len(bins) == 15
    assert [each.confidence for each in bins] == sorted(each.confidence for each in bins)
    error = sum(each.num_photos * abs(each.right - each.confidence) for each in bins) / 297
    assert error == pytest.approx(calibration_error(found.found.confidence, found.right))
    for each in bins:
        assert 0 <= each.low <= each.right <= each.high <= 1
        assert each.high - each.low > 0.05


def test_an_interval_is_wilsons() -> None:
    # 8 of 10: 0.4902 to 0.9433 (Wilson 1927, z = 1.96).
    probs = np.array([[0.7, 0.1, 0.1, 0.1]] * 10)
    truth = np.array([0] * 8 + [1] * 2)
    (only,) = Diagnosis.of(predictions(probs, truth), LABELS).reliability()
    assert [only.low, only.high] == pytest.approx([0.4902, 0.9433], abs=1e-4)


def test_copies_of_a_photo_are_one_piece_of_evidence() -> None:
    # Each of the ten photos five times.
    probs = np.array([[0.7, 0.1, 0.1, 0.1]] * 50)
    table = predictions(probs, np.array([0] * 40 + [1] * 10))
    groups = {id_: place // 5 for place, id_ in enumerate(table.ids)}
    (only,) = Diagnosis.of(table, LABELS, groups).reliability()
    assert only.num_photos == 50
    assert [only.low, only.high] == pytest.approx([0.4902, 0.9433], abs=1e-4)


def test_the_surest_answers_are_counted(found: Diagnosis) -> None:
    rows = found.answered()
    assert tuple(row.share for row in rows) == SHARES
    assert rows[-1].risk == pytest.approx(1 - found.right.mean())
    half = next(row for row in rows if row.share == 0.5)
    surest = np.argsort(-found.found.confidence)[:148]
    assert half.risk == pytest.approx((~found.right[surest]).mean())
    assert half.least_prob == pytest.approx(found.found.confidence[surest].min())


def test_classes_and_pairs_agree_with_a_count(found: Diagnosis) -> None:
    truth, top = found.found.truth.tolist(), found.found.top.tolist()
    wrong = Counter((t, p) for t, p in zip(truth, top, strict=True) if t != p)
    rows = found.classes()
    assert [row.log_loss for row in rows] == sorted((r.log_loss for r in rows), reverse=True)
    for row in rows:
        place = NAMES.index(row.name)
        assert row.num_photos == truth.count(place)
        assert row.num_taken == max(num for (t, _), num in wrong.items() if t == place)
        assert wrong[place, NAMES.index(row.taken_for)] == row.num_taken
    pairs = found.mistaken()
    assert sum(pair.num + pair.num_back for pair in pairs) == sum(wrong.values())
    for pair in pairs:
        one, other = NAMES.index(pair.name), NAMES.index(pair.other)
        assert one < other
        assert (pair.num, pair.num_back) == (wrong[one, other], wrong[other, one])
        assert pair.num_photos == truth.count(one) + truth.count(other)
    sizes = [pair.num + pair.num_back for pair in pairs]
    assert sizes == sorted(sizes, reverse=True)


def test_the_surest_mistakes_come_first(found: Diagnosis) -> None:
    shown = found.surest_mistakes(5)
    assert [answer.confidence for answer in shown] == sorted(
        found.found.confidence[~found.right], reverse=True
    )[:5]
    assert all(answer.truth != answer.top for answer in shown)
    (first,) = found.taken(shown[0].truth, shown[0].top, 1)
    assert first == shown[0]


def test_equal_classes_are_no_mistake() -> None:
    probs = np.full((20, 4), 0.05)
    probs[:, 1] = 0.85
    table = predictions(probs, np.zeros(20, np.intp))
    assert Diagnosis.of(table, LABELS).right.sum() == 0
    merged = Diagnosis.of(table, Labels(NAMES, (("a", "b"),)))
    assert merged.right.all()
    assert merged.names == ("a", "c", "d")
    assert not merged.mistaken()
    assert not merged.surest_mistakes(3)
    assert merged.classes()[0].taken_for == ""


def test_nothing_to_diagnose_is_refused() -> None:
    with pytest.raises(PredictionsError, match="at least one photo"):
        Diagnosis.of(predictions(*drawn(4), bad=4), LABELS)
    with pytest.raises(PredictionsError, match="of other classes than the labels"):
        Diagnosis.of(predictions(*drawn(4)), Labels(NAMES[1:]))
