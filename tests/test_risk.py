"""Worlds whose truth is known: how often new photos are answered wrongly for a stated risk."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from chajong.catalogue import Car, Catalogue
from chajong.depths import DEEPEST_FIRST, NONE, Depths
from chajong.errors import DataError, PredictionsError
from chajong.intervals import wilson
from chajong.labels import Labels
from chajong.predictions import Predictions
from chajong.risk import Risks, Stated, Thresholds

NUM_REPEATS = 40


def world(rng: np.random.Generator, num: int, *, too_sure: bool = False) -> Risks:
    """Photos whose probabilities are true: a group is right as often as they say."""
    share = rng.beta([[0.5, 0.7, 0.5]], [[1.5, 0.7, 0.8]], (num, 3))
    wrong = 1 / (1 + np.exp(2 + 2.2 * rng.standard_normal(num)))
    probs = 1 - wrong[:, None] * np.cumprod(np.column_stack([np.ones(num), 1 - share]), axis=1)
    right = rng.random((num, 1)) < probs
    said = np.sqrt(probs) if too_sure else probs
    return Risks(said.astype(np.float32), right, np.arange(num))


def used(thresholds: Thresholds, new: Risks) -> Stated:
    return Stated.of(thresholds.risk, thresholds.deepest(new.sayable), new.right, new.groups)


@pytest.mark.parametrize("too_sure", [False, True])
@pytest.mark.parametrize("risk", [0.01, 0.02, 0.05, 0.1])
def test_new_photos_are_wrong_at_most_as_often_as_stated(risk: float, too_sure: bool) -> None:
    rng = np.random.default_rng(1)
    new = world(rng, 10_000, too_sure=too_sure)
    found = [
        used(world(rng, 2000, too_sure=too_sure).thresholds(risk), new) for _ in range(NUM_REPEATS)
    ]
    errors = np.array([one.error or 0.0 for one in found])
    assert (errors > risk + 0.01).mean() <= 0.05
    assert errors.mean() < risk
    # Not by saying nothing, and deeper answers come first.
    assert errors.mean() > 0.4 * risk
    assert np.mean([one.shares["none"] for one in found]) < 0.55
    # Whoever says the exact class of every photo breaks the promise.
    everything = Thresholds(risk, (0.0, None, None, None))
    assert (used(everything, new).error or 0) > risk + 0.01


def test_what_is_said_without_a_margin_breaks_the_promise_more_often() -> None:
    # The largest sets whose own error is at most the risk, as a fit without caution takes.
    rng = np.random.default_rng(2)
    new, over, surely_over = world(rng, 10_000), 0, 0
    for _ in range(NUM_REPEATS):
        held = world(rng, 300)
        order = np.argsort(-held.sayable[:, 0])
        rate = np.cumsum(~held.right[order, 0]) / np.arange(1, 301)
        least = float(held.sayable[order[np.flatnonzero(rate <= 0.05)[-1]], 0])
        over += (used(Thresholds(0.05, (least, None, None, None)), new).error or 0) > 0.06
        surely_over += (used(held.thresholds(0.05), new).error or 0) > 0.06
    assert over >= 5
    assert surely_over <= 2


def test_thresholds_by_hand() -> None:
    # 400 sure and right, then 100 of which each tenth is wrong, but the model is always right.
    probs = np.full((500, 4), 0.99, np.float32)
    probs[400:, :2] = 0.6
    right = np.ones((500, 4), bool)
    right[400::10, :2] = False
    risks = Risks(probs, right, np.arange(500))
    least = risks.thresholds(0.01).least
    assert [least[1], least[3]] == [None, None]
    assert [least[0], least[2]] == pytest.approx([0.99, 0.99])
    found = used(risks.thresholds(0.01), risks)
    assert found.shares == {"exact": 0.8, "generation": 0, "model": 0.2, "maker": 0, "none": 0}
    assert found.error == 0
    # With risk to spare everything is exact; with next to none nothing is said.
    assert risks.thresholds(0.1).least[0] == pytest.approx(0.6)
    assert risks.thresholds(0.001).least == (None,) * 4


def test_copies_are_no_more_evidence() -> None:
    one = Risks(np.full((100, 4), 0.9, np.float32), np.ones((100, 4), bool), np.arange(100))
    again = [getattr(one, name).repeat(20, axis=0) for name in ("sayable", "right", "groups")]
    assert one.thresholds(0.02).least == (None,) * 4
    assert Risks(*again).thresholds(0.02).least == (None,) * 4
    apart = Risks(again[0], again[1], np.arange(2000))
    assert apart.thresholds(0.02).least[0] == pytest.approx(0.9)


def test_equal_probabilities_are_said_together() -> None:
    # However they are ordered, right ones cannot be told from wrong ones of the same probability.
    probs = np.repeat(np.array([0.9, 0.5], np.float32), 1000)[:, None].repeat(4, axis=1)
    right = np.arange(2000)[:, None].repeat(4, axis=1) < 1500
    risks = Risks(probs, right, np.arange(2000))
    assert used(risks.thresholds(0.02), risks).shares["exact"] == 0.5


def test_stated_figures_are_what_new_photos_get() -> None:
    rng = np.random.default_rng(3)
    held, new = world(rng, 3000), world(rng, 20_000)
    stated, true = held.stated(0.02), used(held.thresholds(0.02), new)
    assert stated.num_photos == 3000
    assert sum(stated.shares.values()) == pytest.approx(1)
    assert (stated.low or 0) < (true.error or 0) < (stated.high or 0)
    assert stated.shares["none"] == pytest.approx(true.shares["none"], abs=0.05)


def test_copies_of_a_photo_are_stated_as_one() -> None:
    # Eight cars with fifty wrong copies each, and 392 that are right.
    groups = np.concatenate([np.repeat(np.arange(8), 50), np.arange(8, 400)])
    right = np.repeat((groups >= 8)[:, None], 4, axis=1)
    held = Risks(np.full((len(groups), 4), 0.9, np.float32), right, groups)
    stated = held.stated(0.05)
    assert stated.error == pytest.approx(0.02)
    assert stated.num_answered == len(groups)
    assert stated.shares["exact"] == pytest.approx(1)
    assert (stated.low, stated.high) == pytest.approx(wilson(0.02, 400))


def test_stated_figures_are_of_photos_that_are_not_fitted_on() -> None:
    # Probabilities that tell nothing, 5 % wrong: below that is luck, and does not last.
    rng = np.random.default_rng(4)
    errors = []
    for _ in range(100):
        right = np.repeat(rng.random((300, 1)) < 0.95, 4, axis=1)
        held = Risks(rng.random((300, 4)).astype(np.float32), right, np.arange(300))
        own, stated = used(held.thresholds(0.05), held), held.stated(0.05)
        if stated.error is not None:
            errors.append((own.error or 0.0, stated.error))
    own_error, stated_error = np.mean(errors, axis=0)
    assert own_error < 0.03
    assert stated_error > 0.04


@pytest.mark.parametrize("risk", [0.0, 1.0, -1.0, float("nan")])
def test_there_is_no_such_risk(risk: float) -> None:
    with pytest.raises(DataError, match="above 0 and below 1"):
        world(np.random.default_rng(0), 10).thresholds(risk)


def test_a_record_comes_back(tmp_path: Path) -> None:
    made = world(np.random.default_rng(0), 50)
    made.sayable[3:9, 2] = np.nan
    made.save(tmp_path / "risks.parquet")
    found = Risks.load(tmp_path / "risks.parquet")
    for name in ("sayable", "right", "groups"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
    (tmp_path / "risks.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="holds no record of risks"):
        Risks.load(tmp_path / "risks.parquet")


@pytest.mark.parametrize("spoil", ["shape", "range", "exact", "empty"])
def test_a_record_that_does_not_fit_is_refused(spoil: str) -> None:
    sayable, right = np.full((5, 4), 0.5, np.float32), np.ones((5, 4), bool)
    groups = np.arange(0 if spoil == "empty" else 5)
    if spoil == "shape":
        right = right[:, :2]
    elif spoil == "empty":
        sayable, right = sayable[:0], right[:0]
    else:
        sayable[2, 0] = 1.5 if spoil == "range" else np.nan
    with pytest.raises(DataError, match="A record of risks needs"):
        Risks(sayable, right, groups)


CARS = Catalogue(
    (
        Car("a1", "가", "A", "one", "I", year_from=2001, year_to=2005),
        Car("a2", "가", "A", "one", "I", year_from=2003, year_to=2009),
        Car("a3", "가", "A", "two", None),
        Car("b1", None, None, None, None),
        Car("b2", None, None, None, None, equal_to="b1"),
    )
)
LABELS = Labels(tuple(car.name for car in CARS.cars), (("b2", "b1"),))


def predictions(probs: NDArray[np.float64], truth: tuple[str, ...]) -> Predictions:
    n = len(probs)
    log_probs = np.log(probs).astype(np.float32)[:, None]
    ids = tuple(f"{k}.jpg" for k in range(n))
    return Predictions(ids, ("ok",) * n, LABELS.names, ("x",), log_probs, "oof", "", truth)


def test_the_likeliest_group_at_each_level() -> None:
    probs = np.array([[0.3, 0.25, 0.05, 0.1, 0.3], [0.05, 0.05, 0.8, 0.05, 0.05]])
    found = Depths.of(CARS, LABELS).likeliest(probs)
    assert DEEPEST_FIRST == ("exact", "generation", "model", "maker")
    # Equal classes count as one, 0.4, but have neither model nor maker.
    np.testing.assert_allclose(found.probs, [[0.4, 0.55, 0.55, 0.6], [0.8, 0.8, 0.8, 0.9]])
    assert found.named.tolist() == [[True] * 4, [True, False, True, True]]
    assert np.isnan(found.sayable[1, 1])


def test_held_out_answers_become_a_record() -> None:
    probs = np.array([[0.6, 0.3, 0.05, 0.025, 0.025], [0.05, 0.05, 0.1, 0.4, 0.4]])
    made = Risks.of(
        predictions(probs, ("a2", "b2")), LABELS, Depths.of(CARS, LABELS), {"0.jpg": 7, "1.jpg": 7}
    )
    # The second of a pair of equal classes is right as well.
    assert made.right.tolist() == [[False, True, True, True], [True] * 4]
    assert np.isnan(made.sayable[1, 1:]).all()
    assert made.groups.tolist() == [0, 0]
    with pytest.raises(PredictionsError, match=r"1 photos have no group, the first is '1\.jpg'"):
        Risks.of(predictions(probs, ("a2", "b2")), LABELS, Depths.of(CARS, LABELS), {"0.jpg": 7})


def test_a_level_without_a_name_is_passed_over() -> None:
    thresholds = Thresholds(0.02, (0.9, 0.5, 0.5, 0.5))
    sayable = np.array([[0.8, np.nan, 0.8, 0.8], [0.8, np.nan, np.nan, np.nan], [0.95] * 4])
    assert thresholds.deepest(sayable.astype(np.float32)).tolist() == [2, NONE, 0]
