"""The review's page in the browser, served to this machine alone.

It listens on 127.0.0.1, every request needs a token that only the printed address has, and the
Host header must name this machine, so that no web site can reach it by a name of its own (DNS
rebinding). A photo is asked for by its id, never by a path.
"""

import getpass
import re
import secrets
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from pydantic import ValidationError

from chajong.errors import ChajongError, ResourceError, RunError
from chajong.files import locked
from chajong.photos.decode import Unreadable, decode
from chajong.photos.reading import read_file
from chajong.reporting.review import Review, Wish
from chajong.run import Run

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

_STATIC = Path(__file__).with_name("static")
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
_SIDES_PX = {"large": 1600, "small": 320}
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


def review_labels(
    run: Run,
    corrections: Path | None = None,
    *,
    who: str | None = None,
    top: int | None = None,
    port: int = 0,
    browser: bool = True,
) -> Iterator[str]:
    """Show the suspects of a run in the browser until Ctrl-C.

    Args:
        run: The run, all folds trained.
        corrections: The file of decisions; `corrections.csv` in the run's folder if None.
        who: Who decides; the user's name if None.
        top: How many suspects to show, the worst first; None for all.
        port: The port on 127.0.0.1; 0 for a free one.
        browser: Whether to open the page.

    Yields:
        Lines for a terminal: the address, and at the end what to do next.

    Raises:
        RunError: If another review holds the file, or the run learnt from corrections and it is
            not said where they are.
        ResourceError: If the port is taken.
    """  # noqa: DOC503 raised by what it calls too
    if corrections is None and run.record.corrections is not None:
        raise RunError(
            f"{run.folder} was trained with corrections. Name their file, so that the new "
            "decisions join them: --corrections FILE"
        )
    path = corrections or run.folder / "corrections.csv"
    with _alone(path):
        review = Review(run, path, who or _user(), top)
        if not review.suspects:
            yield f"No label of {run.folder} is in doubt; there is nothing to review."
            return
        with _listening(port) as listener:
            token = secrets.token_urlsafe(16)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/?token={token}"
            yield f"{len(review.suspects):,} suspects, {review.num_decided:,} decided: {url}"
            yield "Only this machine can open it. Stop with Ctrl-C; every decision is saved."
            if browser:
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
            _serve(review, listener, token)
        yield f"{review.num_decided:,} of {len(review.suspects):,} decided"
        if review.corrections.decisions:
            yield f"{path}: {review.corrections.summary()}; next: {review.next_command()}"


def make_app(review: Review, token: str, port: int) -> "Starlette":
    """Make the web application.

    Args:
        review: What it shows and where decisions go.
        token: What every request must bring, in its address or as a cookie.
        port: Where it listens; it names the cookie, because cookies do not tell ports apart.

    Returns:
        The application.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import JSONResponse, Response

    cookie = f"chajong_review_{port}"

    async def guard(
        request: "Request", proceed: Callable[["Request"], Awaitable["Response"]]
    ) -> "Response":
        refused = _refusal(request, token, cookie)
        response = Response(refused, 403) if refused else await proceed(request)
        for name, value in _HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def refuse(_: "Request", error: Exception) -> Response:
        code = 500 if isinstance(error, ResourceError) else 409
        return JSONResponse({"error": str(error)}, code)

    def misunderstand(_: "Request", error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    return Starlette(
        routes=_routes(review, token, cookie),
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)],
        exception_handlers={ChajongError: refuse, ValidationError: misunderstand},
    )


def _routes(review: Review, token: str, cookie: str) -> "list[Route]":
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    # Part of the photos' addresses: a browser must not show another run's photo from its cache.
    session = secrets.token_hex(4)

    def static(request: "Request") -> Response:
        name = request.url.path.strip("/") or "review.html"
        kind = _KINDS[name.rpartition(".")[2]]
        response = Response((_STATIC / name).read_bytes(), media_type=kind)
        if kind == "text/html":
            response.set_cookie(cookie, token, httponly=True, samesite="strict")
        return response

    def state(_: "Request") -> Response:
        return JSONResponse(review.state() | {"session": session})

    def photo(request: "Request") -> Response:
        path = review.photos.get(request.query_params.get("id", ""))
        side_px = _SIDES_PX.get(request.query_params.get("size", "large"))
        if path is None or side_px is None:
            return Response("There is no such photo.", 404)
        try:
            picture = _jpeg(path, side_px)
        except Unreadable as error:
            return Response(error.reason, 422)
        kept = {"Cache-Control": "private, max-age=3600"}
        return Response(picture, media_type="image/jpeg", headers=kept)

    async def decide(request: "Request") -> Response:
        wish = Wish.model_validate_json(await request.body())
        return JSONResponse(await run_in_threadpool(review.decide, wish))

    def undo(_: "Request") -> Response:
        return JSONResponse(review.undo())

    pages = ("/", "/review.css", "/review.js")
    return [
        *(Route(page, static) for page in pages),
        Route("/state", state),
        Route("/photo", photo),
        Route("/decide", decide, methods=["POST"]),
        Route("/undo", undo, methods=["POST"]),
    ]


def _refusal(request: "Request", token: str, cookie: str) -> str | None:
    host = request.headers.get("host", "")
    if not _LOOPBACK.fullmatch(host):
        return "This page is for this machine alone: open it as 127.0.0.1 or localhost."
    # Other ports of this machine are the same site to a browser, so that cookies are sent.
    if request.headers.get("origin", f"http://{host}") != f"http://{host}":
        return "Another page may not ask for this."
    got = request.query_params.get("token") or request.cookies.get(cookie, "")
    if not secrets.compare_digest(got.encode(), token.encode()):
        return "Open the address that chajong review printed: it holds the token."
    return None


def _serve(review: Review, listener: socket.socket, token: str) -> None:
    import uvicorn

    config = uvicorn.Config(
        make_app(review, token, listener.getsockname()[1]),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    with suppress(KeyboardInterrupt):  # how a review ends; uvicorn has answered what was asked
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with locked(path.with_name(f".{path.name}.lock"), wait=False) as held:
        if not held:
            raise RunError(
                f"Another review holds {path} now. Go on in its window, or stop it first."
            )
        yield


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
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
        yield listener


def _jpeg(path: Path, side_px: int) -> bytes:
    image = Image.fromarray(decode(read_file(path), at_least_px=side_px).pixels)
    image.thumbnail((side_px, side_px))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _user() -> str:
    with suppress(OSError, KeyError):  # a container may have no name for its user
        return getpass.getuser()
    return "unknown"
