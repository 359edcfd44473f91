"""Light: measured, changed, and found out from photos that have no partner."""

import numpy as np
import pytest
from numpy.typing import NDArray

from chajong.photos.tone import (
    AS_IT_IS,
    MEASURES,
    ToneChange,
    change_tone,
    fit_change,
    levels,
    measures,
)


def draw(num: int, seed: int) -> NDArray[np.uint8]:
    """Photos of different light: a few soft patches with some noise."""
    rng = np.random.default_rng(seed)
    patches = rng.beta(2, 2, (num, 6, 6, 3)) * rng.uniform(0.5, 1, (num, 1, 1, 1))
    large = patches.repeat(8, axis=1).repeat(8, axis=2) + rng.normal(0, 0.02, (num, 48, 48, 3))
    photos: NDArray[np.uint8] = np.rint(255 * large.clip(0, 1)).astype(np.uint8)
    return photos


def test_levels_are_quantiles_of_grey() -> None:
    photo = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    found = levels(photo)[0]
    assert found[[0, -1]] == pytest.approx([4 / 255, 252 / 255], abs=0.005)
    assert np.diff(found).min() > 0
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert levels(red)[0] == pytest.approx(0.299)


def test_measures_tell_what_they_are_named_after() -> None:
    photos = draw(1, 0)
    grey = photos.mean(axis=3, keepdims=True).repeat(3, axis=3).astype(np.uint8)
    soft = (photos // 2 + photos.mean(axis=(1, 2), keepdims=True) / 2).astype(np.uint8)
    blurred = photos[:, ::4, ::4].repeat(4, axis=1).repeat(4, axis=2)
    plain, dark, flat, colourless, dull = (
        dict(zip(MEASURES, measures(x)[0].tolist(), strict=True))
        for x in (photos, photos // 2, soft, grey, blurred)
    )
    assert dark["brightness"] == pytest.approx(plain["brightness"] / 2, abs=0.01)
    assert dark["shadows"] < plain["shadows"]
    assert dark["lights"] < plain["lights"]
    assert flat["contrast"] == pytest.approx(plain["contrast"] / 2, abs=0.01)
    assert colourless["colour"] == 0 < plain["colour"]
    assert dull["sharpness"] < plain["sharpness"]


def test_a_curve_is_exposure_times_a_power() -> None:
    photos = draw(2, 0)
    curves = np.log([[1.0, 1.0], [0.5, 2.0]])
    found = change_tone(photos, curves)
    np.testing.assert_array_equal(found[0], photos[0])
    wanted = np.rint(255 * 0.5 * (photos[1] / 255) ** 2)
    np.testing.assert_array_equal(found[1], wanted.astype(np.uint8))
    bright = change_tone(photos[:1], np.log([[100.0, 1.0]]))
    assert set(np.unique(bright)) <= {0, 255} | set(range(0, 256, 100))


def test_the_change_is_found_without_partners() -> None:
    here, there = draw(400, 1), draw(300, 2)
    own = np.random.default_rng(3).normal(0, (0.4, 0.1), (300, 2))
    darker = change_tone(there, np.log([[0.6, 1.3]]) + own)
    found = fit_change(levels(here), levels(darker), 0)
    again = change_tone(here, found.draw(400, 4))
    before, wanted, after = (measures(x)[:, :4].mean(axis=0) for x in (here, darker, again))
    assert (np.abs(after - wanted) < 0.2 * np.abs(before - wanted)).all()
    assert found.exposure == pytest.approx(np.log(0.6), abs=0.15)
    assert found.gamma == pytest.approx(np.log(1.3), abs=0.2)
    spread = (measures(x)[:, 0].std() for x in (darker, again))
    assert next(spread) == pytest.approx(next(spread), rel=0.15)


def test_no_change_is_found_where_there_is_none() -> None:
    changes = [fit_change(levels(draw(80, 10 + i)), levels(draw(60, 90 + i)), i) for i in range(12)]
    assert sum(change.is_none for change in changes) >= 10
    assert AS_IT_IS.is_none
    assert not AS_IT_IS.draw(5, 0).any()
    assert not ToneChange(exposure_spread=0.1).is_none


@pytest.mark.parametrize(("num_here", "num_there"), [(100, 400), (400, 100)])
def test_chance_is_seldom_taken_for_a_change(num_here: int, num_there: int) -> None:
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shades = rng.normal(0.4, 0.1, (num_here + num_there, 1)) + np.linspace(-0.3, 0.3, 32)
        rows = shades.clip(0, 1).astype(np.float32)
        found.append(fit_change(rows[:num_here], rows[num_here:], seed) != AS_IT_IS)
    assert sum(found) <= 4  # 1 in 40; more than 4 of 40 come in one of 300 cases
