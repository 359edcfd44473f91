"""A process of its own for each service, so that training never waits for one.

It reads points from its standard input, a JSON line each, until training ends or dies.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from chajong.choices import Service
from chajong.run import Run
from chajong.tracking.send import Teller, sending
from chajong.tracking.tracker import Point, open_tracker

PATIENCE_S = 120
"""Most seconds that a service may take for what it is told at once."""

_MOST_BYTES = 1 << 16


def main() -> None:
    """Show a run as it is trained: `python -m chajong.tracking.relay SERVICE RUN`."""
    service, folder = cast(Service, sys.argv[1]), Path(sys.argv[2])
    os.nice(10)  # training comes first
    run = Run.load(folder)
    # One process a service: that of a killed training may still be sending its last points.
    with sending(run, service, wait=True):
        with patience():
            teller = Teller(open_tracker(service, run))
        for points in _arriving(sys.stdin.fileno()):
            with patience():
                teller.tell(points)
        with patience():
            teller.finish(Run.load(folder))


@contextmanager
def patience() -> Iterator[None]:
    """End the process if the block takes too long: a library may wait forever for a server.

    Yields:
        Nothing.
    """
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)


def _arriving(source: int) -> Iterator[list[Point]]:
    # All that has come meanwhile, at once: a service is asked as rarely as it is slow.
    rest = b""
    while piece := os.read(source, _MOST_BYTES):
        *lines, rest = (rest + piece).split(b"\n")
        yield [Point(**json.loads(line)) for line in lines]


if __name__ == "__main__":
    main()
