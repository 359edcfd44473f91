"""What is around every request: whose page asks, the key, headers, metrics."""

import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chajong.reporting.local_page import LOOPBACK
from chajong.serving.service.keeper import Keeper
from chajong.serving.service.metrics import Metrics
from chajong.serving.service.problems import Refusal
from chajong.serving.service.schemas import LOCKED
from chajong.serving.service.settings import Settings, digest

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """Lets in who has a key, and counts.

    Args:
        app: What it guards.
        settings: Who may ask. Without a key anybody may whom the address lets through.
        keeper: Knows whether the service is about to end.
        metrics: What is told.
        is_reached: Whether other machines reach the address.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        keeper: Keeper,
        metrics: Metrics,
        is_reached: bool,
    ) -> None:
        self._app, self._keys, self._origins = app, settings.keys, settings.origins
        self._is_for_this_machine = not is_reached and not settings.keys
        self._keeper, self._metrics = keeper, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it.

        Args:
            scope: What is asked.
            receive: Gives the body.
            send: Takes the answer.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 500

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                if self._keeper.is_stopping:  # the client asks elsewhere next
                    headers["Connection"] = "close"
            await send(message)

        try:
            refused = self._refused(Headers(scope=scope), _is_locked(scope))
            await (refused.response() if refused else self._app)(scope, receive, tell)
        finally:
            # Not the path, which anybody may choose.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(time.monotonic() - start)

    def _refused(self, headers: Headers, is_locked: bool) -> Refusal | None:
        host = headers.get("host", "")
        # A page's site may change its address to this machine's, and is its own site then.
        if self._is_for_this_machine and not LOOPBACK.fullmatch(host):
            return _foreign_host(host)
        if not is_locked:
            return None
        # Browsers send this along (Fetch Metadata, W3C); without it a page that anybody opens could
        # make the service work, though not read its answers.
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            origin = headers.get("origin", "")
            if not {origin, "*"} & {*self._origins}:
                return _foreign(origin)
        return None if self._is_known(headers) else _no_key()

    def _is_known(self, headers: Headers) -> bool:
        if not self._keys:
            return True
        kind, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
        got = digest(key)
        # Every key is compared, and in constant time, so that time tells nothing.
        same = [secrets.compare_digest(got, known) for known in self._keys]
        return any(same)


def _is_locked(scope: Scope) -> bool:
    return str(scope["path"]).startswith(LOCKED)


def _foreign(origin: str) -> Refusal:
    return Refusal(
        "foreign-page",
        f"The request comes from a page of {origin or 'another site'}.",
        "Whoever runs the service may allow it: chajong serve --cors ORIGIN.",
    )


def _foreign_host(host: str) -> Refusal:
    return Refusal(
        "foreign-page",
        f"The request asks for {host or 'nobody'}, and this service is for its own machine alone.",
        "Ask 127.0.0.1 or localhost. Behind a proxy, give the service a key, or let the proxy pass "
        "on that name as Host.",
    )


def _no_key() -> Refusal:
    return Refusal(
        "no-key",
        "The request has no key that is known.",
        "Send the header `Authorization: Bearer KEY`.",
        {"WWW-Authenticate": "Bearer"},
    )
