"""Out-of-fold tables made up so that the best blend is known."""

import numpy as np
from numpy.typing import NDArray

from chajong.pooling import Floats, normalised

NUM_CLASSES = 6


def made_up(
    num_photos: int, noises: tuple[float, ...], seed: int = 0, sharpness: float = 1.0
) -> tuple[Floats, NDArray[np.intp]]:
    """Draw voices that see the same evidence, each with noise of its own.

    Args:
        num_photos: n.
        noises: Of each of k voices, standard deviation of its logits' noise.
        seed: Of chance.
        sharpness: 1 for probabilities that are right where there is no noise.

    Returns:
        (n, k, c) log-probabilities and (n,) truth.
    """
    rng = np.random.default_rng(seed)
    evidence = rng.normal(0, 2, (num_photos, NUM_CLASSES))
    probs = np.exp(evidence) / np.exp(evidence).sum(axis=1, keepdims=True)
    truth = (probs.cumsum(axis=1) > rng.random((num_photos, 1))).argmax(axis=1)
    voices = [
        normalised((sharpness * (evidence + rng.normal(0, sd, evidence.shape))).astype(np.float32))
        for sd in noises
    ]
    return np.stack(voices, axis=1), truth
