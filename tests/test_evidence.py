"""What evidence refuses, and what is foretold from it."""

from dataclasses import replace

import numpy as np
import pytest

from chajong.errors import PredictionsError
from chajong.evidence import foretell, foretold, judge_held_out, share_outside
from tests.worlds import NUM_CLASSES, World, log_softmax


def test_a_law_foretells_its_own_entropy_and_the_uniform_one_when_hot() -> None:
    law = log_softmax(np.random.default_rng(0).normal(0, 2, (5, 4)))
    own = foretold(law, -law[None])[0]
    assert own.shape[0] == 5
    assert np.diff(own, axis=1).min() > 0  # the hotter the law, the more often it is wrong
    entropy = -(np.exp(law) * law).sum(axis=1)
    assert (own[:, 0] < entropy).all()
    assert (entropy < own[:, -1]).all()
    assert (own[:, -1] < -law.mean(axis=1)).all()


def test_copies_count_as_one_photo() -> None:
    once, _ = World().draw(3)
    often, _ = World(copies=9).draw(3)
    plain, copied = judge_held_out(once), judge_held_out(often)
    assert len(copied.losses) > 1.8 * len(plain.losses)
    assert copied.shares.sum() == pytest.approx(len(plain.losses))
    kept = np.average(copied.losses, weights=copied.shares)
    assert kept == pytest.approx(plain.losses.mean())
    assert copied.losses.mean() < 0.7 * kept


def test_groups_are_drawn_whole() -> None:
    held = judge_held_out(World(num_held=50, copies=3).draw(0)[0])
    rows = held.redrawn(np.random.default_rng(1))
    times = np.bincount(rows, minlength=len(held.units))
    for unit in range(50):
        assert len(set(times[held.units == unit].tolist())) == 1
    assert sum(times[held.units == unit][0] for unit in range(50)) == 50


@pytest.mark.parametrize(("num_models", "noise"), [(2, 1.0), (3, 1.0), (3, 2.0), (5, 1.0)])
def test_the_loss_of_a_mean_of_models_is_foretold(num_models: int, noise: float) -> None:
    world = World(3000, 3000, num_models, noise=noise, sharpness=1.3)
    evidence, loss = world.draw(2)
    held, every = judge_held_out(evidence), np.arange(3000)
    one_model, value = foretell(evidence).conclude(held, every, np.ones(3000))
    assert one_model - loss > 0.15
    assert one_model - value == pytest.approx(one_model - loss, rel=0.1)


def test_the_gain_is_exact_whatever_the_truth() -> None:
    evidence, _ = World(num_models=3, noise=1.0).draw(0)
    asked, rows = evidence.asked.astype(np.float64), np.arange(400)
    mean = log_softmax(asked.mean(axis=0))
    for truth in np.random.default_rng(0).integers(0, NUM_CLASSES, (3, 400)):
        one_model, of_the_mean = -asked[:, rows, truth].mean(), -mean[rows, truth].mean()
        assert foretell(evidence).gain == pytest.approx(one_model - of_the_mean, abs=1e-5)


def test_models_that_agree_gain_nothing() -> None:
    evidence, _ = World(num_models=1).draw(0)
    evidence = replace(evidence, asked=np.repeat(evidence.asked, 4, axis=0))
    held = judge_held_out(evidence)
    one_model, value = foretell(evidence).conclude(held, np.arange(400), np.ones(400))
    assert value == pytest.approx(one_model, abs=1e-6)


def test_the_noise_of_answers_falls_with_their_number() -> None:
    few, many = (foretell(World(num_asked=num).draw(0)[0]) for num in (200, 3200))
    assert many.noise_at(0.9) == pytest.approx(few.noise_at(0.9) / 16, rel=0.2)
    spread = np.std([World(num_held=20, num_asked=200).draw(seed)[1] for seed in range(200)])
    assert few.noise_at(0.9) < spread**2 * 1.3  # the photos themselves are chance too


def test_photos_unlike_all_others_are_outside() -> None:
    rng = np.random.default_rng(0)
    here, alike = (np.abs(rng.standard_normal((600, 8))) for _ in range(2))
    apart = np.concatenate([alike[:450], -alike[450:]])
    groups = np.arange(600)
    assert share_outside(here, groups, alike) < 0.03
    assert share_outside(here, groups, apart) == pytest.approx(0.25, abs=0.03)
    # A near-duplicate is no proof that photos like these are known.
    twice = np.concatenate([here, here])
    assert share_outside(twice, np.tile(groups, 2), alike) == share_outside(here, groups, alike)


def test_evidence_that_does_not_fit_is_refused() -> None:
    evidence, _ = World().draw(0)
    with pytest.raises(PredictionsError, match="does not fit together"):
        replace(evidence, plain=evidence.plain[:-1])
    with pytest.raises(PredictionsError, match=r"Got 400 and 3\."):
        replace(evidence, asked=evidence.asked[:, :3])
    with pytest.raises(PredictionsError, match=r"Got 1 and 400\."):
        replace(evidence, groups=np.zeros(400, np.int64))
    for name in ("measures", "shifted_measures", "asked_measures", "plain", "asked"):
        holed = getattr(evidence, name).copy()
        holed.flat[0] = np.nan
        with pytest.raises(PredictionsError, match="or numbers are missing"):
            replace(evidence, **{name: holed})
    with pytest.raises(PredictionsError, match=r"Got measures of \[400, 400, 399\]"):
        replace(evidence, asked_measures=evidence.asked_measures[:-1])
