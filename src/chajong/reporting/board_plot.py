"""Leaderboard scores and local ones over time, as a picture: one step to the right a score.

The colours are those of the pages (`templates/base.html`).
"""

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from chajong.errors import ResourceError
from chajong.experiments.board import BoardScore
from chajong.files import write_bytes
from chajong.photos.lettering import Lettering, romanised

_SUFFIXES = (".png", ".svg", ".pdf")
_INK, _FAINT, _LINE = "#1c2430", "#5f6b7a", "#e2e6eb"
_SERIES = {
    "local": ("local, out of fold", _INK, "o"),
    "board": ("leaderboard", "#2360b8", "s"),
    "board_private": ("leaderboard, private", "#c5701d", "D"),
}
_MOST_NAMES, _FEW, _NAME_LENGTH = 24, 3, 28


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
        "svg.hashsalt": "chajong",
    }
    buffer = BytesIO()
    with rc_context(style):
        figure = Figure(figsize=(8, 5.6), layout="constrained", facecolor="white")
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 2))
        _draw_scores(upper, scores)
        _draw_gaps(lower, scores)
        _name_steps(lower, scores)
        kind = path.suffix[1:].lower()
        dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        figure.savefig(buffer, format=kind, dpi=144, metadata=dated.get(kind))
    write_bytes(path, buffer.getvalue())


def _draw_scores(axes: Any, scores: Sequence[BoardScore]) -> None:
    axes.set_title("Leaderboard and local log loss", loc="left", color=_INK)
    axes.set_ylabel("log loss")
    for key, (label, colour, marker) in _SERIES.items():
        _draw_series(axes, [getattr(row, key) for row in scores], label, colour, marker)
    axes.legend(frameon=False, loc="best")
    axes.grid(axis="y", color=_LINE)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_gaps(axes: Any, scores: Sequence[BoardScore]) -> None:
    axes.set_ylabel("less the local one")
    axes.axhline(0, color=_INK, linewidth=1)
    for place, key in enumerate(("board", "board_private")):
        _, colour, marker = _SERIES[key]
        _draw_series(axes, [row.gaps[place] for row in scores], None, colour, marker)
    axes.margins(y=0.25)
    axes.grid(axis="y", color=_LINE)
    axes.spines[["top", "right"]].set_visible(False)


def _name_steps(axes: Any, scores: Sequence[BoardScore]) -> None:
    # By their order, not by the clock: one evening's scores would lie on top of each other.
    places = range(0, len(scores), -(-len(scores) // _MOST_NAMES))
    labels = [f"{_name(scores[place].run)}, {_time(scores[place]):%m-%d %H:%M}" for place in places]
    few = len(labels) <= _FEW
    axes.set_xticks(
        places, labels, fontsize=8, rotation=0 if few else 35, ha="center" if few else "right"
    )
    axes.set_xlim(-0.5, len(scores) - 0.5)


def _draw_series(
    axes: Any,
    values: Sequence[float | None],
    label: str | None,
    colour: str,
    marker: str,
) -> None:
    there = [place for place, value in enumerate(values) if value is not None]
    if there:
        axes.plot(
            there,
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


def _name(run: str) -> str:
    # A dollar sign would begin a formula.
    text = run if len(run) <= _NAME_LENGTH else f"{run[: _NAME_LENGTH - 1]}…"
    return (text if Lettering().korean_font else romanised(text)).replace("$", r"\$")
