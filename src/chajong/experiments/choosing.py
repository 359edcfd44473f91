"""Choosing runs of a list, putting them in order, and laying them out for a terminal."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from chajong.errors import RunError
from chajong.experiments.listing import Row
from chajong.progress import duration
from chajong.wording import did_you_mean, in_a_line, listed, moment, nfc

if TYPE_CHECKING:
    import polars as pl

FIELDS = (*(field.name for field in fields(Row) if field.name != "changes"), "gap")
"""What runs can be chosen and sorted by, beside any value of a recipe by its dotted path."""

_CONDITION = re.compile(r"\s*([\w.]+)\s*(<=|>=|!=|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_HEADINGS = ("run", "status", "log loss", "board", "private", "top-1", "time", "started")
_SCORES = ("log_loss", "board", "board_private", "top1")
_TEXT_WIDTH = 60


def choose(rows: Iterable[Row], conditions: Sequence[str]) -> list[Row]:
    """Keep the runs for which every condition holds.

    Args:
        rows: The runs.
        conditions: Each a field, one of = != < <= > >= ~, and a value: `log_loss<0.9`,
            `optim.lr=0.001`. `~` means that the value is part of the text. What a run does not
            have is only ever unequal.

    Returns:
        Those that are left, in the same order.

    Raises:
        RunError: If a condition is not of that form, or its field or number cannot be.
    """
    kept = every = list(rows)
    for condition in conditions:
        found = _CONDITION.fullmatch(condition)
        if found is None:
            raise RunError(
                f"--where {condition!r} must be a field, one of = != < <= > >= ~, and a value, "
                f"such as 'log_loss<0.9' or 'optim.lr=0.001'. Fields: {listed(FIELDS, 99)}."
            )
        name, sign, wanted = found.groups()
        get, holds = _getter(every, name), _HOLDS[sign]
        alike = partial(_alike, condition, name, sign, wanted)
        kept = [row for row in kept if holds(*alike(get(row)))]
    return kept


def in_order(rows: Iterable[Row], field: str, *, reverse: bool = False) -> list[Row]:
    """Sort runs.

    Args:
        rows: The runs.
        field: What by: one of `FIELDS`, or a value of a recipe by its dotted path.
        reverse: Whether the largest comes first.

    Returns:
        The runs, the smallest value first; those without one last, whatever the order.

    Raises:
        RunError: If there is no such field.
    """  # noqa: DOC502 raised by `_getter`
    kept = list(rows)
    get = _getter(kept, field)
    having = [row for row in kept if get(row) is not None]
    at = moment if field == "started" else _sortable
    having.sort(key=lambda row: at(get(row)), reverse=reverse)
    return having + [row for row in kept if get(row) is None]


def select(
    rows: Iterable[Row],
    conditions: Sequence[str] = (),
    sort: str | None = None,
    *,
    reverse: bool = False,
    top: int | None = None,
) -> list[Row]:
    """Choose runs, put them in order and cut the list.

    Args:
        rows: The runs.
        conditions: As for `choose`.
        sort: As for `in_order`; the order stays as it is if none.
        reverse: Whether the order is turned round.
        top: How many are kept; all if none.

    Returns:
        The runs.

    Raises:
        RunError: If a condition or a field cannot be.
    """  # noqa: DOC502 raised by what it calls
    if top is not None and top < 0:
        raise RunError(f"top must be 0 or more. Got {top}.")
    chosen = choose(rows, conditions)
    if sort is not None:
        chosen = in_order(chosen, sort, reverse=reverse)
    elif reverse:
        chosen.reverse()
    return chosen[:top]


def frame(rows: Iterable[Row]) -> "pl.DataFrame":
    """Make a table of runs, to be computed with.

    Args:
        rows: The runs.

    Returns:
        A row a run, a column for each of `FIELDS`, and `changes` as JSON.
    """
    import polars as pl  # a list in a terminal needs none of it

    kinds: dict[str, pl.DataType] = {name: pl.String() for name in (*FIELDS, "changes")}
    kinds |= {name: pl.Float64() for name in (*_SCORES, "seconds", "gap")}
    kinds["num_photos"] = pl.Int64()
    told = [
        {**row.as_dict(), "changes": json.dumps(dict(row.changes), ensure_ascii=False)}
        for row in rows
    ]
    return pl.DataFrame(told, schema=kinds)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Lay runs out in columns.

    Args:
        rows: The runs.

    Yields:
        The headings, then a line a run; without leaderboard scores where no run has any.
    """
    shown = [place for place, name in enumerate(_HEADINGS) if _is_shown(name, rows)]
    lines = [[(*_HEADINGS, "differs in")[place] for place in (*shown, -1)]]
    for row in rows:
        cells = _cells(row)
        lines.append([cells[place] for place in (*shown, -1)])
    widths = [max(_width(line[place]) for line in lines) for place in range(len(shown))]
    for line in lines:
        padded = [
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=False)
        ]
        yield "  ".join([*padded, line[-1]]).rstrip()


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # Korean letters take two columns

    return cell_len(text)


def _is_shown(heading: str, rows: Sequence[Row]) -> bool:
    scores = {"board": "board", "private": "board_private"}
    return heading not in scores or any(getattr(row, scores[heading]) is not None for row in rows)


def _cells(row: Row) -> tuple[str, ...]:
    scores = [getattr(row, name) for name in _SCORES]
    figures = ["" if score is None else f"{score:.4f}" for score in scores]
    changes = ", ".join(f"{path}={_said(value)}" for path, value in row.changes.items())
    if row.base != row.recipe:
        changes = f"{row.base}: {changes}"
    if row.note:
        text = in_a_line(row.note)
        short = text if len(text) <= _TEXT_WIDTH else f"{text[: _TEXT_WIDTH - 1]}…"
        changes += f"{'; ' if changes else ''}note: {short}"
    started = row.started[:16].replace("T", " ")
    return (row.run, row.status, *figures, duration(row.seconds), started, changes)


def _getter(rows: Sequence[Row], name: str) -> Callable[[Row], Any]:
    if name in FIELDS:
        return lambda row: getattr(row, name)
    from chajong.recipe_file import flat
    from chajong.recipes import RECIPES

    bases = {name: flat(recipe) for name, recipe in RECIPES.items()}
    known = {path for base in bases.values() for path in base}.union(*(row.changes for row in rows))
    if rows and name not in known:
        meant = did_you_mean(name, {*known, *FIELDS})
        raise RunError(
            f"There is no field {name!r}{meant}. Fields: {listed(FIELDS, 99)}; and every value of "
            "a recipe, such as 'optim.lr'."
        )
    return lambda row: row.changes[name] if name in row.changes else bases[row.base].get(name)


def _alike(condition: str, name: str, sign: str, wanted: str, value: Any) -> tuple[Any, Any]:
    # Both as times or numbers where the run has such, as `--set` reads them where they are of a
    # recipe, else as texts.
    if name == "started" and sign != "~":
        if moment(wanted) == -math.inf:
            raise RunError(
                f"--where {condition!r}: the value must be a time such as 2026-01-31 or "
                f"2026-01-31T09:30+09:00. Got {wanted!r}."
            )
        # A day is all of its moments: `<=` holds at its end, `=` within.
        if _DAY.fullmatch(wanted):
            return moment(value[: len(wanted)]), moment(wanted)
        return moment(value), moment(wanted)
    if isinstance(value, int | float) and not isinstance(value, bool) and sign != "~":
        try:
            return value, float(wanted)
        except ValueError:
            raise RunError(
                f"--where {condition!r}: the value must be a number. Got {wanted!r}."
            ) from None
    if name not in FIELDS and sign in ("=", "!=") and not isinstance(value, str):
        return value, _parsed(wanted)
    return (None if value is None else nfc(_said(value))), nfc(wanted)


def _parsed(text: str) -> Any:
    from chajong.recipe_file import parse_value

    try:
        return parse_value(text)
    except ValueError:
        return text


def _said(value: Any) -> str:
    # As `--set` takes it.
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _sortable(value: Any) -> tuple[bool, Any]:
    is_number = isinstance(value, int | float)
    return not is_number, value if is_number else str(value)


_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a is not None and a < b,
    "<=": lambda a, b: a is not None and a <= b,
    ">": lambda a, b: a is not None and a > b,
    ">=": lambda a, b: a is not None and a >= b,
    "~": lambda a, b: a is not None and b.casefold() in a.casefold(),
}
