"""What the mean of models gains is known without labels, and its temperature is found."""

import numpy as np
import pytest
from numpy.typing import NDArray

from chajong.blending.average import Asked, foretell_mean, gain, temperature_of_mean
from chajong.blending.fit import losses
from chajong.blending.methods import METHODS, Table
from chajong.blending.nested import compare
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


def test_the_gain_is_that_of_any_labels() -> None:
    _, models, truth = folds_and_new_photos(400, 3)
    logits = 1.7 * models[:, :, 0]
    for answers in (truth, np.zeros_like(truth), np.arange(400) % NUM_CLASSES):
        one = np.mean([losses(normalised(each / np.float32(0.8)), answers) for each in logits])
        mean = losses(normalised(logits.mean(axis=0) / np.float32(0.8)), answers).mean()
        assert gain(logits, 0.8) == pytest.approx(one - mean, abs=1e-5)


def test_models_that_agree_gain_nothing_and_others_something() -> None:
    _, models, _ = folds_and_new_photos(100, 3)
    assert gain(np.repeat(models[:1, :, 0], 3, axis=0), 1.0) == pytest.approx(0, abs=1e-6)
    assert gain(models[:, :, 0], 1.0) > 0.1


def test_the_temperature_and_the_loss_of_the_mean_are_foretold() -> None:
    table, models, truth = folds_and_new_photos(4000, 4)
    found = compare(table, METHODS[2:3])
    averaging = foretell_mean(table, found, Asked(models, np.arange(2)))
    assert (averaging.num_models, averaging.num_photos) == (4, 4000)

    mean = np.einsum("jukc,k->uc", models, found.fitted.weights.astype(np.float32)) / 4

    def cost(temperature: float) -> float:
        return float(losses(normalised(mean / np.float32(temperature)), truth).mean())

    assert averaging.log_loss == pytest.approx(cost(averaging.temperature), abs=0.03)
    # As good as a temperature that was fitted with the labels; that of one model is far worse.
    best = min(cost(float(t)) for t in np.geomspace(0.3, 3, 60))
    assert cost(averaging.temperature) < best + 0.002
    assert cost(found.fitted.temperature) > best + 0.02
    assert averaging.temperature < 0.85 * found.fitted.temperature


def test_a_single_model_keeps_its_temperature() -> None:
    table, models, _ = folds_and_new_photos(1500, 1)
    found = compare(table, METHODS[2:3])
    averaging = foretell_mean(table, found, Asked(models, np.arange(2)))
    assert averaging.temperature == pytest.approx(found.fitted.temperature, rel=0.01)
    assert averaging.log_loss == pytest.approx(found.losses[0].mean(), abs=1e-3)


def test_the_loss_is_by_fits_that_do_not_know_the_photo() -> None:
    # Labels of pure chance: a temperature fitted on the photo itself would look a little better.
    table, models, _ = folds_and_new_photos(60, 1)
    rng = np.random.default_rng(5)
    chance = [rng.integers(0, NUM_CLASSES, 60) for _ in range(8)]
    nested, own = [], []
    for truth in chance:
        again = Table(table.voices, truth, table.groups, table.members, VIEWS, budget=2)
        found = compare(again, METHODS[2:3])
        nested.append(foretell_mean(again, found, Asked(models, np.arange(2))).log_loss)
        logits = np.einsum("nkc,k->nc", again.voices, found.fitted.weights.astype(np.float32))
        temperature = temperature_of_mean(logits, truth, logits[None])
        own.append(losses(normalised(logits / np.float32(temperature)), truth).mean())
    assert np.mean(nested) > np.mean(own)
