"""Bodies of requests, bounded in bytes and time, to photos.

They are read into memory and never written; multipart is cut up by `bytes.split`, whose time grows
with the length alone, whatever the content.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from email.utils import collapse_rfc2231_value

from starlette.requests import ClientDisconnect, Request

from chajong.serving.service.problems import Refusal
from chajong.serving.service.settings import Limits

_MAX_HEAD_BYTES = 4096
_MAX_TYPE, _MAX_PARAMETERS = 512, 16  # the parser takes the square of both
_LEAST_BYTES_A_S = 16 * 1024
_MAX_NAME = 255
_MAX_OVERHEAD_BYTES = 16384  # of multipart around one photo


@dataclass(frozen=True)
class Upload:
    """A photo as it came.

    Attributes:
        name: What the sender calls it; it is only repeated in the answer.
        data: Its file.
    """

    name: str
    data: bytes


class Uploads:
    """Reads bodies, and knows how many bytes of them are held.

    Args:
        limits: What is refused.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._num_held = 0

    @asynccontextmanager
    async def one(self, request: Request) -> AsyncIterator[Upload]:
        """Read a request of one photo, raw or as the part `photo` of multipart.

        Args:
            request: The request.

        Yields:
            The photo, which counts as held until the block ends.

        Raises:
            Refusal: If it is too large, too slow, or there is not one photo in it.
        """  # noqa: DOC502, DOC503
        boundary = _boundary(request)
        room = self._limits.max_bytes + (_MAX_OVERHEAD_BYTES if boundary else 0)
        async with self._body(request, room) as body:
            [photo] = _files(body, boundary, "photo", 1) if boundary else [Upload("", body)]
            del body  # or it would be held beside the photo that was cut out of it
            yield photo

    @asynccontextmanager
    async def several(self, request: Request) -> AsyncIterator[list[Upload]]:
        """Read a request of several photos, the parts `photos` of multipart.

        Args:
            request: The request.

        Yields:
            The photos; they count as held until the block ends.

        Raises:
            Refusal: If it is too large, too slow, no multipart, or holds no photo or too many.
        """  # noqa: DOC502, DOC503
        boundary = _boundary(request)
        if boundary is None:
            raise Refusal(
                "wrong-media-type",
                "Several photos come as multipart/form-data, and this is not.",
                "Send each photo as a file part named `photos`.",
            )
        async with self._body(request, self._limits.max_body_bytes) as body:
            photos = _files(body, boundary, "photos", self._limits.max_photos)
            del body  # as above
            yield photos

    @asynccontextmanager
    async def _body(self, request: Request, max_bytes: int) -> AsyncIterator[bytes]:
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refusal(
                "wrong-media-type", "The body is compressed.", "Send it without Content-Encoding."
            )
        declared = int(request.headers.get("content-length", 0))
        check_bytes(declared, max_bytes)
        held = _Held(self)
        try:
            yield await self._read(request, max_bytes, held)
        finally:
            held.let_go()

    async def _read(self, request: Request, max_bytes: int, held: "_Held") -> bytes:
        chunks, num_bytes = [], 0
        loop, pause_s = asyncio.get_running_loop(), self._limits.body_s
        begun = loop.time()
        end = begun + pause_s
        try:
            async with asyncio.timeout_at(end) as limit:
                async for chunk in request.stream():
                    chunks.append(chunk)
                    num_bytes += len(chunk)
                    # Several photos over a slow line are slow, and each still comes; but what came
                    # fast buys no more than one pause, neither in silence nor byte by byte.
                    end = min(end + len(chunk) / _LEAST_BYTES_A_S, loop.time() + pause_s)
                    limit.reschedule(end)
                    check_bytes(num_bytes, max_bytes)
                    held.grow_to(num_bytes)
        except TimeoutError as error:
            raise Refusal(
                "slow-body",
                f"After {loop.time() - begun:.3g} s {num_bytes:,} bytes of the body were here: "
                f"the last came slower than {_LEAST_BYTES_A_S:,} a second, for {pause_s:g} s.",
                "Send smaller photos, or over a better line.",
                {"Connection": "close"},
            ) from error
        except ClientDisconnect as error:
            raise Refusal(
                "bad-request", "The connection ended before the body did.", "Send it again."
            ) from error
        return b"".join(chunks)

    def hold(self, num_bytes: int) -> None:
        """Count bytes as held.

        Args:
            num_bytes: How many more, or fewer if negative.

        Raises:
            Refusal: If too many are held.
        """
        most = self._limits.max_held_bytes
        if num_bytes > 0 and self._num_held + num_bytes > most:
            raise Refusal(
                "too-many-bodies",
                f"{self._num_held:,} bytes of photos are held; at most {most:,} are.",
                "Ask again in a moment, or ask less often.",
            )
        self._num_held += num_bytes


class _Held:
    def __init__(self, uploads: Uploads) -> None:
        self._uploads, self._num_bytes = uploads, 0

    def grow_to(self, num_bytes: int) -> None:
        if num_bytes > self._num_bytes:
            self._uploads.hold(num_bytes - self._num_bytes)
            self._num_bytes = num_bytes

    def let_go(self) -> None:
        self._uploads.hold(-self._num_bytes)


def check_bytes(num_bytes: int, max_bytes: int) -> None:
    """Refuse what is too long.

    Args:
        num_bytes: How long it is, at least.
        max_bytes: How long it may be.

    Raises:
        Refusal: If it is longer.
    """
    if num_bytes > max_bytes:
        raise Refusal(
            "too-many-bytes",
            f"{num_bytes:,} bytes or more; at most {max_bytes:,} are taken.",
            "Send the photo smaller, or fewer at once.",
        )


# The boundary of multipart; none if the body is something else.
def _boundary(request: Request) -> bytes | None:
    said = request.headers.get("content-type", "application/octet-stream")
    if len(said) > _MAX_TYPE or said.count(";") > _MAX_PARAMETERS:
        raise _broken("its Content-Type is too long")
    head = Message()
    head["content-type"] = said
    if head.get_content_type() != "multipart/form-data":
        return None
    try:
        found = head.get_boundary()
    except (ValueError, TypeError):  # in an encoding that is none, in parts that are not all there
        found = None
    if not found or not re.fullmatch(r"[ -~]{1,200}", found):
        raise _broken("its Content-Type names no boundary")
    return found.encode()


def _files(body: bytes, boundary: bytes, field: str, max_files: int) -> list[Upload]:
    mark = b"--" + boundary
    # One more than the most that may be there: what stands before, and the end.
    pieces = body.split(b"\r\n" + mark, max_files + 1)
    if not pieces[0].startswith(mark):
        raise _broken("it does not start with its boundary")
    pieces[0] = pieces[0].removeprefix(mark)
    if len(pieces) > max_files + 1:
        raise _too_many(max_files)
    if not pieces[-1].startswith(b"--"):
        raise _broken("it is cut off")
    found = []
    for place in range(len(pieces) - 1):
        found.append(_file(pieces[place], field))
        pieces[place] = b""  # so that no more than one photo is there twice
    if not found:
        raise Refusal(
            "bad-request",
            "There is no photo in the request.",
            f"Send it as a file part named `{field}`.",
        )
    return found


def _file(piece: bytes, field: str) -> Upload:
    head, found, data = piece.partition(b"\r\n\r\n")
    if not found or not head.startswith(b"\r\n") or len(head) > _MAX_HEAD_BYTES:
        raise _broken("a part has no head, or one that is too long")
    if head.count(b";") > _MAX_PARAMETERS:
        raise _broken("a part's head says too much")
    parsed = HeaderParser().parsestr(head[2:].decode(errors="replace"))
    name, file_name = (_parameter(parsed, key) for key in ("name", "filename"))
    if name != field:
        raise Refusal(
            "bad-request",
            f"There is a part named {name[:_MAX_NAME]!r}.",
            f"Send nothing but file parts named `{field}`.",
        )
    return Upload(file_name[:_MAX_NAME], data)


def _parameter(head: Message, key: str) -> str:
    try:
        found = head.get_param(key, "", "content-disposition")
        value = collapse_rfc2231_value(found) if found is not None else ""
    except (ValueError, TypeError) as error:  # as above
        raise _broken("a name in it is in no known encoding") from error
    return value.encode(errors="replace").decode()  # halves of a character cannot be sent back


def _broken(why: str) -> Refusal:
    return Refusal(
        "bad-request",
        f"The multipart body cannot be read: {why}.",
        "Let a library for HTTP write it, such as curl with --form.",
    )


def _too_many(max_files: int) -> Refusal:
    if max_files == 1:
        return Refusal(
            "too-many-photos",
            "There is more than one part in the request.",
            "Send one photo, or several to /v1/batch.",
        )
    return Refusal(
        "too-many-photos",
        f"There are more than {max_files} parts in the request.",
        f"Send at most {max_files} photos at once.",
    )
