"""Worlds of models and photos whose truth is known, for estimates of what is not."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chajong.evidence import Evidence

Floats = NDArray[np.float64]
NUM_CLASSES = 6


@dataclass(frozen=True)
class World:
    """Photos have one measure; the higher it is, the harder they are.

    Args:
        num_held: Held-out photos.
        num_asked: Photos asked about.
        num_models: Models, each with noise of its own.
        shift: How much higher the measure is in the photos asked about, in its spreads.
        noise: Of the models' logits.
        sharpness: Factor of the models' logits; above 1 they are too sure.
        copies: How many more times the easiest tenth of the held-out photos is there.
    """

    num_held: int = 400
    num_asked: int = 400
    num_models: int = 1
    shift: float = 0.0
    noise: float = 0.0
    sharpness: float = 1.0
    copies: int = 0

    def draw(self, seed: int) -> tuple[Evidence, float]:
        """Evidence, and the log loss to come of the mean of the models."""
        rng = np.random.default_rng(seed)
        here = rng.standard_normal(self.num_held)
        there = rng.standard_normal(self.num_asked) + self.shift
        held, truth = self._answers(here, 1, rng)
        asked, to_come = self._answers(there, self.num_models, rng)
        mean = log_softmax(asked.mean(axis=0))
        loss = -float(mean[np.arange(len(to_come)), to_come].mean())
        losses = -held[0][np.arange(len(truth)), truth]
        easy = np.argsort(losses)[: self.num_held // 10]
        rows = np.concatenate([np.arange(self.num_held), *[easy] * self.copies])
        log_probs = held[0][rows].astype(np.float32)
        measures = here[rows, None].astype(np.float32)
        evidence = Evidence(
            plain=log_probs,
            shifted=log_probs,
            truth=truth[rows],
            groups=rows,
            asked=asked.astype(np.float32),
            measures=measures,
            shifted_measures=measures,
            asked_measures=there[:, None].astype(np.float32),
        )
        return evidence, loss

    def _answers(
        self, measure: Floats, num_models: int, rng: np.random.Generator
    ) -> tuple[Floats, NDArray[np.intp]]:
        size = (len(measure), NUM_CLASSES)
        logits = 2.5 * np.exp(-0.4 * measure)[:, None] * rng.standard_normal(size)
        truth = (logits + rng.gumbel(size=size)).argmax(axis=1)
        noise = self.noise * rng.standard_normal((num_models, *size))
        return log_softmax(self.sharpness * (logits + noise)), truth


def log_softmax(logits: Floats) -> Floats:
    """Log-probabilities over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    found: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def without_light(evidence: Evidence) -> Evidence:
    """Evidence whose measures tell nothing."""
    rng = np.random.default_rng(0)
    here, there = (
        rng.standard_normal(x.shape).astype(np.float32)
        for x in (evidence.measures, evidence.asked_measures)
    )
    return replace(evidence, measures=here, shifted_measures=here, asked_measures=there)
