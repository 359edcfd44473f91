"""What the mean of models gains is known without labels, and its temperature is found."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from chajong.blending.average import Asked, expected, foretell_mean, gains
from chajong.blending.blend import Averaging
from chajong.blending.fit import fit_temperature, losses
from chajong.blending.methods import METHODS, Table
from chajong.blending.nested import Selection, select_method
from chajong.pooling import Floats, normalised
from tests.blending.made_up import NUM_CLASSES, made_up

NOISE = 1.5
VIEWS = ("plain", "flip")


def folds_and_new_photos(
    num: int, num_models: int, seed: int = 0
) -> tuple[Table, Floats, NDArray[np.intp]]:
    """Held-out photos, each seen by one model; and (j, u, k, c) new ones with their truth."""
    held, truth = made_up(num, (NOISE,) * 2, seed)
    table = Table(held, truth, np.arange(num), np.zeros(2, np.intp), VIEWS, budget=2)
    new, new_truth = made_up(num, (NOISE,) * 2 * num_models, seed + 1)
    models = new.reshape(num, num_models, 2, NUM_CLASSES).transpose(1, 0, 2, 3)
    return table, np.ascontiguousarray(models), new_truth


def foretold(table: Table, models: Floats) -> tuple[Selection, Averaging]:
    found = select_method(table, METHODS[2:3])
    averaging = foretell_mean(table, found, Asked(models, np.arange(2)))
    assert averaging is not None
    return found, averaging


def costs(found: Selection, models: Floats, truth: NDArray[np.intp]) -> Callable[[float], float]:
    """What the mean really costs at a temperature."""
    mean = np.einsum("jukc,k->uc", models, found.fitted.weights.astype(np.float32)) / len(models)
    return lambda heat: float(losses(normalised(mean / np.float32(heat)), truth).mean())


def test_the_gain_is_that_of_any_labels() -> None:
    _, models, truth = folds_and_new_photos(400, 3)
    logits = 1.7 * models[:, :, 0]
    for answers in (truth, np.zeros_like(truth), np.arange(400) % NUM_CLASSES):
        one = np.mean([losses(normalised(each / np.float32(0.8)), answers) for each in logits], 0)
        mean = losses(normalised(logits.mean(axis=0) / np.float32(0.8)), answers)
        np.testing.assert_allclose(gains(logits, 0.8), one - mean, atol=1e-5)


def test_models_that_agree_gain_nothing_and_others_something() -> None:
    _, models, _ = folds_and_new_photos(100, 3)
    same = gains(np.repeat(models[:1, :, 0], 3, axis=0), 1.0)
    np.testing.assert_allclose(same, 0, atol=1e-6)
    assert gains(models[:, :, 0], 1.0).mean() > 0.1


def test_what_is_expected_is_the_entropy_and_the_mean_over_drawn_answers() -> None:
    logits = np.array([[2.0, 0.0, -1.0]], np.float32)
    probs = np.exp(normalised(logits)[0].astype(np.float64))
    assert expected(logits, 1.0, 1.0)[0] == pytest.approx(-(probs * np.log(probs)).sum())
    cold = -normalised(logits / np.float32(0.5))[0]
    assert expected(logits, 1.0, 0.5)[0] == pytest.approx((probs * cold).sum(), rel=1e-6)


def test_the_temperature_and_the_loss_of_the_mean_are_foretold() -> None:
    table, models, truth = folds_and_new_photos(4000, 4)
    found, averaging = foretold(table, models)
    assert (averaging.num_models, averaging.num_photos) == (4, 4000)
    cost = costs(found, models, truth)
    assert averaging.log_loss == pytest.approx(cost(averaging.temperature), abs=0.03)
    # As good as a temperature that was fitted with the labels; that of one model is far worse.
    best = min(cost(float(t)) for t in np.geomspace(0.3, 3, 60))
    assert cost(averaging.temperature) < best + 0.002
    assert cost(found.fitted.temperature) > best + 0.02
    assert averaging.temperature < 0.85 * found.fitted.temperature


def test_photos_that_are_harder_or_easier_by_nature_or_chance() -> None:
    # Held out are mostly those that the models are sure of, asked about are the others.
    table, models, truth = folds_and_new_photos(6000, 4)
    sure = table.voices[:, 0].max(axis=1) > np.median(table.voices[:, 0].max(axis=1))
    rare = np.random.default_rng(0).random(6000) < 0.3
    table = table.rows(sure | rare)
    found, averaging = foretold(table, models)
    cost = costs(found, models, truth)
    assert averaging.log_loss == pytest.approx(cost(averaging.temperature), rel=0.05)
    assert found.losses[0].mean() < 0.8 * np.mean(
        [losses(normalised(one[:, 0]), truth).mean() for one in models]
    )
    assert (
        cost(averaging.temperature) < min(cost(float(t)) for t in np.geomspace(0.3, 3, 60)) + 0.01
    )


def test_the_error_is_that_of_drawing_photos_again() -> None:
    drawn = [foretold(*folds_and_new_photos(250, 3, seed)[:2])[1] for seed in range(0, 120, 8)]
    spread = np.std([each.log_loss for each in drawn])
    assert np.mean([each.error for each in drawn]) == pytest.approx(spread, rel=0.35)


@pytest.mark.parametrize("scale", [3.0, 8.0])
def test_nothing_absurd_is_foretold_of_photos_unlike_all_others(scale: float) -> None:
    # Models that are sure, each of something else, where held-out photos were easy.
    rng = np.random.default_rng(0)
    truth = rng.integers(0, NUM_CLASSES, 400)
    easy = normalised((12 * np.eye(NUM_CLASSES)[truth]).astype(np.float32))
    table = Table(
        np.repeat(easy[:, None], 2, 1), truth, np.arange(400), np.zeros(2, np.intp), VIEWS, 2
    )
    odd = normalised((scale * rng.normal(size=(5, 300, NUM_CLASSES))).astype(np.float32))
    found = select_method(table, METHODS[2:3])
    assert (
        foretell_mean(table, found, Asked(np.repeat(odd[:, :, None], 2, 2), np.arange(2))) is None
    )


def test_a_single_model_keeps_its_temperature() -> None:
    table, models, _ = folds_and_new_photos(1500, 1)
    found, averaging = foretold(table, models)
    assert averaging.temperature == pytest.approx(found.fitted.temperature, rel=0.01)
    # Where the photos are the same ones, what is foretold is what was measured.
    found, averaging = foretold(table, table.voices[None])
    assert averaging.log_loss == pytest.approx(found.losses[0].mean(), abs=2e-3)


def test_the_loss_is_by_fits_that_do_not_know_the_photo() -> None:
    # Labels of pure chance: a temperature fitted on the photo itself would look a little better.
    table, _, _ = folds_and_new_photos(60, 1)
    rng = np.random.default_rng(5)
    chance = [rng.integers(0, NUM_CLASSES, 60) for _ in range(8)]
    nested, own = [], []
    for truth in chance:
        again = Table(table.voices, truth, table.groups, table.members, VIEWS, budget=2)
        found, averaging = foretold(again, again.voices[None])
        nested.append(averaging.log_loss)
        logits = np.einsum("nkc,k->nc", again.voices, found.fitted.weights.astype(np.float32))
        temperature = fit_temperature(logits, truth)
        own.append(losses(normalised(logits / np.float32(temperature)), truth).mean())
    assert np.mean(nested) > np.mean(own)
