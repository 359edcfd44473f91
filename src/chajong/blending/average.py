"""What the mean of several models gains over one of them, without a label.

A held-out photo has an honest answer of one model, a new photo has one of each fold. Let a be a
model's logits and Z the sum of exp(a) over the classes. The geometric mean q of several models has
the mean of their logits, and costs, whatever the true class y is,

    -log q(y) = mean of -log p(y) - (mean of log Z - log Z of the mean of a).

What it gains is the bracket. It does not hang on y, and is never below 0, because log Z is convex
(Heskes 1998, "Selecting weighting factors in logarithmic opinion pools"). So held-out photos tell
what one model costs, photos without labels tell exactly what the mean gains, and both together a
temperature for the mean.

Shapes: n held-out photos, u photos without labels, j models, k voices, c classes.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from chajong.blending.blend import Averaging
from chajong.blending.fit import Places, Weights, losses, standard_error
from chajong.blending.methods import Table
from chajong.blending.nested import Comparison
from chajong.pooling import Fitted, Floats, log_total, normalised

_LOG_TEMPERATURES = (-3.0, 3.0)


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


def gain(logits: Floats, temperature: float) -> float:
    """Say how much less than one model their geometric mean costs.

    Args:
        logits: (j, u, c).
        temperature: Divides them.

    Returns:
        Nats, 0 or more; the mean over photos and models.
    """
    warm = logits.astype(np.float64) / temperature
    return float((log_total(warm).mean(axis=0) - log_total(warm.mean(axis=0))).mean())


def temperature_of_mean(one: Floats, truth: Places, logits: Floats) -> float:
    """Fit the temperature with which the mean of the models costs least.

    Args:
        one: (n, c) logits of held-out photos, each by one model.
        truth: (n,).
        logits: (j, u, c) of photos without labels, by every model.

    Returns:
        The temperature, 0.05 to 20.
    """

    def cost(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        single = losses(normalised(one / np.float32(temperature)), truth).mean()
        return float(single) - gain(logits, temperature)

    found = minimize_scalar(cost, bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x))


def foretell_mean(table: Table, found: Comparison, asked: Asked) -> Averaging:
    """Calibrate the mean of the models, and foretell what it costs.

    Args:
        table: Out-of-fold voices.
        found: The comparison on it; the taken method makes a geometric mean.
        asked: What the models say of photos without labels.

    Returns:
        The mean's temperature, and its log loss by fits that did not know the photo.
    """
    lost = np.zeros(len(table.truth))
    for fold, fit in enumerate(found.fits):
        held = found.folds == fold
        one, models = _logits(fit, table.voices), _asked_logits(fit, asked)
        temperature = temperature_of_mean(one[~held], table.truth[~held], models)
        single = losses(normalised(one[held] / np.float32(temperature)), table.truth[held])
        lost[held] = single - gain(models, temperature)
    one, models = _logits(found.fitted, table.voices), _asked_logits(found.fitted, asked)
    return Averaging(
        num_models=asked.voices.shape[0],
        num_photos=asked.voices.shape[1],
        temperature=temperature_of_mean(one, table.truth, models),
        log_loss=float(lost.mean()),
        error=standard_error(lost, table.groups),
    )


def _logits(fit: Fitted, voices: Floats) -> Floats:
    used = np.flatnonzero(fit.weights)
    return _weighted(voices[..., used, :], fit.weights[used])


def _asked_logits(fit: Fitted, asked: Asked) -> Floats:
    return _weighted(asked.voices, fit.weights[asked.places])


def _weighted(voices: Floats, weights: Weights) -> Floats:
    logits: Floats = np.einsum("...kc,k->...c", voices, weights.astype(np.float32))
    return logits
