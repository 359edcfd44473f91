"""The comparison: honest, cheap where it can be, and the same every time."""

from dataclasses import replace

import numpy as np
import pytest

from chajong.blending.fit import losses
from chajong.blending.methods import METHODS, Method, Table
from chajong.blending.nested import cheapest_good_enough, select_method
from chajong.pooling import Fitted, normalised
from tests.blending.made_up import made_up


def _table(num_photos: int, noises: tuple[float, ...], sharpness: float = 1.0) -> Table:
    voices, truth = made_up(num_photos, noises, sharpness=sharpness)
    views = ("plain", "flip", "zoom", "large")[: len(noises)]
    members = np.zeros(len(noises), np.intp)
    return Table(voices, truth, np.arange(num_photos), members, views, budget=3)


def test_what_is_right_already_is_left_alone() -> None:
    found = select_method(_table(1500, (0.0, 3.0)))
    assert found.methods[found.chosen].name == "plain"


def test_overconfidence_is_cured() -> None:
    found = select_method(_table(1500, (0.5, 0.5), sharpness=3.0))
    by_name = dict(zip([m.name for m in found.methods], found.losses.mean(axis=1), strict=True))
    assert by_name["temperature"] < by_name["flip"] - 0.2
    assert found.fitted.temperature > 2


def test_one_hopeless_photo_costs_what_the_competition_lets_it_cost() -> None:
    table = _table(300, (0.5, 0.5))
    voices = table.voices.copy()
    wrong = (table.truth[0] + 1) % voices.shape[2]
    voices[0] = np.where(np.arange(voices.shape[2]) == wrong, 0, -1000)
    found = select_method(replace(table, voices=voices))
    assert found.losses.max() == pytest.approx(34.539, abs=1e-3)


def test_a_better_view_is_found() -> None:
    found = select_method(_table(2000, (1.5, 1.5, 0.3)))
    assert found.fitted.weights[2] > 0.5
    assert found.losses[found.chosen].mean() < found.losses[1].mean() - 0.05


def test_looks_are_those_of_the_fit_that_is_used() -> None:
    table = _table(300, (1.0, 1.0, 1.0))

    def greedy(rows: Table) -> Fitted:
        # Frugal on most of the photos, and not on all.
        num = 3 if len(rows.truth) == 300 else 1
        return Fitted(np.eye(3)[:num].sum(axis=0) / num, "log")

    def steady(_: Table) -> Fitted:
        return Fitted(np.array([0.5, 0.5, 0]), "log")

    found = select_method(table, (Method("greedy", "", greedy), Method("steady", "", steady)))
    assert found.num_looks == (3, 2)
    assert np.count_nonzero(found.fitted.weights) == found.num_looks[found.chosen]


def test_the_nested_table_is_not_scored_by_itself() -> None:
    # Voices of pure chance: whatever is chosen or fitted cannot help on held-out photos.
    rng = np.random.default_rng(0)
    voices = normalised(rng.normal(0, 1, (150 * 12, 8)).astype(np.float32)).reshape(150, 12, 8)
    truth = rng.integers(0, 8, 150)
    views = ("plain", "flip", *map(str, range(10)))
    table = Table(voices, truth, np.arange(150), np.zeros(12, np.intp), views, budget=4)
    found = select_method(table)
    nested = losses(found.nested, truth).mean()
    assert nested > np.log(8) - 0.02
    vector = METHODS[-1].fit(table)
    assert losses(vector(voices), truth).mean() < np.log(8) - 0.02


def test_groups_stay_in_one_fold() -> None:
    # Each photo four times, its truth known only from its copies: a leak would score far better.
    rng = np.random.default_rng(3)
    once = normalised(rng.normal(0, 1, (60, 5)).astype(np.float32))
    truth = np.repeat(rng.integers(0, 5, 60), 4)
    voices = np.repeat(once, 4, axis=0)[:, None]
    groups = np.repeat(np.arange(60), 4)
    table = Table(voices, truth, groups, np.zeros(1, np.intp), ("plain",), budget=1)
    found = select_method(table)
    per_group = found.nested.reshape(60, 4, 5)
    np.testing.assert_array_equal(per_group, np.repeat(per_group[:, :1], 4, axis=1))


def test_it_is_the_same_every_time() -> None:
    table = _table(600, (0.5, 1.0, 1.0))
    one, other = select_method(table), select_method(table)
    np.testing.assert_array_equal(one.losses, other.losses)
    np.testing.assert_array_equal(one.nested, other.nested)
    assert one.chosen == other.chosen


@pytest.mark.parametrize(
    ("means", "looks", "wanted"),
    [
        ((1.0, 0.5, 0.5), (1, 2, 2), 1),
        ((0.5, 0.5, 0.5), (4, 2, 2), 1),
        ((0.9, 1.0, 0.1), (1, 1, 9), 2),
    ],
)
def test_the_cheapest_good_one_is_taken(
    means: tuple[float, ...], looks: tuple[int, ...], wanted: int
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (3, 400))
    lost = np.array(means)[:, None] + noise - noise.mean(axis=1, keepdims=True)
    assert cheapest_good_enough(lost, np.arange(400), looks) == wanted
