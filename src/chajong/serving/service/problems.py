"""Errors as a program can read them: problem details (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"

_KINDS = {
    "bad-request": (400, "The request cannot be read"),
    "no-key": (401, "A key is needed"),
    "foreign-page": (403, "Pages of this site may not ask"),
    "not-found": (404, "There is nothing at this address"),
    "no-heat": (404, "There is no heat map"),
    "wrong-method": (405, "This address takes another method"),
    "slow-body": (408, "The body came too slowly"),
    "too-many-bytes": (413, "The file is too large"),
    "too-many-photos": (413, "There are too many photos in the request"),
    "unknown-format": (415, "This is no photo in a format that is taken"),
    "wrong-media-type": (415, "This content type is not taken"),
    "too-many-pixels": (422, "The photo has too many pixels"),
    "too-many-frames": (422, "The file holds more than one picture"),
    "unreadable": (422, "The photo cannot be read"),
    "wrong-value": (422, "A value is not allowed"),
    "no-such-class": (422, "There is no such class"),
    "bug": (500, "Something went wrong in the service"),
    "queue-full": (503, "Too many photos are waiting"),
    "too-many-bodies": (503, "Too many bytes are being received"),
    "stopping": (503, "The service is stopping"),
    "deadline": (504, "The answer took too long"),
}
_STATUSES = {404: "not-found", 405: "wrong-method", 413: "too-many-bytes", 415: "wrong-media-type"}


@dataclass(frozen=True)
class Problem:
    """What went wrong, as it is sent.

    Attributes:
        type: Names the kind of problem; it stays the same over versions.
        title: The kind in words.
        status: The HTTP status.
        detail: What went wrong this time.
        advice: What to do next.
    """

    type: str
    title: str
    status: int
    detail: str
    advice: str


class Refusal(Exception):  # noqa: N818 it reads as what it is
    """A request, or a photo of it, that is not answered.

    Args:
        kind: Which kind of problem, the end of its `type`.
        detail: What went wrong this time.
        advice: What to do next.
        headers: Sent with it.
    """

    def __init__(
        self, kind: str, detail: str, advice: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        status, title = _KINDS[kind]
        self.kind = kind
        self.problem = Problem(f"urn:chajong:problem:{kind}", title, status, detail, advice)
        self.headers = dict(headers or {})
        if status == 503:
            self.headers.setdefault("Retry-After", "1")

    def response(self) -> JSONResponse:
        """Give it to the client.

        Returns:
            The response.
        """
        problem = self.problem
        return JSONResponse(asdict(problem), problem.status, self.headers, MEDIA_TYPE)


def of_status(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Refusal:
    """Make a refusal of what the framework found.

    Args:
        status: The HTTP status that it chose.
        detail: What it says.
        headers: What it sends.

    Returns:
        The refusal.
    """
    advice = "The addresses and what they take are in /openapi.json."
    return Refusal(_STATUSES.get(status, "bad-request"), detail, advice, headers)


def unreadable(reason: str) -> Refusal:
    """Refuse a photo that cannot be decoded.

    Args:
        reason: What is wrong with it.

    Returns:
        The refusal.
    """
    return Refusal(
        "unreadable",
        f"The photo is unreadable: {reason}.",
        "Save it anew as JPEG, PNG or WebP, and see whether other programs open it.",
    )


def bug() -> Refusal:
    """Make what is sent for a mistake of ours.

    Returns:
        The refusal.
    """
    return Refusal(
        "bug", "The request was not answered.", "Look into the log, and report what it says."
    )
