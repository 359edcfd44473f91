"""What the mean of several models gains over one of them, without a label.

A held-out photo has an honest answer of one model, a new photo has one of each fold. Let a be a
model's logits and Z the sum of exp(a) over the classes. The geometric mean q of several models has
the mean of their logits, and costs, whatever the true class y is,

    -log q(y) = mean of -log p(y) - (mean of log Z - log Z of the mean of a).

What it gains is the bracket. It does not hang on y, and is never below 0, because log Z is convex
(Heskes 1998, "Selecting weighting factors in logarithmic opinion pools"). So photos without labels
tell exactly what the mean gains on them.

What one model costs on them is not what it costs on held-out photos, which may be easier or harder
by chance or by nature. The models see that themselves: a calibrated answer expects to cost its own
entropy. So it is taken to be what one model expects to cost there, plus what held-out photos cost
more than they were expected to (a difference estimator, as of Cochran 1977, "Sampling Techniques",
chapter 7; of prediction-powered inference, Angelopoulos et al. 2023, arXiv 2301.09633). Both
together give a temperature for the mean.

Shapes: n held-out photos, u photos without labels, j models, k voices, c classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from chajong.blending.blend import Averaging
from chajong.blending.fit import Places, Weights, counted, fit_temperature, standard_error
from chajong.blending.methods import Table
from chajong.blending.nested import Selection
from chajong.pooling import Fitted, Floats, log_total, normalised

_AT_THE_BOUND = 1.01


@dataclass(frozen=True, eq=False)
class Asked:
    """What each model says of photos that none of them has learned from.

    Attributes:
        voices: (j, u, k, c) log-probabilities; where members have fewer models than j, theirs
            come again.
        places: (k,) which of the voices of the out-of-fold table these are.
    """

    voices: Floats
    places: Places


def gains(logits: Floats, temperature: float) -> NDArray[np.float64]:
    """Say how much less than one model their geometric mean costs.

    Args:
        logits: (j, u, c).
        temperature: Divides them.

    Returns:
        (u,) nats, 0 or more; the mean over models.
    """
    warm = logits.astype(np.float64) / temperature
    gained = log_total(warm).mean(axis=0) - log_total(warm.mean(axis=0))
    return np.asarray(gained[..., 0])


def expected(logits: Floats, own: float, temperature: float) -> NDArray[np.float64]:
    """Say what answers cost at a temperature, if they are right about themselves at their own.

    Args:
        logits: (..., c).
        own: The temperature at which they are calibrated.
        temperature: Divides them.

    Returns:
        (...,) nats.
    """
    wide = logits.astype(np.float64)
    warm, calibrated = wide / temperature, wide / own
    with np.errstate(under="ignore"):
        probs = np.exp(calibrated - log_total(calibrated))
    return np.asarray((probs * (log_total(warm) - warm)).sum(axis=-1))


@dataclass(frozen=True, eq=False)
class _Evidence:
    # (n, c) of held-out photos, each by one model; (n,); (j, u, c) of photos without labels.
    one: Floats
    truth: Places
    models: Floats

    def unexpected(self, own: float, temperature: float) -> NDArray[np.float64]:
        # (n,) what held-out photos cost more than one model expects.
        cost = counted(normalised(self.one / np.float32(temperature)), self.truth)
        return cost - expected(self.one, own, temperature)

    def of_the_mean(self, own: float, temperature: float) -> NDArray[np.float64]:
        # (u,) what the mean costs, if one model costs what it expects.
        alone = expected(self.models, own, temperature).mean(axis=0)
        return np.asarray(alone - gains(self.models, temperature))


def temperature_of_mean(one: Floats, truth: Places, models: Floats) -> tuple[float, float]:
    """Fit the temperature of one model, and that with which the mean of the models costs least.

    The variance of what the models do not agree about falls to a j-th in their mean, and the rest
    stays. Of logits that differ by such chance, the temperature that calibrates goes with their
    variance. So that of the mean lies between a j-th of that of one model and that itself.

    Args:
        one: (n, c) logits of held-out photos, each by one model.
        truth: (n,).
        models: (j, u, c) logits of photos without labels, by every model.

    Returns:
        Both temperatures.
    """
    own, evidence = fit_temperature(one, truth), _Evidence(one, truth, models)

    def cost(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        found = evidence.unexpected(own, temperature).mean()
        return float(found + evidence.of_the_mean(own, temperature).mean())

    if len(models) == 1:
        return own, own
    bounds = float(np.log(own / len(models))), float(np.log(own))
    return own, float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded").x))


def foretell_mean(table: Table, found: Selection, asked: Asked) -> Averaging | None:
    """Calibrate the mean of the models, and foretell what it costs.

    Args:
        table: Out-of-fold voices.
        found: The comparison on it; the taken method makes a geometric mean.
        asked: What the models say of photos without labels.

    Returns:
        The mean's temperature, and its log loss by fits that did not know the photo. None where
        these photos are so unlike the held-out ones that both would be absurd.
    """
    lost = np.zeros(len(table.truth))
    for fold, fit in enumerate(found.fits):
        held = found.folds == fold
        one, models = _logits(fit, table.voices), _asked_logits(fit, asked)
        own, temperature = temperature_of_mean(one[~held], table.truth[~held], models)
        there = _Evidence(one[held], table.truth[held], models)
        lost[held] = there.unexpected(own, temperature) + there.of_the_mean(own, temperature).mean()
    evidence = _Evidence(
        _logits(found.fitted, table.voices), table.truth, _asked_logits(found.fitted, asked)
    )
    num_models, num_photos = evidence.models.shape[:2]
    own, temperature = temperature_of_mean(evidence.one, evidence.truth, evidence.models)
    at_the_bound = num_models > 1 and temperature < _AT_THE_BOUND * own / num_models
    if at_the_bound or lost.mean() <= 0:
        return None
    by_asked = evidence.of_the_mean(own, temperature).std(ddof=1) / np.sqrt(num_photos)
    return Averaging(
        num_models=num_models,
        num_photos=num_photos,
        temperature=temperature,
        log_loss=float(lost.mean()),
        error=float(np.hypot(standard_error(lost, table.groups), by_asked)),
    )


def _logits(fit: Fitted, voices: Floats) -> Floats:
    used = np.flatnonzero(fit.weights)
    return _weighted(voices[..., used, :], fit.weights[used])


def _asked_logits(fit: Fitted, asked: Asked) -> Floats:
    return _weighted(asked.voices, fit.weights[asked.places])


def _weighted(voices: Floats, weights: Weights) -> Floats:
    logits: Floats = np.einsum("...kc,k->...c", voices, weights.astype(np.float32))
    return logits
