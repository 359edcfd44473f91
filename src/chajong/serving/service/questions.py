"""Asking about photos: what is accepted is answered, each photo with a status of its own."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response

from chajong.serving.service.answering import MAX_NEAREST
from chajong.serving.service.batcher import Answered
from chajong.serving.service.keeper import Keeper, Ready
from chajong.serving.service.metrics import Metrics
from chajong.serving.service.problems import Refusal
from chajong.serving.service.schemas import (
    ANSWER,
    PARTS,
    Answer,
    Part,
    Parts,
    PhotoFacts,
    one_photo,
    problems,
    several_photos,
)
from chajong.serving.service.settings import Limits
from chajong.serving.service.uploads import Uploads
from chajong.wording import nfc

T = TypeVar("T")

_NumNearest = Annotated[
    int, Query(ge=0, le=MAX_NEAREST, description="How many of the nearest training photos to name.")
]
_ClassName = Annotated[
    str | None, Query(alias="class", description="The class; the likeliest if not given.")
]
_JSON = "application/json"


def questions(limits: Limits, keeper: Keeper, metrics: Metrics) -> APIRouter:
    """Make the routes that take photos.

    Args:
        limits: What is refused.
        keeper: Keeps the bundle.
        metrics: What is told.

    Returns:
        The routes.
    """
    router = APIRouter(prefix="/v1", tags=["photos"])
    uploads = Uploads(limits)
    refusals = problems(400, 401, 403, 408, 413, 415, 422, 503, 504)

    @router.post(
        "/predict",
        response_model=Answer,
        responses=refusals,
        openapi_extra=one_photo(),
        description="Tell what car is in a photo: the body is its file, or multipart with the part "
        "`photo`.",
    )
    async def predict(request: Request, nearest: _NumNearest = 0) -> Response:
        async with uploads.one(request) as photo:
            ready, until = keeper.ready, time.monotonic() + limits.deadline_s
            futures = _ask(ready, [photo.data], metrics)
            [outcome] = await _outcomes(futures, limits.deadline_s, metrics)
            if isinstance(outcome, Refusal):
                raise outcome
            answer = await _told(nearest, until, lambda num: _answer(ready, outcome, num))
        return Response(ANSWER.dump_json(answer), media_type=_JSON)

    @router.post(
        "/batch",
        response_model=Parts,
        responses=refusals,
        openapi_extra=several_photos(limits.max_photos),
        description="Tell what cars are in several photos: multipart with a part `photos` for "
        "each. Each has a status of its own; a bad one does not spoil the others.",
    )
    async def batch(request: Request, nearest: _NumNearest = 0) -> Response:
        async with uploads.several(request) as photos:
            ready, until = keeper.ready, time.monotonic() + limits.deadline_s
            futures = _ask(ready, [photo.data for photo in photos], metrics)
            outcomes = await _outcomes(futures, limits.deadline_s, metrics)
            names = [photo.name for photo in photos]
            parts = await _told(nearest, until, lambda num: _parts(ready, names, outcomes, num))
        answer = Parts(ready.fingerprint, parts)
        return Response(PARTS.dump_json(answer), media_type=_JSON)

    _add_heat(router, uploads, limits, keeper, refusals)
    return router


def _add_heat(
    router: APIRouter,
    uploads: Uploads,
    limits: Limits,
    keeper: Keeper,
    refusals: dict[int | str, dict[str, Any]],
) -> None:
    @router.post(
        "/heat",
        response_class=Response,
        responses={
            200: {"description": "The photo with a map over it.", "content": {"image/png": {}}},
            **refusals,
            **problems(404),
        },
        openapi_extra=one_photo(),
        description="Draw what speaks for a class in a photo, as a PNG.",
    )
    async def heat(request: Request, name: _ClassName = None) -> Response:
        async with uploads.one(request) as photo:
            ready = keeper.ready
            if not ready.facts["can"]["heat"]:
                raise Refusal(
                    "no-heat",
                    "This bundle cannot draw what decided its answers.",
                    "See /v1/model for what it can do.",
                )
            name = None if name is None else nfc(name)
            if name is not None and name not in ready.answerer.engine.bundle.labels.names:
                raise Refusal(
                    "no-such-class", f"There is no class {name!r}.", "See /v1/model for the names."
                )
            drawing = [ready.batcher.draw(photo.data, name)]
            [drawn] = await _settled(drawing, limits.deadline_s)
            if isinstance(drawn, Refusal):
                raise drawn
        return Response(drawn, media_type="image/png")


def _ask(ready: Ready, photos: Sequence[bytes], metrics: Metrics) -> list[Future[Answered]]:
    try:
        return ready.batcher.ask(photos)
    except Refusal as refusal:
        metrics.photos.labels(refusal.kind).inc(len(photos))
        raise


async def _outcomes(
    futures: Sequence[Future[Answered]], deadline_s: float, metrics: Metrics
) -> list[Answered | Refusal]:
    outcomes = await _settled(futures, deadline_s)
    for outcome in outcomes:
        if isinstance(outcome, Refusal):
            metrics.photos.labels(outcome.kind).inc()
        else:
            verdict = outcome.seen.verdict
            metrics.photos.labels("abstained" if verdict.abstained else "answered").inc()
            metrics.verdicts.labels(verdict.level).inc()
    return outcomes


# Waits until the deadline; what is not there then is not wanted any more.
async def _settled(futures: Sequence[Future[T]], deadline_s: float) -> list[T | Refusal]:
    waiting: list[asyncio.Future[T]] = [asyncio.wrap_future(future) for future in futures]
    _, late = await asyncio.wait(waiting, timeout=deadline_s)
    for future in late:
        future.cancel()
    outcomes: list[T | Refusal] = []
    for future in waiting:
        outcome = _outcome(future, deadline_s)
        outcomes.append(outcome)
    return outcomes


def _outcome(future: "asyncio.Future[T]", deadline_s: float) -> T | Refusal:
    try:
        return future.result()
    except Refusal as refusal:
        return refusal
    except (asyncio.CancelledError, asyncio.InvalidStateError):
        return Refusal(
            "deadline",
            f"There was no answer after {deadline_s:g} s.",
            "Ask again later, or send smaller photos.",
        )


# Nearest photos take a while to find, in which others are to be heard. An answer whose time is up
# goes without them.
async def _told(num_nearest: int, until: float, tell: Callable[[int], T]) -> T:
    if num_nearest:
        with suppress(TimeoutError):
            async with asyncio.timeout(until - time.monotonic()):
                return await asyncio.to_thread(tell, num_nearest)
    return tell(0)


def _parts(
    ready: Ready, names: Sequence[str], outcomes: Sequence[Answered | Refusal], num_nearest: int
) -> tuple[Part, ...]:
    return tuple(
        Part(name, outcome.problem.status, None, outcome.problem)
        if isinstance(outcome, Refusal)
        else Part(name, 200, _answer(ready, outcome, num_nearest), None)
        for name, outcome in zip(names, outcomes, strict=True)
    )


def _answer(ready: Ready, answered: Answered, num_nearest: int) -> Answer:
    header = answered.header
    return Answer(
        **vars(answered.seen.verdict),
        photo=PhotoFacts(header.format, header.width_px, header.height_px),
        bundle=ready.fingerprint,
        nearest=ready.answerer.nearest(answered.seen, num_nearest) if num_nearest else None,
    )
