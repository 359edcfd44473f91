"""Memory that photos share while they come and while they are decoded."""

import asyncio
import socket
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any

import pytest
from starlette.requests import Request

from chajong.photos.header import Header
from chajong.serving.service.problems import Refusal
from chajong.serving.service.room import Room
from chajong.serving.service.settings import Limits
from chajong.serving.service.uploads import Uploads
from tests.serving.running import Running, form

LARGE, SMALL = Header("png", 1000, 1000), Header("jpeg", 100, 100)


def uploading(
    chunks: list[bytes],
    declared: int | None = None,
    headers: dict[str, str] | None = None,
    pause_s: float = 0,
) -> Request:
    """A request whose body comes in pieces, all but the first after a pause, and then no more."""
    pieces = iter(chunks)
    length = sum(map(len, chunks)) if declared is None else declared

    async def receive() -> dict[str, Any]:
        for piece in pieces:
            await asyncio.sleep(pause_s if piece is not chunks[0] else 0)
            return {"type": "http.request", "body": piece, "more_body": True}
        if declared is None:
            return {"type": "http.request", "body": b"", "more_body": False}
        return await asyncio.Future()

    named = {"content-length": str(length), **(headers or {})}
    head = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    return Request({"type": "http", "headers": head}, receive)


def test_bytes_that_never_come_hold_no_room() -> None:
    async def held() -> int:
        uploads = Uploads(Limits())
        async with uploads.one(uploading([b"few"], headers={"content-length": "20000000"})):
            return uploads._num_held

    assert asyncio.run(held()) == 3


@pytest.mark.parametrize("num_drops", [0, 1000], ids=["silence", "drop by drop"])
def test_what_came_fast_buys_no_long_wait(num_drops: int) -> None:
    chunks = [bytes(1_000_000), *(b"a" for _ in range(num_drops))]

    async def ask() -> None:
        uploads = Uploads(Limits(body_s=0.2))
        try:
            async with (
                asyncio.timeout(10),
                uploads.one(uploading(chunks, declared=2_000_000, pause_s=0.05)),
            ):
                pass
        finally:
            assert uploads._num_held == 0

    with pytest.raises(
        Refusal, match=r"1,000,0\d\d bytes .* slower than 16,384 a second, for 0\.2 s"
    ) as found:
        asyncio.run(ask())
    assert found.value.kind == "slow-body"


def test_photos_of_one_body_are_held_once() -> None:
    photos = [("photos", f"{place}.jpg", bytes(1_000_000)) for place in range(8)]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": form(*photos)[0], "more_body": False}

    async def held() -> tuple[int, int]:
        head = [(b"content-type", form()[1]["Content-Type"].encode())]
        request = Request({"type": "http", "headers": head}, receive)
        tracemalloc.start()
        async with Uploads(Limits()).several(request) as found:
            assert len(found) == 8
            return tracemalloc.get_traced_memory()

    try:
        now, most = asyncio.run(held())
    finally:
        tracemalloc.stop()
    assert now < 8.5e6
    assert most < 18.5e6  # while the body was cut up


def test_no_more_is_decoded_at_once_than_there_is_room_for() -> None:
    room, order = Room(15e6), []
    entered = threading.Event()

    def second() -> None:
        entered.set()
        with room.taken(LARGE):
            order.append("second")

    with ThreadPoolExecutor(1) as threads:
        with room.taken(LARGE):
            waiting = threads.submit(second)
            entered.wait()
            with room.taken(SMALL):  # fits beside it
                time.sleep(0.1)
            order.append("first")
        waiting.result(60)
    assert order == ["first", "second"]


def test_a_photo_larger_than_the_room_comes_alone() -> None:
    room = Room(1)
    with room.taken(LARGE):
        pass
    with pytest.raises(ValueError, match="inside"), room.taken(LARGE):
        raise ValueError("inside")
    with room.taken(LARGE):  # what failed has left
        pass


def test_a_client_that_only_keeps_its_place_makes_room(service: Running) -> None:
    most = Limits().max_connections
    with ExitStack() as lines:
        clients = []
        for _ in range(most + 3):
            client = HTTPConnection("127.0.0.1", service.port, timeout=60)
            lines.callback(client.close)
            client.request("GET", "/healthz")
            assert client.getresponse().read() == b'{"status":"ok"}'
            clients.append(client)
        socks = [client.sock for client in clients]
        assert all(socks)
        for sock in socks[:3]:
            assert isinstance(sock, socket.socket)
            assert sock.recv(1) == b""  # the oldest were closed
        clients[3].request("GET", "/healthz")
        assert clients[3].getresponse().status == 200
    assert service.ask("/healthz").status == 200
