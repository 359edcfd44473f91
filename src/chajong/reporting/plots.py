"""Small drawings of how figures are distributed, as rectangles for SVG.

Shapes: b bins.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from chajong.photos.shift import Difference, Shift, Spread

WIDTH, HEIGHT = 320, 96
"""Of a drawing, in its own units."""

_NUM_BINS = 40
_UNITS = {
    "brightness": "mean grey level, 0 to 255",
    "contrast": "standard deviation of grey levels",
    "saturation": "0 to 1",
    "sharpness": "finest detail by the next",
    "megapixels": "pixels in millions",
    "size_kb": "file size in kB",
}


class Box(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


class Drawing(NamedTuple):
    """One part's distribution: a histogram, and the middle half and median below it."""

    bars: tuple[Box, ...]
    whole: Box
    half: Box
    middle: Box


class Figure(NamedTuple):
    """A measure of train and of test photos."""

    difference: Difference
    unit: str
    train: Drawing
    test: Drawing
    low: float
    high: float


def figures(
    shift: Shift, train: pl.DataFrame | None = None, test: pl.DataFrame | None = None
) -> tuple[Figure, ...]:
    """Draw each measure of a shift.

    Args:
        shift: The shift.
        train: Measures of the train photos; without them there are no histograms.
        test: Measures of the test photos.

    Returns:
        A drawing a measure.
    """
    return tuple(_figure(difference, train, test) for difference in shift.differences)


def _figure(
    difference: Difference, train: pl.DataFrame | None, test: pl.DataFrame | None
) -> Figure:
    spreads = difference.train, difference.test
    low = min(spread.quantiles[0] for spread in spreads)
    high = max(spread.quantiles[-1] for spread in spreads)
    margin = 0.15 * (high - low) or 0.5  # all the same
    low, high = max(0.0, low - margin), high + margin
    counts = [_shares(table, difference.measure, low, high) for table in (train, test)]
    most = max((float(share.max()) for share in counts if len(share)), default=0.0)
    first, second = (
        _drawing(spread, share / most if most else share, low, high, HEIGHT - 20 + 11 * row)
        for row, (spread, share) in enumerate(zip(spreads, counts, strict=True))
    )
    unit = _UNITS.get(difference.measure, "")
    return Figure(difference, unit, first, second, low, high)


def _shares(
    table: pl.DataFrame | None, measure: str, low: float, high: float
) -> NDArray[np.float64]:
    # (b,) share of photos in each bin; the outermost hold what lies beyond.
    if table is None:
        return np.zeros(0)
    values = table[measure].drop_nulls().to_numpy().clip(low, high)
    counts = np.histogram(values, _NUM_BINS, (low, high))[0]
    shares: NDArray[np.float64] = counts / max(len(values), 1)
    return shares


def _drawing(
    spread: Spread, heights: NDArray[np.float64], low: float, high: float, top: int
) -> Drawing:
    room, step = HEIGHT - 26, WIDTH / _NUM_BINS
    bars = tuple(
        Box(round(step * bin_, 2), round(room * (1 - tall), 2), step, round(room * tall, 2))
        for bin_, tall in enumerate(heights.tolist())
        if tall > 0
    )
    least, lower, middle, upper, most = (
        round(WIDTH * (value - low) / (high - low), 2) for value in spread.quantiles
    )
    return Drawing(
        bars,
        Box(least, top + 3.5, most - least, 1),
        Box(lower, top, upper - lower, 8),
        Box(middle - 1, top - 1, 2, 10),
    )
