"""A service in a process of its own, and asking it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from threadpoolctl import threadpool_info

KEY = "0123456789abcdef-known"
KNOWN = {"Authorization": f"Bearer {KEY}"}
BOUNDARY = "between"


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """The kind of a problem, which must be whole."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        problem = self.json
        assert set(problem) == {"type", "title", "status", "detail", "advice"}
        assert problem["status"] == self.status
        assert all(problem.values())
        return str(problem["type"]).removeprefix("urn:chajong:problem:")


@dataclass(frozen=True)
class Running:
    """A service that runs."""

    process: "subprocess.Popen[str]"
    port: int
    log: Path

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        method: str | None = None,
    ) -> Reply:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            way = method or ("GET" if body is None else "POST")
            connection.request(way, path, body, headers or {})
            got = connection.getresponse()
            names = {name.lower(): value for name, value in got.getheaders()}
            return Reply(got.status, names, got.read())
        finally:
            connection.close()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log.read_text()

    def peak_mib(self) -> float:
        """The most memory that it ever took."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


@contextmanager
def running(
    bundle: Path, log: Path, *options: str, key: str = "", under: Sequence[str] = ()
) -> Iterator[Running]:
    """Serve, under another command if one is given, and stop in the end; nothing may have gone
    wrong inside."""
    command = [*under, sys.executable, "-m", "chajong", "serve", str(bundle), "--port", "0"]
    command += options
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    environment |= {"CHAJONG_API_KEY": key} if key else {}
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("http://"), log.read_text()
            service = Running(process, urlsplit(line.split()[0]).port or 0, log)
            yield service
            if process.poll() is None:
                service.stop()
            assert "Traceback" not in log.read_text(), log.read_text()
        finally:
            process.kill()


def form(*parts: tuple[str, str, bytes]) -> tuple[bytes, dict[str, str]]:
    """Multipart of (field, file name, content)."""
    body = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        + b"\r\n"
        for field, name, content in parts
    )
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return body + f"--{BOUNDARY}--\r\n".encode(), {"Content-Type": kind}


def value(service: Running, name: str, headers: dict[str, str] | None = None) -> float:
    """A metric, or the sum of those whose names begin so."""
    reply = service.ask("/metrics", headers=headers)
    assert reply.status == 200
    lines = reply.body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def until(is_so: Any, seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def blas_threads() -> set[int]:
    """On how many threads numpy computes a matrix product."""
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def is_problem(reply: Reply, status: int, kind: str) -> None:
    assert (reply.status, reply.kind) == (status, kind)
