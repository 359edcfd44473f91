"""A training to look at while it goes on: in the terminal, and as a page of this machine."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live as RichLive
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from chajong.live import ModelState, model_states
from chajong.progress import duration
from chajong.reporting.local_page import LocalPage, guarded_app, listening
from chajong.reporting.page import render
from chajong.reporting.report_page import curves
from chajong.run import Run

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_STATIC = Path(__file__).with_name("static")
_EVERY_S = 1.0
_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 24


def watch(run: Run, *, once: bool = False) -> None:
    """Show a training in the terminal until it is over, or until Ctrl-C.

    Args:
        run: The run.
        once: Whether to show where it stands and end.
    """
    console = Console(width=None if sys.stdout.isatty() else 160)
    if once or not console.is_terminal:
        console.print(_picture(run, model_states(run)))
        return
    with RichLive(console=console, auto_refresh=False) as shown:
        while True:
            states = model_states(run)
            shown.update(_picture(run, states), refresh=True)
            if all(state.status == "done" for state in states):
                return
            time.sleep(_EVERY_S)


def watch_page(run: Run, port: int = 0, *, browser: bool = True) -> Iterator[str]:
    """Show a training in the browser until Ctrl-C.

    Args:
        run: The run.
        port: The port on 127.0.0.1; 0 for a free one.
        browser: Whether to open the page.

    Yields:
        Lines for a terminal: the address.

    Raises:
        ResourceError: If the port is taken.
    """  # noqa: DOC502 raised by `listening`
    with listening(port) as page:
        yield f"{run.folder} as it is trained: {page.url}"
        yield "Only this machine can open it. Stop with Ctrl-C; training goes on."
        page.serve(_app(run, page), browser=browser)


def summary(states: Sequence[ModelState]) -> list[tuple[str, ...]]:
    """Say how far models are.

    Args:
        states: The models.

    Returns:
        For each: name, status, epoch, loss, held-out log loss, top-1, photos a second, time left.
    """
    return [_row(state) for state in states]


@dataclass(frozen=True)
class _Curve:
    # Takes the room that is left, and shows the newest values in it.
    values: Sequence[float]

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(sparkline(self.values, options.max_width))

    def __rich_measure__(self, _: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(0, min(len(self.values), _WIDTH, options.max_width))


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """Draw a curve in one line of text.

    Args:
        values: Any number of them.
        width: Most blocks, 1 or more.

    Returns:
        A block a value, the last ones.
    """
    shown = list(values)[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(top * (value - low) / ((high - low) or 1))] for value in shown)


def _row(state: ModelState) -> tuple[str, ...]:
    name = "all photos" if state.name == "all" else f"fold {state.name}"
    last = state.history[-1] if state.history else {}
    measured = tuple(f"{last[key]:.4f}" if key in last else "" for key in ("log_loss", "top1"))
    live = state.live
    if live is None:
        epoch = f"{len(state.history)}" if state.history else ""
        return (name, state.status, epoch, "", *measured, "", "")
    at = f"{live.done * live.epochs:.1f} of {live.epochs}"
    rate, left = f"{live.photos_per_s:,.0f}", duration(live.seconds_left)
    return (name, state.status, at, f"{live.loss:.3f}", *measured, rate, left)


def _picture(run: Run, states: Sequence[ModelState]) -> RenderableType:
    table = Table(box=None, header_style="bold", pad_edge=False)
    headings = ("", "", "epoch", "loss", "log loss", "top-1", "photos/s", "left", "curve")
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True, min_width=len(heading))
    table.add_column(headings[-1])  # alone it may become narrower
    for state in states:
        key = "log_loss" if state.history and "log_loss" in state.history[0] else "loss"
        table.add_row(*_row(state), _Curve([entry[key] for entry in state.history]))
    return Group(Text(str(run.folder)), table)


def _app(run: Run, page: LocalPage) -> "Starlette":
    from starlette.responses import Response
    from starlette.routing import Route

    css = render("page.css")

    def static(request: "Request") -> "Response":
        name = request.url.path.strip("/") or "watch.html"
        kind = "text/html" if name.endswith("html") else "text/javascript"
        return Response((_STATIC / name).read_bytes(), media_type=kind)

    def style(_: "Request") -> "Response":
        return Response(css, media_type="text/css")

    def now(_: "Request") -> "Response":
        states = model_states(run)
        charts = tuple(curves([(state.name, list(state.history)) for state in states]))
        over = all(state.status == "done" for state in states)
        text = render("watch.html", run=run, rows=summary(states), charts=charts, over=over)
        return Response(text, media_type="text/plain")

    routes = [
        Route("/", static),
        Route("/watch.js", static),
        Route("/page.css", style),
        Route("/now", now),
    ]
    return guarded_app(routes, page)
