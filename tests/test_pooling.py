"""Pooling, merging equal classes and sharing them out again."""

import numpy as np
import pytest

from chajong.blending.blend import Blend, Member
from chajong.pooling import (
    Floats,
    Pooling,
    Vector,
    mean_of_networks,
    merged,
    normalised,
    pool,
    spread,
)


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


@pytest.mark.parametrize("pooling", ["log", "linear"])
def test_networks_are_joined_with_equal_classes_as_one(pooling: Pooling) -> None:
    said = np.stack([_voices(k=6)[:, :3], _voices(k=6)[:, 3:]], axis=2)  # 3 networks, 2 views
    canonical = np.array([0, 1, 0, 3, 1])
    found = mean_of_networks(said, pooling, canonical)
    assert found.shape == (7, 2, 5)
    for view in range(2):
        whole = merged(said[:, :, view], canonical)
        wanted = pool(whole, np.full(3, 1 / 3), pooling)
        np.testing.assert_allclose(merged(found[:, view], canonical), wanted, atol=1e-5)
    apart = mean_of_networks(said, pooling, np.arange(5))
    differs = np.abs(merged(apart, canonical) - merged(found, canonical)).max() > 0.01
    assert differs == (pooling == "log")  # sums commute with sums


def test_a_blend_answers_as_was_foretold_of_its_mean() -> None:
    # Weights of views on merged classes, then the mean of networks (`blending.average`).
    names = ("a", "b", "c", "d", "e")
    equal = (("a", "c"), ("b", "e"))
    member = Member("run", "fingerprint", ("plain", "flip"), (0.9, 0.5))
    blend = Blend(names, equal, (member,), "log", 0.8, None, ())
    said = np.stack([_voices(k=6)[:, :3], _voices(k=6)[:, 3:]], axis=2)
    canonical = blend.labels.canonical
    logits = 0.9 * merged(said[:, :, 0], canonical) + 0.5 * merged(said[:, :, 1], canonical)
    wanted = normalised(logits.mean(axis=1) / np.float32(0.8))
    found = merged(blend.answer_of_networks([said]), canonical)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


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
