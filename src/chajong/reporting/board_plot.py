"""Leaderboard scores and local ones over time, as a picture.

The colours are those of the pages (`templates/base.html`).
"""

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from chajong.errors import ResourceError
from chajong.experiments.board import BoardScore
from chajong.files import replacing
from chajong.photos.lettering import Lettering, romanised

_SUFFIXES = (".png", ".svg", ".pdf")
_INK, _FAINT, _LINE = "#1c2430", "#5f6b7a", "#e2e6eb"
_SERIES = {
    "local": ("local, out of fold", _INK, "o"),
    "board": ("leaderboard", "#2360b8", "s"),
    "board_private": ("leaderboard, private", "#c5701d", "D"),
}
_MOST_NAMES = 12


def draw_board(scores: Sequence[BoardScore], path: Path) -> None:
    """Draw the log losses over time, and below them their gaps.

    Args:
        scores: The oldest first, at least one.
        path: The picture to make or replace: .png, .svg or .pdf.

    Raises:
        ResourceError: If the file has another suffix or cannot be written.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise ResourceError(f"{path} must end in {', '.join(_SUFFIXES)}.")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 10,
        "font.family": [*_korean_family(), "sans-serif"],
        "axes.edgecolor": _LINE,
        "axes.labelcolor": _FAINT,
        "text.color": _INK,
        "xtick.color": _FAINT,
        "ytick.color": _FAINT,
        "date.converter": "concise",
        "svg.hashsalt": "chajong",
    }
    buffer = BytesIO()
    with rc_context(style):
        figure = Figure(figsize=(8, 5.6), layout="constrained", facecolor="white")
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 2))
        _draw_scores(upper, scores)
        _draw_gaps(lower, scores)
        kind = path.suffix[1:].lower()
        dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(buffer, format=kind, dpi=144, metadata=dated.get(kind))
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _draw_scores(axes: Any, scores: Sequence[BoardScore]) -> None:
    axes.set_title("Leaderboard and local log loss", loc="left", color=_INK)
    axes.set_ylabel("log loss")
    for key, (label, colour, marker) in _SERIES.items():
        _draw_series(axes, scores, [getattr(row, key) for row in scores], label, colour, marker)
    axes.legend(frameon=False, loc="best")
    axes.grid(axis="y", color=_LINE)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_gaps(axes: Any, scores: Sequence[BoardScore]) -> None:
    axes.set_ylabel("less the local one")
    axes.axhline(0, color=_INK, linewidth=1)
    for place, key in enumerate(("board", "board_private")):
        _, colour, marker = _SERIES[key]
        _draw_series(axes, scores, [row.gaps[place] for row in scores], None, colour, marker)
    for row in scores if len(scores) <= _MOST_NAMES else ():
        gap = next((each for each in row.gaps if each is not None), None)
        if gap is None:
            continue
        axes.annotate(
            _name(row.run),
            (_time(row), gap),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=_FAINT,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )
    axes.margins(x=0.08, y=0.25)
    axes.grid(axis="y", color=_LINE)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_series(
    axes: Any,
    scores: Sequence[BoardScore],
    values: Sequence[float | None],
    label: str | None,
    colour: str,
    marker: str,
) -> None:
    there = [place for place, value in enumerate(values) if value is not None]
    if there:
        axes.plot(
            [_time(scores[place]) for place in there],
            [values[place] for place in there],
            label=label,
            color=colour,
            marker=marker,
            linewidth=1.2,
            markersize=5,
        )


def _time(row: BoardScore) -> datetime:
    return datetime.fromisoformat(row.when).astimezone()


def _korean_family() -> list[str]:
    from matplotlib import font_manager

    font = Lettering().korean_font
    if font is None:
        return []
    font_manager.fontManager.addfont(font)
    return [font_manager.FontProperties(fname=str(font)).get_name()]


def _name(text: str) -> str:
    # A dollar sign would begin a formula.
    return (text if Lettering().korean_font else romanised(text)).replace("$", r"\$")
