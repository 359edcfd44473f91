"""What the log loss on photos without answers will be, and how far that may be off.

Four steps, each on the result of the one before:

1. Held-out photos are made to look like those asked about (`chajong.photos.tone`), and each is
   shown to the model that has not learned from it: losses that are measured, in the other light.
2. What still tells the two apart is weighted away: the odds that a held-out photo is one of the
   others, by a logistic regression on measures of both, are its weight (Bickel et al. 2009,
   "Discriminative learning under covariate shift"), capped.
3. A model's answers are read as a law of the true class, its logits divided by the heat T at which
   this law foretells the weighted losses of the held-out photos. By it the loss of each model on
   the photos asked about follows, also where these are harder or easier than the held-out ones.
   The idea is that of average thresholded confidence (Garg et al. 2022, arXiv 2201.04234), for the
   log loss instead of the error.
4. The mean of several models is better than each, but no photo is held out by two of them. What
   their geometric mean gains is measured all the same, on the photos asked about: with log q the
   mean of the models' log p, less the log of its normaliser Z, it is -log Z for whatever class is
   true (Heskes 1998, "Selecting weighting factors in logarithmic opinion pools").

Shapes: n held-out photos, m photos asked about, d measures.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chajong.errors import PredictionsError
from chajong.evidence import Evidence, HeldOut, foretell, judge_held_out
from chajong.files import write_json
from chajong.photos.tone import ToneChange
from chajong.photos.two_sample import auc, likeness_to_test

Floats = NDArray[np.float64]

NUM_RESAMPLES = 60
CAP_QUANTILE = 0.99
"""Weights above this quantile count as much as it."""

_DOUBT = 0.15
_TOLD_APART, _FEW, _OUTSIDE, _HARDER = 0.95, 0.1, 0.05, 0.1  # from where on to warn
_Z = 1.644854  # of a 90 % interval


@dataclass(frozen=True)
class Expectation:
    """What the log loss will be.

    Attributes:
        value: The log loss of the mean of the models on the photos asked about, in nats.
        low: Lower end of its 90 % interval, the chance in the answers to come included.
        high: Upper end.
        out_of_fold: What home says: one model, held-out photos as they are, no weights.
        one_model: What is expected of one model on the photos asked about.
        num_models: Models whose mean is asked.
        num_photos: Photos asked about that can be read.
        num_held_out: Held-out photos, near-duplicates counted as one.
        effective_photos: As many held-out photos without weights say as much: (sum of the
            weights) ** 2 / sum of their squares (Kish 1965).
        told_apart: How well held-out photos are told from those asked about, 0.5 not at all to 1
            always: area under the ROC curve.
        told_apart_after: The same once the held-out photos look like the others.
        outside: Share of the photos asked about whose nearest held-out photo is further away than
            that of 99 % of held-out photos.
        light: What was done to the held-out photos.
        warnings: When not to believe the value, and what to do.
    """

    value: float
    low: float
    high: float
    out_of_fold: float
    one_model: float
    num_models: int
    num_photos: int
    num_held_out: int
    effective_photos: float
    told_apart: float
    told_apart_after: float
    outside: float
    light: ToneChange
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an interval that does not hold its value.

        Raises:
            PredictionsError: If a figure is not finite, or out of order.
        """
        if not 0 <= self.low <= self.value <= self.high < np.inf:
            raise PredictionsError(
                f"An expectation must be 0 <= low <= value <= high, all finite; got {self.low}, "
                f"{self.value} and {self.high}."
            )

    def lines(self) -> list[str]:
        """Give the expectation as a table for a terminal.

        Returns:
            One line a figure, then the warnings.
        """
        light, tone = "as it is", self.light
        if not tone.is_none:
            light = f"exposure x {np.exp(tone.exposure):.2f}, gamma {np.exp(tone.gamma):.2f}"
        mean = f"mean of {self.num_models} models" if self.num_models > 1 else "one model"
        interval = f"90 % interval {self.low:.4f} to {self.high:.4f}"
        apart = f"{self.told_apart:.2f}, {self.told_apart_after:.2f} after"
        weighted = f"worth {self.effective_photos:,.0f} after weighting"
        return [
            f"log loss     {self.value:.4f}   {interval} ({mean}, {self.num_photos:,} photos)",
            f"one model    {self.one_model:.4f}   on these photos",
            f"out of fold  {self.out_of_fold:.4f}   one model, held-out photos as they are",
            f"judged by    {self.num_held_out:,} held-out photos, {weighted}",
            f"light        {light}; told apart {apart} (0.5 not at all, 1 always)",
            *(f"warning: {warning}" for warning in self.warnings),
        ]

    def save(self, path: Path) -> None:
        """Write the expectation as JSON.

        Args:
            path: The file.
        """
        write_json(path, asdict(self))


def expect(evidence: Evidence, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> Expectation:
    """Say what the log loss will be.

    The 90 % interval holds the chance in which photos were held out, weights fitted anew on every
    draw (bootstrap over groups); the chance in the answers to come; and doubt about what is
    assumed: 15 % of how far one model's loss moves from what home says.

    Args:
        evidence: What is known.
        seed: Seed of all draws.
        num_resamples: Draws of the bootstrap, at least 2.

    Returns:
        The expectation.
    """
    rng = np.random.default_rng(seed)
    held, laws = judge_held_out(evidence), foretell(evidence)
    every = np.arange(len(held.losses))
    weights, apart = _weights(held, evidence.shifted_measures, evidence.asked_measures, every, rng)
    one_model, value = laws.conclude(held, every, weights)
    plain = float(np.average(held.plain_losses, weights=held.shares))
    draws = []
    for _ in range(num_resamples):
        rows = held.redrawn(rng)
        there = evidence.asked_measures[rng.integers(laws.num_photos, size=laws.num_photos)]
        again, _ = _weights(held, evidence.shifted_measures, there, rows, rng)
        draws.append(laws.conclude(held, rows, again)[1])
    doubt = _DOUBT * (one_model - plain)
    spread = np.sqrt(np.var(draws) + laws.noise_at(value) + doubt**2)
    before = _weights(held, evidence.measures, evidence.asked_measures, every, rng)[1]
    found = Expectation(
        value=value,
        low=max(0.0, value - _Z * float(spread)),
        high=value + _Z * float(spread),
        out_of_fold=plain,
        one_model=one_model,
        num_models=len(evidence.asked),
        num_photos=laws.num_photos,
        num_held_out=round(float(held.shares.sum())),
        effective_photos=effective_size(np.bincount(held.units, weights).astype(np.float64)),
        told_apart=before,
        told_apart_after=apart,
        outside=evidence.outside,
        light=evidence.change,
    )
    return replace(found, warnings=tuple(_warnings(found, evidence)))


def effective_size(weights: Floats) -> float:
    """Say how many photos without weights tell as much as these with theirs.

    Args:
        weights: (n,) not negative, not all zero.

    Returns:
        (sum of weights) ** 2 / sum of their squares, 1 to n.
    """
    return float(weights.sum() ** 2 / (weights**2).sum())


def capped_odds(logits: Floats, quantile: float = CAP_QUANTILE) -> Floats:
    """Turn logits of being asked about into weights.

    Args:
        logits: (n,).
        quantile: Larger weights than this quantile of them are made as large as it.

    Returns:
        (n,) weights, above 0.
    """
    odds = np.exp(logits.clip(-30, 30))
    capped: Floats = np.minimum(odds, np.quantile(odds, quantile))
    return capped


def _weights(
    held: HeldOut,
    here: NDArray[np.float32],
    there: NDArray[np.float32],
    rows: NDArray[np.intp],
    rng: np.random.Generator,
) -> tuple[Floats, float]:
    # (rows,) weights and how well the two are told apart.
    both = np.concatenate([here[rows], there]).astype(np.float64)
    is_test = np.arange(len(both)) >= len(rows)
    groups = np.concatenate([held.units[rows], len(held.units) + np.arange(len(there))])
    scaled = ((both - both.mean(axis=0)) / (both.std(axis=0) + 1e-9)).clip(-4, 4)
    components = np.concatenate([scaled, scaled**2 - 1], axis=1)
    logits = likeness_to_test(components, is_test, groups, int(rng.integers(2**31)))
    area = auc(logits, is_test, groups, cross_validated=True).value
    return capped_odds(logits[~is_test]) * held.shares[rows], area


def _warnings(found: Expectation, evidence: Evidence) -> Iterator[str]:
    if found.told_apart_after > _TOLD_APART:
        yield (
            f"what the photos asked about have that held-out photos have not is more than their "
            f"light (told apart {found.told_apart_after:.2f} of 1 still), so that losses measured "
            "at home say little of them. Look at both: chajong audit DATA. Label some of them, and "
            "score those: chajong evaluate."
        )
    if found.effective_photos < _FEW * found.num_held_out:
        yield (
            f"few held-out photos are like those asked about: {found.num_held_out:,} are worth "
            f"{found.effective_photos:,.0f}. Photos like these are missing in the training."
        )
    if found.outside > _OUTSIDE:
        yield (
            f"{found.outside:.0%} of the photos asked about are unlike all that were learned from "
            "(1 % would be chance). If they show cars of no class, no score counts them right; "
            "look at them: chajong audit DATA."
        )
    if found.one_model > (1 + _HARDER) * found.out_of_fold:
        yield (
            "these photos are harder than those at home. Training on photos changed in the same "
            "way often helps: chajong audit DATA says how the light differs and what to --set."
        )
    if evidence.num_learned:
        yield (
            f"{evidence.num_learned:,} photo(s) asked about are files that were learned from. "
            "Models know them, so that the mean scores better on them than said, and than on new "
            "photos."
        )
    if evidence.num_unreadable:
        yield (
            f"{evidence.num_unreadable:,} photo(s) asked about cannot be read and are not in the "
            "value; a uniform guess costs the logarithm of the number of classes each."
        )
