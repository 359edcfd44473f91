"""The files of the page, read once: no path of a request is ever opened."""

import hashlib
import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FOLDER = "serving/page"
_FIRST = "index.html"
_LOOK = "reporting/templates/page.css"  # the reports' colours and type, said once


@dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
        path: Where it is asked for.
        content: Its bytes.
        media_type: What it is.
    """

    path: str
    content: bytes
    media_type: str

    def route(self) -> Route:
        """Say what answers for it.

        Returns:
            The route.
        """
        tag = f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}

        async def give(request: Request) -> Response:
            if request.headers.get("if-none-match") == tag:
                return Response(None, 304, headers)
            return Response(self.content, 200, headers, self.media_type)

        return Route(self.path, give)


def page_files() -> Iterator[PageFile]:
    """Read the page.

    Yields:
        Its files; `index.html` is asked for as `/`.
    """
    look = files("chajong").joinpath(_LOOK).read_bytes()
    yield PageFile("/look.css", look, "text/css")
    folder = files("chajong").joinpath(_FOLDER)
    if not folder.is_dir():
        return
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.is_file() and not file.name.endswith(".py"):
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            path = "/" if file.name == _FIRST else f"/{file.name}"
            yield PageFile(path, file.read_bytes(), kind)
