"""Pooling, merging equal classes and sharing them out again."""

import numpy as np
import pytest

from chajong.pooling import Floats, Pooling, Vector, merged, normalised, pool, spread


def _voices(n: int = 7, k: int = 3, c: int = 5) -> Floats:
    logits = np.random.default_rng(0).normal(0, 3, (n * k, c)).astype(np.float32)
    return normalised(logits).reshape(n, k, c)


def test_linear_pooling_is_the_mean_of_probabilities() -> None:
    voices, weights = _voices(), np.array([0.5, 0.0, 1.5])
    wanted = (np.exp(voices[:, 0]) + 3 * np.exp(voices[:, 2])) / 4
    np.testing.assert_allclose(np.exp(pool(voices, weights, "linear")), wanted, rtol=1e-5)


def test_log_pooling_is_the_product_of_powers() -> None:
    voices, weights = _voices(), np.array([0.5, 0.0, 1.5])
    product = np.exp(voices[:, 0]) ** 0.5 * np.exp(voices[:, 2]) ** 1.5
    wanted = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(pool(voices, weights, "log")), wanted, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["log", "linear"])
def test_nothing_is_lost_to_zero(pooling: Pooling) -> None:
    voices = normalised(np.array([[0, -500, -800], [-800, 0, -500]], np.float32)).reshape(1, 2, 3)
    found = pool(voices, np.array([0.5, 0.5]), pooling)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-6)


def test_equal_classes_are_merged_and_shared_out_again() -> None:
    voices = _voices(k=1)
    canonical = np.array([0, 1, 0, 3, 1])
    whole = merged(voices, canonical)
    probs = np.exp(voices)
    wanted = np.stack([probs[..., 0] + probs[..., 2], probs[..., 1] + probs[..., 4], probs[..., 3]])
    np.testing.assert_allclose(np.exp(whole), np.moveaxis(wanted, 0, -1), rtol=1e-5)
    np.testing.assert_allclose(spread(whole[:, 0], voices, canonical), voices[:, 0], atol=1e-5)


def test_without_equal_classes_nothing_changes() -> None:
    voices = _voices(k=2)
    np.testing.assert_array_equal(merged(voices, np.arange(5)), voices)
    np.testing.assert_array_equal(spread(voices[:, 0], voices, np.arange(5)), voices[:, 0])


def test_a_vector_scales_and_shifts_classes() -> None:
    log_probs = _voices(k=1)[:, 0]
    same = Vector((1.0,) * 5, (0.0,) * 5)
    np.testing.assert_allclose(same(log_probs), log_probs, atol=1e-6)
    raised = Vector((1.0,) * 5, (0.0, 0.0, 2.0, 0.0, 0.0))(log_probs)
    ratio = raised[:, 2] - raised[:, 0] - (log_probs[:, 2] - log_probs[:, 0])
    np.testing.assert_allclose(ratio, 2, atol=1e-5)
