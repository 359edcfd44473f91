"""Pictures of an out-of-fold table: which classes are mistaken, and how far confidence is right.

Shapes: k classes shown.
"""

from collections.abc import Mapping
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from chajong.diagnosis import Diagnosis
from chajong.labels import Labels
from chajong.metrics import calibration_error
from chajong.photos.lettering import Lettering
from chajong.predictions import Predictions

_MOST_CLASSES = 16
_NAME_PX, _NAME_SIZE_PX = 190, 12


_PAPER = "#ffffff"  # opaque, so that a picture can be read wherever it is put
_INK, _FAINT = "#1c2430", "#5f6b7a"
_RIGHT, _WRONG = "#3f6fae", "#c23434"


def confusions(table: Predictions, labels: Labels) -> Figure:
    """Draw how often the classes that are mistaken most are taken for each other.

    Classes come pair by pair, the pair with the most mistakes first; the last column holds all
    other answers. Equal classes count as one.

    Args:
        table: Predictions with their true classes.
        labels: Their classes.

    Returns:
        The figure: a row a true class, a column an answer, each cell the share of the row.
    """
    diagnosis = Diagnosis.of(table, labels)
    found, names = diagnosis.found, diagnosis.names
    counts = np.zeros((len(names), len(names)), np.intp)
    np.add.at(counts, (found.truth, found.top), 1)
    chosen = _most_confused(counts)
    shown = counts[np.ix_(chosen, chosen)]
    others = counts[chosen].sum(axis=1) - shown.sum(axis=1)
    cells = np.column_stack([shown, others])
    figure, axes = _empty(2.6 + 0.46 * len(chosen), 2.2 + 0.42 * len(chosen))
    _draw_cells(axes, cells)
    lettering = Lettering()
    fitting = (lettering.fitting(names[place], _NAME_SIZE_PX, _NAME_PX) for place in chosen)
    written = [name.replace("$", r"\$") for name in fitting]  # which would begin a formula
    rows = [f"{name}  ({total:,})" for name, total in zip(written, cells.sum(axis=1), strict=True)]
    font = _font(lettering)
    axes.set_xticks(range(len(chosen) + 1), [*written, "other"], rotation=45, ha="right")
    axes.set_yticks(range(len(chosen)), rows)
    for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        tick.set_fontproperties(font)
    mistakes, all_mistakes = cells.sum() - np.trace(shown), (found.truth != found.top).sum()
    axes.set_title(
        f"{len(chosen)} of {len(names):,} classes, {mistakes:,} of all {all_mistakes:,} mistakes",
        loc="left",
    )
    axes.set_xlabel("answer")
    axes.set_ylabel("true class (photos)")
    return _finished(figure, axes)


def reliability(
    table: Predictions, labels: Labels, groups: Mapping[str, int] | None = None
) -> Figure:
    """Draw how often answers are right against how sure the model is of them.

    A bar is the 95 % interval of a share (`Diagnosis.reliability`). Above the line the model is
    too modest, below it too sure.

    Args:
        table: Predictions with their true classes.
        labels: Their classes.
        groups: Group of each photo by its id; if none, each photo is one of its own.

    Returns:
        The figure, with the distribution of the confidence below.
    """
    diagnosis = Diagnosis.of(table, labels, groups)
    found, correct, bins = diagnosis.found, diagnosis.right, diagnosis.reliability()
    figure = Figure(figsize=(6.4, 6.4), facecolor=_PAPER, layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color=_FAINT, linestyle="--", linewidth=1)
    axes.errorbar(
        [each.confidence for each in bins],
        [each.right for each in bins],
        np.array([(each.right - each.low, each.high - each.right) for each in bins]).T,
        fmt="o-",
        color=_RIGHT,
        capsize=3,
        linewidth=1.5,
        markersize=5,
    )
    error = calibration_error(found.confidence, correct)
    axes.set_title(
        f"calibration error {error:.4f}, log loss {found.losses.mean():.4f}, "
        f"{len(correct):,} photos",
        loc="left",
    )
    axes.set_ylabel("share that is right")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01))
    edges = np.linspace(0, 1, 41)
    parts = [found.confidence[correct], found.confidence[~correct]]
    below.hist(parts, edges, stacked=True, color=[_RIGHT, _WRONG])
    below.set_xlabel("confidence in the likeliest class")
    below.set_ylabel("photos")
    below.legend(["right", "wrong"], loc="upper left", frameon=False, labelcolor=_INK)
    for each in (axes, below):
        each.grid(color=_FAINT, alpha=0.25, linewidth=0.6)
        each.xaxis.set_major_formatter(PercentFormatter(1))
        _finished(figure, each)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def png(figure: Figure, dots_per_inch: int = 130) -> bytes:
    """Turn a figure into a picture.

    Args:
        figure: The figure.
        dots_per_inch: Its resolution.

    Returns:
        A PNG file.
    """
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch)
    return buffer.getvalue()


def _most_confused(counts: NDArray[np.intp]) -> list[int]:
    # (d, d) counts; pairs by how often either is taken for the other, then, so that there is
    # something to see where there are no mistakes, the first classes.
    pairs = np.triu(counts + counts.T, 1)
    order = np.argsort(-pairs, axis=None, kind="stable")
    wrong = order[pairs.ravel()[order] > 0]
    names = [int(place) for flat in wrong for place in np.unravel_index(flat, pairs.shape)]
    return list(dict.fromkeys([*names, *range(len(counts))]))[:_MOST_CLASSES]


def _draw_cells(axes: Axes, cells: NDArray[np.intp]) -> None:
    # (k, k + 1) counts; the diagonal in the colour of what is right.
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(*cells.shape, dtype=np.bool_)
    for colour, part in ((_RIGHT, diagonal), (_WRONG, ~diagonal)):
        shades = LinearSegmentedColormap.from_list("shades", [_PAPER, colour])
        # A share of a half is as bad as it gets; small ones must be seen too.
        strength = np.ma.masked_array(np.sqrt(shares), ~part)
        axes.imshow(strength, cmap=shades, vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(cells > 0):
        share = shares[row, column]
        ink = _PAPER if np.sqrt(share) > 0.72 else _INK
        said = f"{share:.0%}" if share >= 0.005 else "<1%"
        axes.text(column, row, said, ha="center", va="center", color=ink, fontsize=8)


def _empty(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), facecolor=_PAPER, layout="constrained")
    return figure, figure.subplots()


def _font(lettering: Lettering) -> FontProperties:
    path = lettering.korean_font
    return FontProperties(fname=str(path) if path else None, size=9)


def _finished(figure: Figure, axes: Axes) -> Figure:
    axes.set_facecolor(_PAPER)
    axes.tick_params(colors=_INK, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color(_FAINT)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_color(_INK)
    axes.title.set_color(_INK)
    axes.set_title(axes.get_title(loc="left"), loc="left", color=_INK, fontsize=10)
    return figure
