"""Photos of many requests, decoded and answered together.

A photo is decoded by one of a few threads, then waits for one of the threads that call the
networks; each of these takes its share of what is there, and waits a moment only while more is
being decoded. So a photo that comes alone is answered at once, and a crowd in full batches.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from chajong.environment import memory_bytes
from chajong.photos.header import Header, Unreadable, format_of, read_header, what_else
from chajong.photos.preprocess import Squares
from chajong.serving.predict import NUM_AT_ONCE
from chajong.serving.service.answering import Answerer, Seen
from chajong.serving.service.metrics import Metrics
from chajong.serving.service.problems import Refusal, bug, unreadable
from chajong.serving.service.room import Room
from chajong.serving.service.settings import Limits
from chajong.serving.service.uploads import check_bytes

T = TypeVar("T")

# Fewer than where all photos are there already: while some are computed others are read and
# decoded, so that no core waits.
_NUM_AT_ONCE = NUM_AT_ONCE // 2
_LINGER_S = 0.002
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Answered:
    """A photo that was answered.

    Attributes:
        seen: What is said of it.
        header: What its file says of itself.
    """

    seen: Seen
    header: Header


@dataclass(eq=False)
class _Ticket(Generic[T]):
    data: bytes
    future: Future[T]
    waiting_since: float
    waited_s: float = 0.0

    def forget(self) -> None:
        self.data = b""


@dataclass(frozen=True, eq=False)
class _Decoded:
    ticket: _Ticket[Answered]
    header: Header
    squares: Squares


class Batcher:
    """The threads that answer for one bundle.

    Args:
        answerer: Who answers.
        limits: What is refused.
        metrics: What is told.
    """

    def __init__(self, answerer: Answerer, limits: Limits, metrics: Metrics) -> None:
        self._answerer, self._limits, self._metrics = answerer, limits, metrics
        num_callers = answerer.engine.num_callers
        self._changed = threading.Condition()
        self._room = Room(memory_bytes() / 4)
        self._ready: deque[_Decoded] = deque()
        self._num_waiting = self._num_coming = self._num_idle = 0
        self._is_closing = False
        self._decoders = ThreadPoolExecutor(num_callers, "chajong-decode")
        self._callers = [
            threading.Thread(target=self._call, name=f"chajong-call-{place}", daemon=True)
            for place in range(num_callers)
        ]
        for caller in self._callers:
            caller.start()

    def ask(self, photos: Sequence[bytes]) -> list[Future[Answered]]:
        """Take photos to be answered, all or none of them.

        Args:
            photos: Their files.

        Returns:
            For each its answer to come; a `Refusal` comes where there is none.

        Raises:
            Refusal: If there is no room for them.
        """  # noqa: DOC502 raised by what it calls
        self._enter(len(photos), len(photos))
        return [self._hand_in(self._decode, photo) for photo in photos]

    def draw(self, photo: bytes, name: str | None) -> Future[bytes]:
        """Take a photo to draw what speaks for a class.

        Args:
            photo: Its file.
            name: The class; the likeliest if none.

        Returns:
            The PNG to come.

        Raises:
            Refusal: If there is no room for it.
        """  # noqa: DOC502 raised by what it calls
        self._enter(1, 0)
        return self._hand_in(lambda ticket: self._draw(ticket, name), photo)

    def close(self) -> None:
        """Answer what was taken, then end; nothing may be asked any more."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._decoders.shutdown()
        for caller in self._callers:
            caller.join()

    def _hand_in(self, work: Callable[[_Ticket[T]], None], photo: bytes) -> Future[T]:
        ticket = _Ticket[T](photo, Future(), time.monotonic())
        # Past its deadline it may still wait in the queue, but holds nothing.
        ticket.future.add_done_callback(lambda _: ticket.forget())
        self._decoders.submit(work, ticket)
        return ticket.future

    def _enter(self, num: int, num_coming: int) -> None:
        with self._changed:
            if self._num_waiting + num > self._limits.max_queue:
                raise Refusal(
                    "queue-full",
                    f"{self._num_waiting} photos are waiting; at most {self._limits.max_queue} do.",
                    "Ask again in a moment, or ask less often.",
                )
            self._num_waiting += num
            self._num_coming += num_coming
            self._metrics.queue.inc(num)

    # A photo counts until no thread works on it any more, even if nobody waits for its answer.
    def _leave(self, ticket: _Ticket[T], outcome: T | BaseException | None) -> None:
        with self._changed:
            self._num_waiting -= 1
            self._metrics.queue.dec()
        with suppress(InvalidStateError):  # its deadline may be over at any time
            if isinstance(outcome, BaseException):
                ticket.future.set_exception(outcome)
            elif outcome is not None:
                ticket.future.set_result(outcome)

    def _decode(self, ticket: _Ticket[Answered]) -> None:
        made, refused = self._decoded(ticket)
        with self._changed:
            self._num_coming -= 1
            if made is not None:
                self._ready.append(made)
            self._changed.notify_all()
        if made is None:
            self._leave(ticket, refused)

    def _decoded(self, ticket: _Ticket[Answered]) -> tuple[_Decoded | None, Refusal | None]:
        if ticket.future.cancelled():
            return None, None
        try:
            header = checked_header(ticket.data, self._limits)
            with self._room.taken(header):
                start = time.monotonic()
                ticket.waited_s = start - ticket.waiting_since
                squares = self._answerer.engine.prepare(ticket.data)
        except Exception as error:
            return None, _refusal(error)
        ticket.forget()
        ticket.waiting_since = time.monotonic()
        self._metrics.decode_seconds.observe(ticket.waiting_since - start)
        return _Decoded(ticket, header, squares), None

    def _draw(self, ticket: _Ticket[bytes], name: str | None) -> None:
        outcome: bytes | Refusal | None = None
        try:
            if not ticket.future.cancelled():
                with self._room.taken(checked_header(ticket.data, self._limits)):
                    outcome = self._answerer.heat(ticket.data, name) or _no_heat()
        except Exception as error:
            outcome = _refusal(error)
        self._leave(ticket, outcome)

    def _call(self) -> None:
        while batch := self._next():
            self._answer(batch)

    # The share of what is decoded; none when all is answered and the end has come.
    def _next(self) -> list[_Decoded]:
        with self._changed:
            self._num_idle += 1
            while True:
                self._changed.wait_for(lambda: self._ready or self._is_over)
                until = time.monotonic() + _LINGER_S
                while self._is_worth_waiting and (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)
                if self._ready or self._is_over:
                    break
            share = -(-len(self._ready) // self._num_idle)
            self._num_idle -= 1
            return [self._ready.popleft() for _ in range(min(share, _NUM_AT_ONCE))]

    @property
    def _is_over(self) -> bool:
        return self._is_closing and not self._num_coming and not self._ready

    @property
    def _is_worth_waiting(self) -> bool:
        return 0 < len(self._ready) < _NUM_AT_ONCE and self._num_coming > 0

    def _answer(self, batch: Sequence[_Decoded]) -> None:
        start = time.monotonic()
        wanted = [each for each in batch if not each.ticket.future.cancelled()]
        outcomes: dict[_Decoded, Answered | Refusal] = {}
        try:
            if wanted:
                said = self._answerer.see([each.squares for each in wanted])
                for each, seen in zip(wanted, said, strict=True):
                    outcomes[each] = Answered(seen, each.header)
                self._metrics.batch.observe(len(wanted))
                self._metrics.inference_seconds.observe(time.monotonic() - start)
        except Exception as error:
            outcomes = dict.fromkeys(wanted, _refusal(error))
        for each in batch:
            ticket = each.ticket
            self._metrics.queue_seconds.observe(ticket.waited_s + start - ticket.waiting_since)
            self._leave(ticket, outcomes.get(each))


def checked_header(data: bytes, limits: Limits) -> Header:
    """Refuse a photo by what its file says of itself, before anything is decoded.

    Args:
        data: The file.
        limits: What is refused.

    Returns:
        Its header.

    Raises:
        Refusal: If its format is not taken, or it is too large in bytes or pixels.
        Unreadable: If it says nothing sensible.
    """  # noqa: DOC502, DOC503 also raised by `read_header`
    check_bytes(len(data), limits.max_bytes)
    taken = ", ".join(name.upper().replace("WEBP", "WebP") for name in limits.formats)
    found = format_of(data)
    if found not in limits.formats:
        what = what_else(data) if found is None else f"a {found.upper()}"
        raise Refusal("unknown-format", f"The photo is {what}.", f"Send one of: {taken}.")
    header = read_header(data)
    size = f"{header.width_px:,} x {header.height_px:,} = {header.megapixels:,.0f} megapixels"
    if header.megapixels > limits.max_megapixels:
        detail = f"{size}; at most {limits.max_megapixels:g} are taken."
        raise Refusal("too-many-pixels", detail, "Send it smaller.")
    if header.num_scans > limits.max_scans:
        detail = f"A progressive JPEG of {header.num_scans} scans; at most {limits.max_scans}."
        raise Refusal("too-many-pixels", detail, "Save it as an ordinary JPEG.")
    if header.num_frames > limits.max_frames:
        detail = f"{header.num_frames} pictures in one file; at most {limits.max_frames}."
        raise Refusal("too-many-frames", detail, "Send a photo, not an animation.")
    return header


def _no_heat() -> Refusal:
    # Of a bundle that can draw: the networks know nothing of a class that came later.
    return Refusal(
        "no-heat",
        "The class was added to the bundle later, and maps are of learned classes alone.",
        "Ask with ?class= and the name of a learned one.",
    )


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, Unreadable):
        return unreadable(error.reason)
    _log.error("a photo was not answered", exc_info=error)
    return bug()
