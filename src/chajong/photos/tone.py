"""The tone of photos: how bright and how contrasty they are, and how to give them other photos'.

A tone curve takes a level v in [0, 1] to min(1, exposure * v ** gamma). A change of tone is a
distribution of such curves, one drawn for each photo: a camera, a season or an hour of the day
changes every photo somewhat differently.

Shapes: n photos, m other photos, q quantiles, s side.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEASURES = ("brightness", "contrast", "shadows", "lights", "colour", "sharpness")
"""The columns of `measures`."""

_LEVELS = (np.arange(32) + 0.5) / 32
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_SIDE_PX = 48  # of the pixels that are looked at for levels
_MAX_PHOTOS = 2000  # enough to see a distribution
_NUM_NULLS = 39  # of which the largest is passed by chance once in 40
_NUM_ROUNDS, _NUM_TRIES = 60, 8


@dataclass(frozen=True)
class ToneChange:
    """A distribution of tone curves: logarithms of exposure and gamma, each normal.

    Attributes:
        exposure: Mean of the logarithm of the exposure; 0 leaves the light as it is.
        gamma: Mean of the logarithm of gamma; 0 leaves the curve straight, more deepens shadows.
        exposure_spread: Standard deviation between photos of the former.
        gamma_spread: The same of the latter.
    """

    exposure: float = 0.0
    gamma: float = 0.0
    exposure_spread: float = 0.0
    gamma_spread: float = 0.0

    @property
    def is_none(self) -> bool:
        """Whether every photo stays as it is."""
        return self == AS_IT_IS

    def draw(self, num_photos: int, seed: int) -> Floats:
        """Draw a curve for each photo.

        Args:
            num_photos: n.
            seed: Seed of the draws.

        Returns:
            `(n, 2)` logarithms of exposure and gamma.
        """
        return self._curves(np.random.default_rng(seed).standard_normal((num_photos, 2)))

    def _curves(self, normals: Floats) -> Floats:
        spread = np.array([self.exposure_spread, self.gamma_spread])
        return np.array([self.exposure, self.gamma]) + spread * normals


AS_IT_IS = ToneChange()
"""No change."""


def levels(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Summarise the grey levels of each photo.

    Args:
        pixels: RGB `(n, s, s, 3)`.

    Returns:
        `(n, q)` evenly spaced quantiles, 0 to 1, ascending.
    """
    step = max(1, pixels.shape[1] // _SIDE_PX)
    grey = pixels[:, ::step, ::step].astype(np.float32) @ _GREY / 255
    flat = np.sort(grey.reshape(len(grey), -1), axis=1)
    return flat[:, (_LEVELS * flat.shape[1]).astype(np.intp)].astype(np.float32)


def measures(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Measure what tells photos of one origin from those of another.

    Args:
        pixels: RGB `(n, s, s, 3)`.

    Returns:
        `(n, 6)` by `MEASURES`: mean and standard deviation of grey, its 10 % and 95 % quantile,
        mean difference between a pixel's channels, all 0 to 1; and the logarithm of the mean
        difference between neighbours by the standard deviation.
    """
    shade = levels(pixels)
    step = max(1, pixels.shape[1] // _SIDE_PX)
    some = pixels[:, ::step, ::step]
    colour = (some.max(axis=3) - some.min(axis=3)).mean(axis=(1, 2)) / 255
    grey = pixels[..., 1].astype(np.int16)
    detail = np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2)) / 255
    contrast = shade.std(axis=1)
    sharpness = np.log((detail + 0.002) / (contrast + 0.02))
    columns = (shade.mean(axis=1), contrast, shade[:, 3], shade[:, 30], colour, sharpness)
    return np.stack(columns, axis=1).astype(np.float32)


def change_tone(pixels: NDArray[np.uint8], curves: Floats) -> NDArray[np.uint8]:
    """Put photos through tone curves.

    Args:
        pixels: RGB `(n, s, s, 3)`.
        curves: `(n, 2)` logarithms of exposure and gamma.

    Returns:
        Pixels of the same shape.
    """
    steps = np.arange(256) / 255
    tables = np.rint(255 * _through(np.broadcast_to(steps, (len(curves), 256)), curves))
    pairs = zip(tables.astype(np.uint8), pixels, strict=True)
    return np.stack([table[photo] for table, photo in pairs])


def fit_change(here: NDArray[np.float32], there: NDArray[np.float32], seed: int) -> ToneChange:
    """Find the change of tone that makes photos look like others.

    Only distributions are compared, so no photo needs a partner: the mean Wasserstein distance
    between n changed and m other photos of each of q quantiles, of the mean and of the standard
    deviation of grey. It is lowered by a random search that starts from no change.

    Args:
        here: `(n, q)` levels of the photos to change.
        there: `(m, q)` levels of the photos that they should look like.
        seed: Seed of the search.

    Returns:
        The change; none where the photos differ no more than by chance: than two sets of these
        sizes that are drawn from all of them (a permutation test; by chance 1 in 40 sets of
        independent photos pass it). Near-duplicates are not known here, and count as independent:
        with many of them, photos of one origin pass more often.
    """
    rng = np.random.default_rng(seed)
    here, there = _some(here, rng), _some(there, rng)
    goal, here64 = _profile(there), here.astype(np.float64)
    apart = _distance(here64, goal)
    if apart <= max(_distances_by_chance(here, there, rng)):
        return AS_IT_IS
    normals = rng.standard_normal((len(here), 2))
    best, best_apart, step = np.zeros(4), apart, 0.5
    for _ in range(_NUM_ROUNDS):
        tries = best + step * rng.standard_normal((_NUM_TRIES, 4))
        tries[:, 2:] = np.abs(tries[:, 2:])
        found = [
            _distance(_through(here64, ToneChange(*values)._curves(normals)), goal)
            for values in tries
        ]
        if min(found) < best_apart:
            best, best_apart = tries[int(np.argmin(found))], min(found)
        else:
            step *= 0.85
    return ToneChange(*best.tolist())


def _distances_by_chance(
    here: NDArray[np.float32], there: NDArray[np.float32], rng: np.random.Generator
) -> Iterator[float]:
    both = np.concatenate([here, there])
    for _ in range(_NUM_NULLS):
        mixed = rng.permutation(both)
        yield _distance(mixed[: len(here)].astype(np.float64), _profile(mixed[len(here) :]))


def _some(rows: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    return rows if len(rows) <= _MAX_PHOTOS else rng.permutation(rows)[:_MAX_PHOTOS]


def _through(values: Floats, curves: Floats) -> Floats:
    exposure, gamma = np.exp(curves.T[:, :, None])
    changed: Floats = np.minimum(exposure * values**gamma, 1)
    return changed


def _profile(values: NDArray[np.float32] | Floats) -> Floats:
    # (32, q + 2) quantiles over photos of each summary of a photo.
    summaries = [values, values.mean(axis=1)[:, None], values.std(axis=1)[:, None]]
    ordered = np.sort(np.concatenate(summaries, axis=1), axis=0)
    return ordered[(_LEVELS * len(ordered)).astype(np.intp)].astype(np.float64)


def _distance(values: Floats, goal: Floats) -> float:
    return float(np.abs(_profile(values) - goal).mean())
