"""How far figures may be off by chance: 95 % intervals."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

NORMAL = 1.959964
"""Between minus this and this lie 95 % of a normal distribution of standard deviation 1."""


def widening(num_groups: int) -> float:
    """Tell by how much a bootstrap's 95 % interval must be wider, as few groups make it too narrow.

    Of n groups it makes the variance (n - 1) / n of what it is, and knows nothing of how far that
    is off, as Student's t does (Efron & Tibshirani 1993, chapter 12).

    Args:
        num_groups: n, at least 2.

    Returns:
        The factor, above 1.
    """
    return math.sqrt(num_groups / (num_groups - 1)) * student(num_groups - 1) / NORMAL


def student(degrees: float) -> float:
    """Tell between which values 95 % of Student's t lie.

    Args:
        degrees: Of freedom, at least 1.

    Returns:
        The upper one, the 97.5 % quantile.
    """
    # t = sqrt(degrees) tan(angle) has the density cos(angle) ** (degrees - 1). Beyond the bound it
    # is the normal one, and cosines would be 1 by rounding.
    degrees = min(degrees, 1e7)
    angles = np.linspace(0, min(math.pi / 2, 12 / math.sqrt(degrees)), 4001)
    density = np.cos(angles) ** (degrees - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(degrees) * math.tan(float(np.interp(0.95, mass / mass[-1], angles)))


def wilson(share: ArrayLike, num: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tell how far shares may be off, by their 95 % intervals (Wilson 1927).

    Args:
        share: (...) shares, 0 to 1.
        num: (...) of how many each is a share; above 0.

    Returns:
        Lower and upper ends, (...).
    """
    p, n = np.asarray(share, dtype=np.float64), np.asarray(num, dtype=np.float64)
    middle = (p + NORMAL**2 / (2 * n)) / (1 + NORMAL**2 / n)
    half = NORMAL / (1 + NORMAL**2 / n) * np.sqrt(p * (1 - p) / n + NORMAL**2 / (4 * n**2))
    # At 0 and 1 the interval ends there; rounding must not leave it beside the share.
    return np.clip(middle - half, 0, p), np.clip(middle + half, p, 1)
