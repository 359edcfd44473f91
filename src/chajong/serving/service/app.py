"""The application: what is answered where, and how mistakes are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Match, Route
from starlette.types import Scope

from chajong.environment import package_version
from chajong.serving.service.guard import Guard
from chajong.serving.service.keeper import Keeper
from chajong.serving.service.metrics import CONTENT_TYPE, Metrics
from chajong.serving.service.page import page_files
from chajong.serving.service.problems import Refusal, bug, of_status
from chajong.serving.service.questions import questions
from chajong.serving.service.schemas import Model, State, describe, problems
from chajong.serving.service.settings import Settings

_ABOUT = """Tells the exact model of a car from a photo, with a probability one can trust.

    curl --data-binary @car.jpg http://127.0.0.1:8000/v1/predict
    curl --form photo=@car.jpg http://127.0.0.1:8000/v1/predict
    curl --form photos=@a.jpg --form photos=@b.jpg http://127.0.0.1:8000/v1/batch
"""

# What is asked is told to nobody. FastAPI looks at each request whether somebody wants it told.
_UNTOLD: Any = dict.fromkeys(("tracing", "metrics", "logs", "auto_configure"), False)


def make_app(settings: Settings, keeper: Keeper, metrics: Metrics, is_reached: bool) -> FastAPI:
    """Make the application.

    Args:
        settings: How the bundle is served.
        keeper: Keeps the bundle.
        metrics: What is told.
        is_reached: Whether other machines reach the address.

    Returns:
        The application.
    """

    @asynccontextmanager
    async def watching(_: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(keeper.watch())
        yield
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        await asyncio.to_thread(keeper.close)

    app = FastAPI(
        title="chajong",
        version=package_version("chajong") or "",
        description=_ABOUT,
        docs_url=None,  # its page would be fetched from another site
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_UNTOLD,
        lifespan=watching,
        exception_handlers={
            Refusal: _on_refusal,
            HTTPException: _on_http,
            RequestValidationError: _on_value,
            Exception: _on_bug,
        },
    )
    asked = questions(settings.limits, keeper, metrics)
    app.router.routes += [_Direct(each) for each in asked.routes if isinstance(each, APIRoute)]
    app.include_router(asked)
    _add_states(app, keeper, metrics)
    for file in page_files():
        app.router.routes.append(file.route())
    app.add_middleware(
        Guard, settings=settings, keeper=keeper, metrics=metrics, is_reached=is_reached
    )
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Retry-After"],
        )
    _describe_itself(app, keeper, settings)
    return app


class _Direct(Route):
    # FastAPI looks for parameters in each request, in vain in most: those without a query go past.
    def __init__(self, route: APIRoute) -> None:
        super().__init__(route.path, route.endpoint, methods=list(route.methods or ()))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["query_string"]:
            return Match.NONE, {}
        match, more = super().matches(scope)
        return match, {**more, "route": self}


def _describe_itself(app: FastAPI, keeper: Keeper, settings: Settings) -> None:
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        ready = keeper.ready
        return describe(plain(), ready.example, {**ready.facts, "refused": None}, settings.keys)

    app.openapi = openapi  # type: ignore[method-assign]


def _add_states(app: FastAPI, keeper: Keeper, metrics: Metrics) -> None:
    @app.get(
        "/v1/model",
        response_model=Model,
        responses=problems(401, 403),
        tags=["service"],
        description="Tell what answers: classes, fingerprint, card, proof, risk, limits.",
    )
    async def model() -> Response:
        refused = None if keeper.refused is None else asdict(keeper.refused)
        return JSONResponse({**keeper.ready.facts, "refused": refused})

    @app.get(
        "/healthz",
        response_model=State,
        tags=["service"],
        description="Tell whether the process lives.",
    )
    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    @app.get(
        "/readyz",
        response_model=State,
        responses=problems(503),
        tags=["service"],
        description="Tell whether it takes photos.",
    )
    async def readyz(_: Request) -> Response:
        if keeper.is_stopping:
            raise Refusal("stopping", "The service is about to end.", "Ask another one.")
        return JSONResponse({"status": "ready"})

    # Monitors ask for the head alone; of pages it is given with GET.
    for path, state in (("/healthz", healthz), ("/readyz", readyz)):
        app.router.routes.append(Route(path, state, methods=["HEAD"]))

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **problems(401, 403)},
        tags=["service"],
        description="Tell Prometheus.",
    )
    async def told() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)


async def _on_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return of_status(error.status_code, f"{error.detail}.", error.headers).response()


async def _on_value(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return Refusal("wrong-value", f"{said}.", "See /openapi.json.").response()


async def _on_bug(_: Request, __: Exception) -> Response:
    return bug().response()  # the server logs it
