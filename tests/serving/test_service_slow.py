"""Clients that take their time: heads, bodies and connections that never end are ended."""

import socket
import time
from http.client import HTTPConnection, HTTPResponse

from tests.serving.running import KEY, KNOWN, Running, until, value


def test_a_head_that_never_ends(tight: Running) -> None:
    for start in (b"", b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Slow: "):
        with socket.create_connection(("127.0.0.1", tight.port), timeout=30) as line:
            line.sendall(start)
            begun = time.monotonic()
            assert not _rest(line, drip=bool(start))
            assert time.monotonic() - begun < 15


def test_a_head_that_comes_at_once_is_no_longer_than_others(patient: Running) -> None:
    for length in (17_000, 200_000):
        with socket.create_connection(("127.0.0.1", patient.port), timeout=30) as line:
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * length + b"\r\n\r\n")
            assert _rest(line, drip=False).startswith(b"HTTP/1.1 400")
    told = patient.ask("/metrics").body.decode()
    assert 'chajong_requests_total{route="unread",status="400"}' in told


def test_a_slow_body_that_comes_at_a_walking_pace(tight: Running, some: list[bytes]) -> None:
    # Slower than is allowed to begin with, but a hundred times as fast as dripping.
    until(lambda: value(tight, "chajong_queue_photos", KNOWN) == 0)  # of other tests
    head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    body = some[0] + bytes(270_000 - len(some[0]))
    with socket.create_connection(("127.0.0.1", tight.port), timeout=30) as line:
        line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        begun = time.monotonic()
        for start in range(0, len(body), 18_000):
            line.sendall(body[start : start + 18_000])
            time.sleep(0.25)
        assert time.monotonic() - begun > 3
        # Taken; its deadline is another matter.
        assert _rest(line, drip=False).startswith((b"HTTP/1.1 200", b"HTTP/1.1 504"))


def test_an_idle_connection_is_kept_for_the_next_request(tight: Running) -> None:
    connection = HTTPConnection("127.0.0.1", tight.port, timeout=30)
    lines = []
    for pause_s in (6, 0):  # longer than uvicorn waits by itself
        connection.request("GET", "/healthz")
        lines.append(connection.sock)
        assert connection.getresponse().read() == b'{"status":"ok"}'
        time.sleep(pause_s)
    assert lines[0] is lines[1]
    connection.close()


def test_a_body_that_never_ends(tight: Running) -> None:
    with socket.create_connection(("127.0.0.1", tight.port), timeout=30) as line:
        head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        line.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode())
        assert _rest(line, drip=True).startswith(b"HTTP/1.1 408")


def _rest(line: socket.socket, drip: bool) -> bytes:
    line.settimeout(0.2)
    while True:
        try:
            if drip:
                line.sendall(b"x")
            return line.recv(1000)
        except TimeoutError:
            continue
        except ConnectionError:
            return b""


def test_an_answer_comes_in_one_piece(patient: Running) -> None:
    ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", patient.port), timeout=30) as line:
        for _ in range(50):
            line.sendall(ask)
            assert line.recv(65536).endswith(b'\r\n\r\n{"status":"ok"}')


def read_whole(line: socket.socket) -> None:
    answer = HTTPResponse(line)
    answer.begin()
    assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')


def test_a_next_request_may_come_in_pieces_after_a_rest(patient: Running) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(("127.0.0.1", patient.port), timeout=30) as line:
        line.sendall(head + b"\r\n")
        read_whole(line)
        time.sleep(10.5)  # longer than a head may take
        line.sendall(head)
        time.sleep(1.5)
        line.sendall(b"\r\n")
        read_whole(line)
