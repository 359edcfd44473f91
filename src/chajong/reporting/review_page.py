"""The review's page in the browser; a photo is asked for by its id, never by a path."""

import getpass
import secrets
from collections.abc import Iterator
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
from chajong.reporting.local_page import LocalPage, guarded_app, listening
from chajong.reporting.review import Review, Wish
from chajong.run import Run

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

_STATIC = Path(__file__).with_name("static")
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_SIDES_PX = {"large": 1600, "small": 320}


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
        with listening(port) as page:
            yield f"{len(review.suspects):,} suspects, {review.num_decided:,} decided: {page.url}"
            yield "Only this machine can open it. Stop with Ctrl-C; every decision is saved."
            page.serve(make_app(review, page), browser=browser)
        yield f"{review.num_decided:,} of {len(review.suspects):,} decided"
        if review.corrections.decisions:
            yield f"{path}: {review.corrections.summary()}; next: {review.next_command()}"


def make_app(review: Review, page: LocalPage) -> "Starlette":
    """Make the web application.

    Args:
        review: What it shows and where decisions go.
        page: Where it is served.

    Returns:
        The application.
    """
    from starlette.responses import JSONResponse

    def refuse(_: "Request", error: Exception) -> "Response":
        code = 500 if isinstance(error, ResourceError) else 409
        return JSONResponse({"error": str(error)}, code)

    def misunderstand(_: "Request", error: Exception) -> "Response":
        return JSONResponse({"error": str(error)}, 422)

    handlers = {ChajongError: refuse, ValidationError: misunderstand}
    return guarded_app(_routes(review), page, handlers)


def _routes(review: Review) -> "list[Route]":
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    # Part of the photos' addresses: a browser must not show another run's photo from its cache.
    session = secrets.token_hex(4)

    def static(request: "Request") -> Response:
        name = request.url.path.strip("/") or "review.html"
        kind = _KINDS[name.rpartition(".")[2]]
        return Response((_STATIC / name).read_bytes(), media_type=kind)

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


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with locked(path.with_name(f".{path.name}.lock"), wait=False) as held:
        if not held:
            raise RunError(
                f"Another review holds {path} now. Go on in its window, or stop it first."
            )
        yield


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
