"""Estimates of a loss that is known here: how near they come, and how often the interval holds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chajong.errors import PredictionsError
from chajong.expectation import Expectation, capped_odds, effective_size, expect
from chajong.photos.tone import ToneChange
from tests.worlds import World, without_light

HARDER = World(num_held=800, num_asked=800, shift=1.0, sharpness=1.1)


def test_weights_find_the_loss_that_home_misses() -> None:
    draws = [HARDER.draw(seed) for seed in range(8)]
    found = [expect(evidence, num_resamples=2) for evidence, _ in draws]
    loss = np.mean([loss for _, loss in draws])
    assert np.mean([each.value for each in found]) == pytest.approx(loss, rel=0.06)
    assert np.mean([each.out_of_fold for each in found]) < 0.85 * loss
    assert all(0.6 < each.told_apart < 0.9 for each in found)
    assert all(each.effective_photos < 0.7 * each.num_held_out for each in found)


def test_answers_tell_of_harder_photos_where_measures_do_not() -> None:
    draws = [HARDER.draw(seed) for seed in range(8)]
    found = [expect(without_light(evidence), num_resamples=2) for evidence, _ in draws]
    loss = np.mean([loss for _, loss in draws])
    assert np.mean([each.value for each in found]) == pytest.approx(loss, rel=0.06)
    assert all(abs(each.told_apart - 0.5) < 0.06 for each in found)


def test_nine_intervals_in_ten_hold_the_truth() -> None:
    world, off = World(num_held=120, num_asked=120), []
    for seed in range(60):
        evidence, loss = world.draw(seed)
        found = expect(evidence, seed, num_resamples=6)
        off.append((loss - found.value) / (found.high - found.value))
    assert 48 <= np.sum(np.abs(off) <= 1) <= 59  # 54, and what chance may do to it
    # Nor is it as wide as to hold everything: its end is 1.64 standard deviations away.
    assert 1.644854 * np.std(off) == pytest.approx(1, abs=0.2)


def test_copies_change_nothing() -> None:
    once = expect(World().draw(5)[0], num_resamples=20)
    often = expect(World(copies=9).draw(5)[0], num_resamples=20)
    assert often.out_of_fold == pytest.approx(once.out_of_fold)
    assert often.num_held_out == once.num_held_out == 400
    assert often.effective_photos == pytest.approx(once.effective_photos, rel=0.3)
    assert often.value == pytest.approx(once.value, rel=0.05)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.3)


def test_the_same_seed_says_the_same() -> None:
    evidence, _ = World(num_models=3, noise=0.5).draw(0)
    first, second = (expect(evidence, 4, num_resamples=3) for _ in range(2))
    assert first == second
    assert expect(evidence, 5, num_resamples=3) != first


def test_effective_size() -> None:
    assert effective_size(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_size(np.array([1.0, 0, 0, 0])) == pytest.approx(1)
    assert effective_size(np.array([1.0, 2, 3])) == pytest.approx(36 / 14)


def test_weights_are_capped() -> None:
    logits = np.concatenate([np.zeros(99), [1000.0]])
    assert capped_odds(logits, 0.9).tolist() == [1.0] * 100
    found = capped_odds(np.log(np.arange(1.0, 101)), 0.5)
    np.testing.assert_allclose(found[:50], np.arange(1.0, 51))
    assert (found[50:] == 50.5).all()


def test_harder_photos_are_said_though_a_mean_makes_up_for_them() -> None:
    evidence, _ = World(num_models=5, shift=0.7, noise=1.5).draw(0)
    found = expect(evidence, num_resamples=2)
    assert found.value < 1.1 * found.out_of_fold < found.one_model
    assert any("harder" in line for line in found.warnings)


def test_it_says_when_not_to_believe_it() -> None:
    evidence, _ = World(shift=3.0).draw(0)
    told = replace(evidence, outside=0.4, num_unreadable=7, num_learned=3)
    found = expect(told, num_resamples=2)
    said = "\n".join(found.warnings)
    for part in ("told apart 0.98", "are worth", "40% of the photos", "harder", "7 photo(s)"):
        assert part in said
    assert "3 photo(s) asked about are files that were learned from" in said
    assert len(found.warnings) == 6
    assert expect(World().draw(0)[0], num_resamples=2).warnings == ()


def test_it_is_told_and_kept(tmp_path: Path) -> None:
    light = ToneChange(exposure=float(np.log(0.6)))
    found = replace(expect(World().draw(0)[0], num_resamples=2), light=light, warnings=("Look.",))
    told = "\n".join(found.lines())
    for part in (f"{found.value:.4f}", f"{found.low:.4f} to", "exposure x 0.60", "warning: Look."):
        assert part in told
    found.save(tmp_path / "said.json")
    kept = json.loads((tmp_path / "said.json").read_text())
    assert kept["value"] == found.value
    assert kept["light"]["exposure"] == light.exposure
    assert kept["effective_photos"] == found.effective_photos


def test_an_interval_holds_its_value() -> None:
    found = expect(World().draw(0)[0], num_resamples=2)
    assert isinstance(found, Expectation)
    with pytest.raises(PredictionsError, match="low <= value <= high"):
        replace(found, high=found.value / 2)
    with pytest.raises(PredictionsError, match="finite"):
        replace(found, high=float("inf"))
