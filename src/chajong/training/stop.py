"""Ctrl-C and a polite kill, heeded between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether the user has asked to stop."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def asked_to_stop() -> Iterator[Stop]:
    """Turn Ctrl-C and a polite kill into a question that the loop answers after its step.

    A second Ctrl-C stops at once.

    Yields:
        Whether the user has asked.
    """
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        # torchrun follows a Ctrl-C with a polite kill of its own: that is no second Ctrl-C.
        if stop.asked and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        stop.asked = True

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, where signals do not arrive
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
