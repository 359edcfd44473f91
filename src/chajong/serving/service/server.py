"""The process that serves: its address, signals, and how long a connection may take.

A stop is graceful: for a moment all answers ask their clients to go elsewhere, then nobody new is
let in, and what was accepted is answered. Time limits are kept here, below the application: a
client that sends its request byte by byte, or does not read its answer, is hung up on.
"""

import asyncio
import gc
import logging
import math
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, ClassVar

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from chajong.errors import ResourceError
from chajong.progress import say
from chajong.serving.engine import products_alone
from chajong.serving.service.app import make_app
from chajong.serving.service.joined import JoinedWrites
from chajong.serving.service.keeper import Keeper
from chajong.serving.service.metrics import Metrics
from chajong.serving.service.problems import Refusal
from chajong.serving.service.settings import Limits, Settings

_MAX_HEAD_BYTES = 16384
_FAREWELL_S = 0.5
_UNREAD = "unread"  # the route of what is refused before it can be read
_IDLE_S = 75  # longer than proxies keep their connections, so that none is closed as it is used
_TICKS_A_SECOND = 10  # of uvicorn's main loop


def serve(settings: Settings) -> None:
    """Serve a bundle until SIGTERM or Ctrl-C.

    Args:
        settings: How.

    Raises:
        BundleError: If it cannot be used.
        ResourceError: If the address cannot be had.
    """  # noqa: DOC502 raised by what it calls
    # Asked for a new bundle before the first is open, it would end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logging.basicConfig(format="chajong: %(message)s", level=logging.WARNING)
    logging.getLogger("chajong").setLevel(logging.INFO)
    # Photo after photo makes and drops thousands of small objects, hardly any of them in circles.
    gc.set_threshold(20_000)
    metrics = Metrics()
    keeper = Keeper(settings, metrics)
    with products_alone(), listening(settings.host, settings.port) as listener:
        host, port = listener.getsockname()[:2]
        where = f"[{host}]" if ":" in host else host
        is_reached = not ip_address(host).is_loopback
        if is_reached and not settings.keys:
            say(f"chajong: anybody who reaches {where} may ask, for there is no key.")
        greeting = f"http://{where}:{port}/ answers for {settings.folder}; Ctrl-C stops it"
        app = make_app(settings, keeper, metrics, is_reached)
        server = _Server(app, keeper, settings.limits, metrics, greeting)
        server.run(sockets=[listener])


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Listen.

    Args:
        host: The address.
        port: The port; 0 for a free one.

    Yields:
        The socket.

    Raises:
        ResourceError: If the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ResourceError(
            f"Port {port} of {host} cannot be had ({error.strerror or error}). Choose another with "
            "--port and --host."
        ) from error
    with listener:
        # asyncio sees to this only for sockets that were made by the name of TCP; without it each
        # answer takes 40 ms more.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


class _Server(uvicorn.Server):
    def __init__(
        self, app: FastAPI, keeper: Keeper, limits: Limits, metrics: Metrics, greeting: str
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=type("_Limited", (_Connection,), {"limits": limits, "metrics": metrics}),
                ws="none",
                lifespan="on",
                log_config=None,
                log_level=logging.ERROR,  # clients cannot fill the log
                access_log=False,
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
                timeout_keep_alive=_IDLE_S,
                timeout_graceful_shutdown=math.ceil(limits.body_s + limits.deadline_s),
            )
        )
        self._keeper, self._greeting = keeper, greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Not before: whoever reads the address may stop it at once, and signals are heard now.
        print(self._greeting, flush=True)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # As uvicorn's own, but it does not die of the signal in the end, for it did as asked.
        wanted = {signal.SIGINT: self.handle_exit, signal.SIGTERM: self.handle_exit}
        wanted[signal.SIGHUP] = lambda *_: self._keeper.wake()
        before = {number: signal.signal(number, handle) for number, handle in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_A_SECOND == 0:
            self._hang_up()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._keeper.is_stopping = True
        say("chajong: stopping; what was accepted is answered.")
        await asyncio.sleep(_FAREWELL_S)
        await super().shutdown(sockets)

    def _hang_up(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            assert isinstance(connection, _Connection)
            connection.hang_up_if_late(now)


class _Connection(H11Protocol):
    limits: ClassVar[Limits]
    metrics: ClassVar[Metrics]
    _owed: tuple[object, ...] = ()
    _since = 0.0

    # Hangs up on a client that takes too long over what is its to do.
    def hang_up_if_late(self, now: float) -> None:
        unread = self.transport.get_write_buffer_size()
        has_begun = bool(self.conn.trailing_data[0])  # a next request
        # Changes with every step of the client.
        owed = self.cycle, self.conn.their_state, unread, has_begun
        if owed != self._owed:
            self._owed, self._since = owed, now
        allowed_s = self._allowed_s(unread)
        if allowed_s is not None and now - self._since > allowed_s:
            self.transport.abort()

    # None where the next step is ours.
    def _allowed_s(self, unread: int) -> float | None:
        if self.conn.their_state is h11.IDLE and not unread:
            is_between = self.cycle is not None and not self.conn.trailing_data[0]
            return None if is_between else self.limits.head_s  # between requests uvicorn hangs up
        if self.conn.their_state is h11.SEND_BODY:
            # The application refuses a slow body itself; what still comes is thrown away.
            return (self.limits.body_s + self.limits.head_s) if self._is_answered else None
        return self.limits.body_s if unread else None

    @property
    def idle_until(self) -> float:
        """When it is closed for want of a next request; never, if it is about anything else."""
        task = self.timeout_keep_alive_task
        return math.inf if task is None or self.transport.is_closing() else task.when()

    @property
    def _is_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        # The limit on heads that are not whole yet lets one pass that comes in one piece.
        is_whole = len(data) <= _MAX_HEAD_BYTES or b"\r\n\r\n" in data[:_MAX_HEAD_BYTES]
        if self.conn.their_state is h11.IDLE and not is_whole:
            self.send_400_response("The request's head is too long.")
        else:
            super().data_received(data)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        joined: Any = JoinedWrites(transport, self.loop)
        super().connection_made(joined)
        if len(self.connections) <= self.limits.max_connections:
            return
        # A client that only keeps its place for a next request loses it to a new one.
        others = [each for each in self.connections if isinstance(each, _Connection)]
        if idle := [each for each in others if each.idle_until < math.inf]:
            min(idle, key=lambda each: each.idle_until).transport.close()
        else:
            advice = "Ask again in a moment, or keep connections and use them again."
            self._refuse(Refusal("queue-full", "Too many connections are open.", advice))

    def send_400_response(self, msg: str) -> None:
        advice = "Let a library for HTTP write the request."
        self._refuse(Refusal("bad-request", msg, advice))

    def shutdown(self) -> None:
        # A new connection's first request may be on its way.
        is_new = not self.cycle
        if is_new:
            self.loop.call_later(_FAREWELL_S, super().shutdown)
        else:
            super().shutdown()

    def _refuse(self, refusal: Refusal) -> None:
        response = refusal.response()
        self.metrics.requests.labels(_UNREAD, str(response.status_code)).inc()
        phrase = HTTPStatus(response.status_code).phrase
        head = [f"HTTP/1.1 {response.status_code} {phrase}", "connection: close"]
        head += [f"{name}: {value}" for name, value in response.headers.items()]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + bytes(response.body))
        self.transport.close()
