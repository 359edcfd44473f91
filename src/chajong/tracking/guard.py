"""Keeps what trackers do away from training: each is a process that may fail, hang or be slow."""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from chajong.choices import Service
from chajong.progress import say
from chajong.run import Run
from chajong.tracking.send import epoch_points
from chajong.tracking.tracker import Point

_PIPE_BYTES = 1 << 20
LIMIT_S = 30.0


class Guard:
    """The process of one service, and the pipe to it: the only queue there is, and a bounded one.

    Nothing here waits for the process but `close`, and that for a bounded time.

    Args:
        service: Where the run is shown.
        run: The run.
    """

    def __init__(self, service: Service, run: Run) -> None:
        self.service, self.folder = service, run.folder
        self.log_path = run.folder / f"{service}.log"
        # -P: files of the working folder are none of ours.
        command = [sys.executable, "-P", "-m", "chajong.tracking.relay", service, str(run.folder)]
        with self.log_path.open("wb") as log:
            # A session of its own: Ctrl-C is meant for training.
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        assert self.process.stdin is not None
        self._pipe = self.process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # more than this account may have
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._works = True

    def send(self, line: bytes) -> None:
        """Put a line into the pipe, if there is room and someone at its end.

        Args:
            line: At most 4096 bytes, which a pipe takes whole or not at all.
        """
        if not self._works:
            return
        try:
            os.write(self._pipe, line)
        except BrokenPipeError:
            self._give_up(self._why())
        except BlockingIOError:
            self._give_up("it does not keep up")

    def end(self) -> None:
        """Tell the process that this was all."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def close(self, limit_s: float) -> None:
        """Wait for the process, which was told that this was all, for a bounded time.

        Args:
            limit_s: Most seconds to wait.
        """
        if not self._works:
            return
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self._give_up(f"it was not done {limit_s:.1f} s after training was")
        else:
            if code:
                self._give_up(self._why())

    def _give_up(self, reason: str) -> None:
        self._works = False
        self.end()
        self.process.kill()
        self.process.wait()
        say(
            f"{self.service} is not told any more: {reason} (see {self.log_path}). Training goes "
            f"on. Send the run later: chajong runs push {self.folder} --to {self.service}"
        )

    def _why(self) -> str:
        code = self.process.wait(5)
        if code < 0:
            return f"its process ended by signal {-code}"
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else f"its process ended with exit code {code}"


class Trackers:
    """All services that a run is shown in.

    Args:
        guards: One a service.
    """

    def __init__(self, guards: Sequence[Guard] = ()) -> None:
        self.guards = guards

    def step(self, model: str, at: int, values: Mapping[str, float]) -> None:
        """Tell what a step was like.

        Args:
            model: Name of the model's folder.
            at: Steps done in all epochs.
            values: Figures by name.
        """
        self._tell(Point(f"{model}/step", at, values))

    def epochs(self, model: str, history: Sequence[Mapping[str, Any]]) -> None:
        """Tell what epochs were like; those that were told before are known there.

        Args:
            model: Name of the model's folder.
            history: An entry an epoch.
        """
        for point in epoch_points(model, history):
            self._tell(point)

    def _tell(self, point: Point) -> None:
        line = json.dumps(asdict(point)).encode() + b"\n"
        for guard in self.guards:
            guard.send(line)

    def close(self, limit_s: float) -> None:
        """Let all services finish, for a bounded time.

        Args:
            limit_s: Most seconds to wait for all of them.
        """
        end = time.monotonic() + limit_s
        for guard in self.guards:
            guard.end()  # all of them first, so that none waits for a slow one
        for guard in self.guards:
            guard.close(max(0.0, end - time.monotonic()))


@contextmanager
def tracked(services: Sequence[Service], run: Run, limit_s: float = LIMIT_S) -> Iterator[Trackers]:
    """Show a run while it is trained.

    Args:
        services: Where.
        run: The run.
        limit_s: Most seconds to wait at the end for the services to have everything.

    Yields:
        What training tells them by.
    """
    trackers = Trackers([Guard(service, run) for service in dict.fromkeys(services)])
    try:
        yield trackers
    finally:
        trackers.close(limit_s)
