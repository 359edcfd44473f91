"""What is fitted is found where it is known."""

import numpy as np
import pytest
from scipy.optimize import minimize

from chajong.blending.fit import (
    fit_linear,
    fit_log,
    fit_temperature,
    fit_vector,
    losses,
    prune,
    select,
    standard_error,
)
from chajong.pooling import Vector, normalised, pool
from tests.blending.made_up import NUM_CLASSES, made_up


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_temperature_is_found_again(temperature: float) -> None:
    voices, truth = made_up(4000, (0.0,), sharpness=temperature)
    assert fit_temperature(voices[:, 0], truth) == pytest.approx(temperature, rel=0.06)


def test_log_weights_are_the_optimum_of_a_general_optimiser() -> None:
    voices, truth = made_up(1500, (0.5, 1.5, 1.0))

    def loss(weights: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        logits = np.einsum("k,nkc->nc", np.abs(weights), voices.astype(np.float64))
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return float(-logits[np.arange(len(truth)), truth].mean())

    wanted = minimize(loss, np.full(3, 0.3), method="Nelder-Mead", options={"xatol": 1e-6})
    np.testing.assert_allclose(fit_log(voices, truth), np.abs(wanted.x), atol=5e-3)


def test_linear_weights_are_the_optimum_on_a_grid() -> None:
    voices, truth = made_up(3000, (0.5, 1.5))

    def loss(first: float) -> float:
        return float(losses(pool(voices, np.array([first, 1 - first]), "linear"), truth).mean())

    grid = np.linspace(0.01, 0.99, 99)
    best = grid[np.argmin([loss(first) for first in grid])]
    assert fit_linear(voices, truth)[0] == pytest.approx(best, abs=0.02)


def test_noise_gets_no_weight_and_is_dropped() -> None:
    voices, truth = made_up(2000, (0.3, 0.3))
    noise = normalised(np.random.default_rng(1).normal(0, 2, voices[:, 0].shape).astype(np.float32))
    voices = np.concatenate([voices, noise[:, None]], axis=1)
    groups, members = np.arange(len(truth)), np.zeros(3, np.intp)
    weights = prune(voices, truth, members, 3, groups, fit_log, "log")
    assert weights[2] == 0
    assert (weights[:2] > 0.2).all()
    assert select(voices, truth, members, 3, "log")[2] == 0


def test_a_voice_said_twice_is_looked_at_once() -> None:
    voices, truth = made_up(1500, (0.5,))
    twice = np.repeat(voices, 2, axis=1)
    weights = prune(twice, truth, np.zeros(2, np.intp), 2, np.arange(1500), fit_log, "log")
    assert np.count_nonzero(weights) == 1


def test_many_voices_alike_are_not_nothing() -> None:
    voices, truth = made_up(500, (0.0,), sharpness=2.0)
    many = np.repeat(voices, 60, axis=1)
    np.testing.assert_allclose(fit_linear(many, truth), 1 / 60)
    inverse = 1 / fit_temperature(voices[:, 0], truth)
    assert fit_log(many, truth).sum() == pytest.approx(inverse, rel=1e-4)
    weights = prune(many, truth, np.repeat((0, 1, 2), 20), 4, np.arange(500), fit_linear, "linear")
    assert weights.sum() == pytest.approx(1)


def test_answers_that_are_worse_than_none_are_made_as_mild_as_may_be() -> None:
    voices, _ = made_up(100, (1.0,), sharpness=1.0)
    said, truth = voices[:, 0], voices[:, 0].argmin(axis=1)
    assert fit_temperature(said, truth) == 20
    mild = normalised(said / np.float32(20))
    assert losses(mild, truth).mean() < losses(said, truth).mean()


def test_the_budget_of_each_member_is_kept() -> None:
    voices, truth = made_up(1500, (1.0,) * 6)
    members = np.repeat([0, 1], 3)
    for weights in (
        select(voices, truth, members, 2, "log"),
        prune(voices, truth, members, 2, np.arange(1500), fit_log, "log"),
    ):
        used = np.bincount(members, weights > 0, 2)
        assert used.max() <= 2
        assert used.sum() > 2


def test_greedy_selection_is_no_worse_than_the_best_voice() -> None:
    voices, truth = made_up(800, (0.2, 3.0, 3.0))
    weights = select(voices, truth, np.zeros(3, np.intp), 3, "log")
    best = losses(voices[:, 0], truth).mean()
    assert losses(pool(voices, weights, "log"), truth).mean() <= best + 1e-6


def test_vector_scaling_corrects_classes_and_is_held_back_without_data() -> None:
    voices, truth = made_up(6000, (0.0,))
    off = Vector((1.0,) * NUM_CLASSES, (0.8, -0.8, 0.0, 0.0, 0.0, 0.0))(voices[:, 0])
    fitted = fit_vector(off[:4000], truth[:4000])
    held = slice(4000, None)
    wanted = losses(voices[held, 0], truth[held]).mean()
    assert losses(fitted(off[held]), truth[held]).mean() < wanted + 0.01
    assert losses(off[held], truth[held]).mean() > wanted + 0.03
    few = fit_vector(off[:8], truth[:8])
    assert np.abs(few.shift).max() < np.abs(fitted.shift).max()


def test_a_class_without_a_photo_is_not_ruled_out() -> None:
    voices, truth = made_up(900, (0.5,), sharpness=1.5)
    said, is_gone = voices[:, 0], truth == 0
    costs = [
        losses(fit_vector(said[rows], truth[rows])(said[is_gone]), truth[is_gone]).mean()
        for rows in (slice(None), ~is_gone)
    ]
    assert costs[1] < costs[0] + 0.3


def test_the_gradients_are_right() -> None:
    voices, truth = made_up(300, (0.5, 1.0))
    # At the optimum nothing nearby is better.
    weights = fit_log(voices, truth)
    least = losses(pool(voices, weights, "log"), truth).mean()
    for k in range(2):
        for step in (-0.02, 0.02):
            moved = weights.copy()
            moved[k] = max(0.0, moved[k] + step)
            assert losses(pool(voices, moved, "log"), truth).mean() >= least - 1e-6


def test_copies_are_no_independent_evidence() -> None:
    values = np.random.default_rng(0).normal(size=200)
    alone = standard_error(values, np.arange(200))
    assert alone == pytest.approx(values.std(ddof=1) / np.sqrt(200))
    copied = standard_error(np.repeat(values, 4), np.repeat(np.arange(200), 4))
    assert copied == pytest.approx(alone)
