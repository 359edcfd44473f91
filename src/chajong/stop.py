"""Ctrl-C and a polite kill, heeded so that what is done is kept."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_was_killed: list[bool] = []  # by a polite kill, whoever heard it


class Stop:
    """Whether the user has asked to stop."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def asked_to_stop() -> Iterator[Stop]:
    """Turn Ctrl-C and a polite kill into a question that the loop answers after its step.

    A second Ctrl-C stops at once. A process that was made deaf to Ctrl-C stays so.

    Yields:
        Whether the user has asked.
    """
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        # torchrun follows a Ctrl-C with a polite kill of its own: that is no second Ctrl-C.
        if stop.asked and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        if number == signal.SIGTERM and not stop.asked:
            _was_killed.append(True)
        stop.asked = True

    heard = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    try:
        before = {number: signal.signal(number, ask) for number in heard}
    except ValueError:  # not the main thread, where signals do not arrive
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def killed_as_stopped() -> Iterator[None]:
    """Turn a polite kill into Ctrl-C, and die of it in the end.

    Containers and batch systems send SIGTERM and kill a while later.

    Yields:
        Nothing; all of a command's work goes inside, in the main thread.
    """
    _was_killed.clear()

    def stop(_: int, __: FrameType | None) -> None:
        _was_killed.append(True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if _was_killed:
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGTERM)
