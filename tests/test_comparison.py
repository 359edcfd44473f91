"""The statistics are tried on made-up losses whose truth is known."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from chajong.comparison import RETRAINING, Comparison, class_changes, compare, mcnemar
from chajong.errors import PredictionsError
from chajong.metrics import Estimate
from chajong.pairs import Pairs

_NUM_DRAWS = 200
_NUM_WORLDS = 160
_IDS = tuple(f"{number:05}" for number in range(2000))


def pairs_of(
    losses_a: NDArray[np.float64],
    losses_b: NDArray[np.float64],
    groups: NDArray[np.intp] | None = None,
    **more: Any,
) -> Pairs:
    num = losses_a.shape[1]
    plain: dict[str, Any] = {
        "ids": _IDS[:num],
        "losses_a": losses_a,
        "losses_b": losses_b,
        "right_a": losses_a < 0.7,
        "right_b": losses_b < 0.7,
        "groups": np.arange(num) if groups is None else groups,
        "classes": ("k",) * num,
        "left_out": {},
    }
    return Pairs(**{**plain, **more})


def world(
    rng: np.random.Generator,
    trainings: tuple[int, int] = (1, 1),
    *,
    effect: float = 0.0,
    training: float = 1e-9,
    photos: float = 0.0,
    taste: float = 0.0,
) -> Pairs:
    """Two recipes that differ by `effect` in truth, on some 600 photos in groups of one to three.

    A training moves all losses by `training`, and those of each photo by `photos`; each recipe
    likes some groups more than others, by `taste`, as skewed as losses are.
    """
    groups = np.repeat(np.arange(300), rng.integers(1, 4, size=300))
    hard = rng.exponential(0.8, size=300)[groups]

    def side(count: int) -> NDArray[np.float64]:
        liking = taste * (rng.exponential(size=300) - 1)[groups]
        whole = rng.normal(0, training, size=(count, 1))
        return np.asarray(hard + liking + whole + rng.normal(0, photos, (count, len(groups))))

    return pairs_of(side(trainings[0]), side(trainings[1]) + effect, groups)


def worlds(trainings: tuple[int, int] = (1, 1), **how: Any) -> list[Pairs]:
    rng = np.random.default_rng(7)
    return [world(rng, trainings, **how) for _ in range(_NUM_WORLDS)]


def alarms(made: list[Pairs], noise: float | None = None) -> float:
    """Share of verdicts other than noise."""
    found = [compare(pairs, noise=noise, num_resamples=_NUM_DRAWS) for pairs in made]
    return float(np.mean([each.verdict != "noise" for each in found]))


def coverage(made: list[Pairs], truth: float) -> float:
    found = [compare(pairs, num_resamples=500).difference for pairs in made]
    return float(np.mean([each.low <= truth <= each.high for each in found]))


def test_the_interval_holds_the_truth_in_95_of_100_worlds() -> None:
    made = worlds(effect=0.1, taste=0.4)
    assert 0.9 <= coverage(made, 0.1) <= 0.985
    # Near-duplicates are no independent evidence: without groups it is too narrow.
    alone = [replace(each, groups=np.arange(len(each.ids))) for each in made]
    assert coverage(alone, 0.1) < 0.88


def test_equal_recipes_are_called_noise_where_retraining_is_all() -> None:
    made = worlds(training=0.006)
    assert 0.01 <= alarms(made, 0.006) <= 0.09
    # Without the noise of the training nearly all are false alarms.
    assert alarms(made, 0.0) > 0.9


def test_equal_recipes_are_called_noise_where_photos_are_most() -> None:
    made = worlds(training=0.006, taste=0.4)
    assert 0.01 <= alarms(made, 0.006) <= 0.09


@pytest.mark.parametrize("trainings", [(3, 3), (5, 1)])
def test_equal_recipes_are_called_noise_by_a_measured_spread(trainings: tuple[int, int]) -> None:
    assert 0.01 <= alarms(worlds(trainings, training=0.02, taste=0.1)) <= 0.09
    # What a training does to single photos is not counted twice, and not forgotten.
    assert alarms(worlds(trainings, training=1e-9, photos=0.5)) <= 0.09


@pytest.mark.parametrize("num_groups", [4, 8, 15])
def test_few_groups_tell_little(num_groups: int) -> None:
    rng, called = np.random.default_rng(num_groups), 0
    groups = np.repeat(np.arange(num_groups), 20)
    for _ in range(400):
        losses = rng.exponential(size=(2, num_groups * 20))
        losses[1] += rng.normal(size=num_groups)[groups]  # each group likes one side more
        found = compare(
            pairs_of(losses[:1], losses[1:], groups), noise=0.0, num_resamples=_NUM_DRAWS
        )
        called += found.verdict != "noise"
    assert called <= 32  # 20, and what chance may do to it


def test_one_group_tells_nothing() -> None:
    losses = np.random.default_rng(0).exponential(size=(2, 50))
    with pytest.raises(PredictionsError, match=r"All 50 photo\(s\) .* belong together"):
        compare(pairs_of(losses[:1], losses[1:], np.zeros(50, np.intp)))


def test_better_recipes_are_found() -> None:
    how: dict[str, Any] = {"training": 0.006, "photos": 0.2}
    assert alarms(worlds((4, 4), effect=-0.03, **how)) > 0.8
    assert alarms(worlds((1, 1), effect=-0.05, **how), 0.006) > 0.8


def test_noise_of_single_photos_is_not_counted_twice() -> None:
    # All chance is in the photos: the bootstrap has it, the spread over trainings adds nothing.
    found = [compare(each, num_resamples=_NUM_DRAWS) for each in worlds((8, 8), photos=0.5)[:40]]
    widths = [
        (each.with_training.high - each.with_training.low)
        / (each.difference.high - each.difference.low)
        for each in found
    ]
    assert 0.95 < np.median(widths) < 1.15


def test_the_verdict_is_about_the_second() -> None:
    rng = np.random.default_rng(0)
    better = compare(world(rng, effect=-0.5, taste=0.1))
    worse = compare(world(rng, effect=0.5, taste=0.1))
    same = compare(world(rng, taste=0.1))
    assert [each.verdict for each in (better, worse, same)] == ["better", "worse", "noise"]
    assert better.difference.value < 0 < worse.difference.value
    assert better.top1_b > better.top1_a
    assert better.lines()[-1] == "verdict      better: B beats A"


def test_a_known_difference_by_hand() -> None:
    pairs = pairs_of(
        np.array([[0.2, 1.0, 2.0, 0.1]]),
        np.array([[0.1, 0.5, 2.4, 0.1]]),
        groups=np.array([0, 1, 1, 7]),
        classes=("x", "y", "x", "z"),
    )
    found = compare(pairs, noise=0.0, num_resamples=2000)
    assert (found.num_photos, found.num_groups) == (4, 3)
    assert found.log_loss_a == pytest.approx(0.825)
    assert found.log_loss_b == pytest.approx(0.775)
    assert found.difference.value == pytest.approx(-0.05)
    # Three groups of sums -0.1, -0.1, 0 and sizes 1, 2, 1, drawn three times: their mean
    # is -0.1 to 0. Of three groups that is too little: by sqrt(3 / 2), and t of two degrees.
    wider = math.sqrt(1.5) * 4.302653 / 1.959964
    assert found.difference.low == pytest.approx(-0.05 - 0.05 * wider, abs=0.01 * wider)
    assert (found.top1_a, found.top1_b, found.num_won, found.num_lost) == (0.5, 0.75, 1, 0)
    shares = {each.name: round(each.share, 6) for each in found.classes}
    assert list(shares) == ["y", "z", "x"]
    assert shares == {"y": -0.125, "z": 0.0, "x": 0.075}
    assert found.classes[-1].num_photos == 2
    assert found.classes[-1].log_loss_b == pytest.approx(1.25)


def test_classes_add_up_to_the_difference() -> None:
    rng = np.random.default_rng(3)
    made = world(rng, (2, 3), effect=0.1, photos=0.3)
    made = replace(made, classes=tuple(rng.choice(list("abc"), len(made.ids)).tolist()))
    found = compare(made, num_resamples=10)
    assert sum(each.share for each in class_changes(made)) == pytest.approx(found.difference.value)


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (1, 0), (5, 5), (9, 2), (2, 9), (40, 61)])
def test_mcnemar_is_the_exact_binomial_test(won: int, lost: int) -> None:
    expected = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many() -> None:
    assert mcnemar(9800, 10200) == pytest.approx(binomtest(9800, 20000).pvalue, rel=1e-9)
    assert mcnemar(0, 20_000) == 0


def test_near_duplicates_win_once() -> None:
    losses = np.full((1, 6), 1.0)
    gained = losses.copy()
    gained[0, :4] = 0.1
    groups = np.array([0, 0, 0, 1, 2, 3])
    found = compare(pairs_of(losses, gained, groups), num_resamples=10)
    assert (found.num_won, found.num_lost, found.p_top1) == (2, 0, 0.5)


@pytest.mark.parametrize("trainings", [(1, 3), (2, 1)])
def test_more_trainings_of_a_side_win_nothing_by_themselves(trainings: tuple[int, int]) -> None:
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng([seed, *trainings])
        sure = rng.beta(6, 1, size=600)  # how often any training is right about a photo
        right = [rng.random((num, 600)) < sure for num in trainings]
        losses = [np.where(each, 0.1, 2.0) + rng.random(each.shape) * 1e-3 for each in right]
        alarms += compare(pairs_of(losses[0], losses[1]), num_resamples=2).p_top1 < 0.05
    assert alarms <= 6  # two are to be expected


def test_the_assumed_noise_is_said() -> None:
    pairs = world(np.random.default_rng(0), effect=0.01, taste=0.1)
    found = compare(pairs, ("old", "new"), differs=["recipe       optim.lr: 1 -> 2"])
    assert (found.retraining, found.degrees) == (RETRAINING, 0)
    lines = found.lines()
    assert lines[:3] == ["A            old", "B            new", "recipe       optim.lr: 1 -> 2"]
    assert any("about 0.0060 (assumed; --noise, or more seeds" in line for line in lines)
    assert lines[-1].startswith("verdict      noise: ")
    assert any(line.startswith("photos       ") and "300 but for near" in line for line in lines)
    given = compare(pairs, noise=0.5)
    assert given.retraining == 0.5
    assert given.with_training.high > 0.9


def test_a_measured_noise_is_said() -> None:
    rng = np.random.default_rng(0)
    pairs = replace(world(rng, (6, 1), training=0.05), left_out={"held out by the first only": 3})
    found = compare(pairs)
    assert found.degrees == 5
    assert found.retraining == pytest.approx(pairs.losses_a.mean(axis=1).std(ddof=1))
    said = "\n".join(found.lines())
    assert "measured on 7 trainings" in said
    assert "A and 5 more of its recipe, other seeds" in said
    assert "left out     3 photo(s) held out by the first only" in said


def test_equal_predictions_are_noise() -> None:
    pairs = world(np.random.default_rng(0))
    found = compare(replace(pairs, losses_b=pairs.losses_a, right_b=pairs.right_a))
    assert found.difference == Estimate(0, 0, 0)
    assert (found.verdict, found.p_top1) == ("noise", 1)
    assert found.lines()[-1] == "verdict      noise: both say the same of every photo"


def test_trainings_that_differ_are_no_better_than_themselves() -> None:
    rng = np.random.default_rng(0)
    losses = rng.exponential(size=(3, 200))
    losses -= losses.mean(axis=1, keepdims=True) / 2  # less apart than chance on each photo tells
    found = compare(pairs_of(losses, losses))
    assert found.verdict == "noise"
    assert found.with_training == Estimate(0.0, 0.0, 0.0)


def test_the_same_photos_give_the_same_interval() -> None:
    pairs = world(np.random.default_rng(0), taste=0.2)
    assert compare(pairs) == compare(pairs)
    assert compare(pairs, seed=1).difference != compare(pairs).difference


def test_a_comparison_is_read_back(tmp_path: Path) -> None:
    pairs = replace(world(np.random.default_rng(0), (2, 1)), left_out={"held out elsewhere": 2})
    found = compare(pairs, differs=["x"])
    found.save(tmp_path / "c.json")
    assert Comparison.load(tmp_path / "c.json") == found
    assert json.loads((tmp_path / "c.json").read_text())["verdict"] == found.verdict
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(PredictionsError, match="Make it again: chajong compare"):
        Comparison.load(tmp_path / "c.json")


@pytest.mark.parametrize("noise", [-0.1, np.inf, np.nan])
def test_a_noise_that_cannot_be(noise: float) -> None:
    with pytest.raises(PredictionsError, match="must be a number of 0 or more; got"):
        compare(world(np.random.default_rng(0)), noise=noise)


def test_figures_that_cannot_be() -> None:
    found = compare(world(np.random.default_rng(0)))
    for wrong in (Estimate(1, 2, 3), Estimate(np.nan, np.nan, np.nan), Estimate(0, -np.inf, 1)):
        with pytest.raises(PredictionsError, match="A difference must lie in its interval"):
            replace(found, with_training=wrong)
