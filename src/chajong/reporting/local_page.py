"""Pages that are served to this machine alone.

They listen on 127.0.0.1, every request needs a token that only the printed address has, and the
Host header must name this machine, so that no web site can reach them by a name of its own (DNS
rebinding).
"""

import re
import secrets
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chajong.errors import ResourceError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

LOOPBACK = re.compile(r"(127(\.\d+){3}|localhost|\[::1\])(:\d+)?")
"""What the header Host of a request says that is meant for this machine."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def guarded_app(
    routes: "Sequence[Route]",
    page: "LocalPage",
    handlers: Mapping[Any, Callable[..., Any]] | None = None,
) -> "Starlette":
    """Make a web application that answers its own page only.

    Args:
        routes: What it answers.
        page: Where; every request must bring its token, in its address or as a cookie.
        handlers: What is answered to errors.

    Returns:
        The application.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import Response

    token, cookie = page.token, f"chajong_{page.port}"  # cookies do not tell ports apart

    async def guard(
        request: "Request", proceed: Callable[["Request"], Awaitable["Response"]]
    ) -> "Response":
        refused = _refusal(request, token, cookie)
        response = Response(refused, 403) if refused else await proceed(request)
        if not refused and response.headers.get("content-type", "").startswith("text/html"):
            response.set_cookie(cookie, token, httponly=True, samesite="strict")
        for name, value in _HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return Starlette(
        routes=list(routes),
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)],
        exception_handlers=dict(handlers or {}),
    )


@dataclass(frozen=True)
class LocalPage:
    """Where a page is about to be served.

    Attributes:
        listener: The socket on 127.0.0.1.
        token: What every request must bring.
    """

    listener: socket.socket
    token: str

    @property
    def port(self) -> int:
        """The port."""
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The address to open, with the token."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def serve(self, app: "Starlette", *, browser: bool) -> None:
        """Serve until Ctrl-C.

        Args:
            app: What `guarded_app` made.
            browser: Whether to open the page.
        """
        import uvicorn

        if browser:
            threading.Thread(target=webbrowser.open, args=(self.url,), daemon=True).start()
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        with suppress(KeyboardInterrupt):  # how it ends; uvicorn has answered what was asked
            uvicorn.Server(config).run(sockets=[self.listener])


@contextmanager
def listening(port: int) -> Iterator[LocalPage]:
    """Listen on 127.0.0.1.

    Args:
        port: The port; 0 for a free one.

    Yields:
        The page to be served there.

    Raises:
        ResourceError: If the port is taken.
    """
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ResourceError(
            f"Port {port} of 127.0.0.1 cannot be had ({error.strerror or error}). Choose another "
            "with --port, or leave it out for a free one."
        ) from error
    with listener:
        # asyncio sees to this only for sockets that were made by the name of TCP; without it each
        # answer takes 40 ms more.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield LocalPage(listener, secrets.token_urlsafe(16))


def _refusal(request: "Request", token: str, cookie: str) -> str | None:
    host = request.headers.get("host", "")
    if not LOOPBACK.fullmatch(host):
        return "This page is for this machine alone: open it as 127.0.0.1 or localhost."
    # Other ports of this machine are the same site to a browser, so that cookies are sent.
    if request.headers.get("origin", f"http://{host}") != f"http://{host}":
        return "Another page may not ask for this."
    got = request.query_params.get("token") or request.cookies.get(cookie, "")
    if not secrets.compare_digest(got.encode(), token.encode()):
        return "Open the address that was printed in the terminal: it holds the token."
    return None
