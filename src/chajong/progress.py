"""Progress that people can read: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

_PLAIN_EVERY_S = 15.0
_SILENT = ContextVar("silent", default=False)
_PLAIN = ContextVar("plain", default=False)


def duration(seconds: float) -> str:
    """Say a time span in words.

    Args:
        seconds: The span in seconds, 0 or more.

    Returns:
        Such as `48 s`, `12.7 min` or `3.2 h`.
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def seconds_left(
    took_s: float, begun: int, done: int, total: int, effort: Callable[[int], float]
) -> float:
    """Estimate how long the rest of a job takes.

    Args:
        took_s: Seconds since it was begun, or gone on with.
        begun: Units that were done then.
        done: Units that are done now, more than then.
        total: All units.
        effort: What so many units take, in any measure.

    Returns:
        Seconds.
    """
    return took_s * (effort(total) - effort(done)) / (effort(done) - effort(begun))


class Interrupted(Exception):  # noqa: N818 no error: the user asked for it
    """The user stopped long work; the message says how to go on."""


@contextmanager
def quiet() -> Iterator[None]:
    """Show no progress and no remarks on standard error while the block runs; errors are raised.

    Yields:
        Nothing.
    """
    token = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(token)


def is_quiet() -> bool:
    """Tell whether this is within a `quiet` block.

    Returns:
        Whether it is.
    """
    return _SILENT.get()


@contextmanager
def plain() -> Iterator[None]:
    """Show lines and no bars while the block runs, as several processes share a terminal.

    Yields:
        Nothing.
    """
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def say(line: str) -> None:
    """Print a line about what is going on, on standard error, but in a `quiet` block.

    Args:
        line: The text.
    """
    # Work goes on where nobody reads any more: a pipe whose reader is gone, a closed terminal.
    if not _SILENT.get():
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)


class Progress:
    """Progress of one long job, with its rate and the time left, on standard error.

    Args:
        title: What is going on, such as `reading photos`.
        total: How many units there are in all; none where nobody knows.
        unit: What is counted, such as `photos`.
        quiet: Whether to show nothing at all.
        effort: What so many units take, in any measure; alike for all if none.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        unit: str = "photos",
        *,
        quiet: bool = False,
        effort: Callable[[int], float] = float,
    ) -> None:
        self.title, self.total, self.unit, self._effort = title, total, unit, effort
        self.quiet = quiet or _SILENT.get()
        self.done = self._skipped = 0
        self._facts = ""
        self._start = self._said = time.monotonic()
        self._bar: RichProgress | None = None
        if sys.stderr.isatty() and not self.quiet and not _PLAIN.get():
            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[facts]}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(title, total=total, facts="")

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def skip(self, count: int) -> None:
        """Count units that an earlier process finished; they do not enter the rate.

        Args:
            count: How many.
        """
        self._skipped += count - self.done
        self.done = count
        if self._bar is not None:
            self._bar.update(self._task, completed=count)

    def note(self, line: str) -> None:
        """Print a line that stays.

        Args:
            line: The text.
        """
        if self._bar is not None:
            with suppress(OSError):
                self._bar.console.print(line, markup=False, highlight=False)
        else:
            self._say(line)

    def advance(self, count: int = 1, facts: str = "") -> None:
        """Count finished units.

        Args:
            count: How many more are done.
            facts: What else to show, such as `loss 0.71`.
        """
        self.done += count
        self._facts = facts or self._facts
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, facts=self._how_fast(now))
        elif now - self._said >= _PLAIN_EVERY_S:
            self._said = now
            of = f"/{self.total:,}" if self.total is not None else ""
            self._say(f"{self.title}: {self.done:,}{of} {self.unit}, {self._how_fast(now)}")

    def _how_fast(self, now: float) -> str:
        if self.total is None or self.done == self._skipped:
            return self._rate(now)
        left = seconds_left(
            now - self._start, self._skipped, self.done, max(self.total, self.done), self._effort
        )
        return f"{self._rate(now)}, {duration(left)} left"

    def _rate(self, now: float) -> str:
        rate = (self.done - self._skipped) / max(now - self._start, 1e-9)
        said = f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.2g} {self.unit}/s"
        return f"{said}, {self._facts}" if self._facts else said

    def _say(self, line: str) -> None:
        if not self.quiet:
            say(line)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is None:
            now = time.monotonic()
            done = f"{self.done - self._skipped:,} {self.unit} in {duration(now - self._start)}"
            self._say(f"{self.title}: {done}, {self._rate(now)}")
