"""Every request that the framework answers, counted and said: path template, method, status and latency."""

from __future__ import annotations

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.hot_paths import Endpoints
from serving.http.tally import METHODS, UNMATCHED, Tally
from serving.logs import request_id, say_answered


class Observed:
    """An ASGI middleware outside of all others. `hot` are the paths of which a line is too much, unless asked for."""

    def __init__(self, app: ASGIApp, tally: Tally, hot: Endpoints) -> None:
        self.app = app
        self.tally = tally
        self.hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on, and notes what came of it; the answer gets an `X-Request-Id`."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        status = 500
        known_as = request_id(scope).encode()

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", known_as)]
            await send(message)

        try:
            await self.app(scope, receive, sent)
        finally:
            seconds = perf_counter() - started
            template = _template(scope, self.hot)
            self.tally.answered(scope["method"], template, status, seconds)
            if scope["method"] in METHODS:
                is_quiet = (scope["method"], scope["path"]) in self.hot or _is_polled(template)
                say_answered(scope, template, status, seconds, is_quiet=is_quiet)


def _template(scope: Scope, hot: Endpoints) -> str:
    """The path as its route is written: no part of it is a caller's."""
    if (scope["method"], scope["path"]) in hot:
        return str(scope["path"])
    route = scope.get("route")
    if route is not None:
        return str(getattr(route, "path_format", route.path))  # as documented, without how parts are matched
    return str(scope["path"]) if "endpoint" in scope else UNMATCHED


def _is_polled(template: str) -> bool:
    return template == "/metrics" or template.endswith("/health")
