"""Charts as shapes for SVG: the template gives them their colours, so they suit dark and light.

A chart is WIDTH by HEIGHT units; its plot leaves room for the labels of both axes.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 340, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 10, 24
_NUM_TICKS = 5
_MOST_DECIMALS = 4

Points = Sequence[tuple[float, float]]


class Series(NamedTuple):
    """What one line shows.

    Attributes:
        name: What it is called where it is pointed at.
        kind: How it is drawn: `one`, `two` or `faint`.
        points: In the chart's own units.
    """

    name: str
    kind: str
    points: Points


class Line(NamedTuple):
    """A line to draw."""

    name: str
    kind: str
    path: str
    dots: tuple[tuple[float, float], ...] = ()


class Bar(NamedTuple):
    """An interval to draw, upright."""

    x: float
    top: float
    bottom: float


class Tick(NamedTuple):
    """A mark of an axis."""

    at: float
    text: str


class Chart(NamedTuple):
    """Everything that is drawn.

    Attributes:
        title: What it shows.
        across: What runs from left to right.
        lines: The lines, the first drawn first.
        bars: Intervals.
        x_ticks: Marks below.
        y_ticks: Marks at the left.
        keys: Names and kinds for a legend, each once.
    """

    title: str
    across: str
    lines: tuple[Line, ...]
    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    keys: tuple[tuple[str, str], ...]


def chart(
    title: str,
    across: str,
    series: Sequence[Series],
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    bars: Sequence[tuple[float, float, float]] = (),
    dots: bool = False,
    percent: bool = False,
    whole: bool = False,
) -> Chart:
    """Lay out a chart.

    Args:
        title: What it shows.
        across: What runs from left to right.
        series: The lines; points that are not finite are left out.
        x_range: Ends of the lower axis; those of the points if not given.
        y_range: Ends of the upright axis; from those of the points if not given.
        bars: Intervals: where, from and to.
        dots: Whether to mark the points of lines that are not faint.
        percent: Whether both axes are shares.
        whole: Whether the lower axis counts, so that it needs no marks between whole numbers.

    Returns:
        The chart.
    """
    points = [point for one in series for point in one.points if all(map(math.isfinite, point))]
    x_low, x_high = x_range or _ends([x for x, _ in points])
    y_low, y_high = y_range or _ends([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across_, up = (x - x_low) / (x_high - x_low), (y - y_low) / (y_high - y_low)
        return (
            round(_LEFT + across_ * (WIDTH - _LEFT - _RIGHT), 1),
            round(HEIGHT - _BOTTOM - min(max(up, 0.0), 1.0) * (HEIGHT - _TOP - _BOTTOM), 1),
        )

    def line(one: Series) -> Line:
        placed = tuple(place(*point) for point in one.points if all(map(math.isfinite, point)))
        path = "M" + " L".join(f"{x} {y}" for x, y in placed) if placed else ""
        return Line(one.name, one.kind, path, placed if dots and one.kind != "faint" else ())

    def ticks(low: float, high: float, is_x: bool) -> tuple[Tick, ...]:
        step = max(_step(low, high), 1.0) if whole and is_x else _step(low, high)
        return tuple(
            Tick(place(at, y_low)[0] if is_x else place(x_low, at)[1], _said(at, step, percent))
            for at in _multiples(step, low, high)
        )

    return Chart(
        title,
        across,
        tuple(line(one) for one in series),
        tuple(Bar(place(x, low)[0], place(x, high)[1], place(x, low)[1]) for x, low, high in bars),
        ticks(x_low, x_high, True),
        ticks(y_low, y_high, False),
        tuple(dict.fromkeys((one.name, one.kind) for one in series)),
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if low == high:
        margin = abs(low) / 2 or 0.5
        return low - margin, high + margin
    return low, high


def _step(low: float, high: float) -> float:
    # 1, 2 or 5 times a power of ten, so that at most as many ticks as fit are between the ends.
    rough = (high - low) / _NUM_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)


def _multiples(step: float, low: float, high: float) -> list[float]:
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [step * number for number in range(first, last + 1)]


def _said(value: float, step: float, percent: bool) -> str:
    # With the decimals of the step, so that neighbours differ; what is tiny as powers of ten.
    unit = 100 * step if percent else step
    num_decimals = max(0, -math.floor(math.log10(unit) + 1e-9))
    if num_decimals > _MOST_DECIMALS:
        return f"{value:.4g}"
    return f"{value:.{num_decimals}%}" if percent else f"{value:.{num_decimals}f}"
