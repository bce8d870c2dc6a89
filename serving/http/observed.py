"""Counts every request that the framework answers and writes its line: path template, method, status and latency."""

from __future__ import annotations

from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.answers import REASON
from serving.http.hot_paths import Endpoints
from serving.http.tally import METHODS, UNMATCHED, Tally
from serving.logs import log_answer, request_id


class Observed:
    """An ASGI middleware outside of all others. Lines of `hot` paths have level debug, unless they tell of errors."""

    def __init__(self, app: ASGIApp, tally: Tally, hot: Endpoints) -> None:
        self.app = app
        self.tally = tally
        self.hot = hot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, gives its answer an `X-Request-Id`, and notes status and latency."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        status: int | None = None
        id_header = (b"x-request-id", request_id(scope).encode())

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), id_header]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except ClientDisconnect:
            pass  # whoever leaves before the end of an answer has done nothing wrong
        except Exception:  # noted alone: whoever called answers it, with 500
            status = status or 500
            raise
        finally:
            seconds = perf_counter() - started
            template = _template(scope, self.hot)
            if status is not None:  # else nobody is there to be answered
                self._note(scope, template, status, seconds)

    def _note(self, scope: Scope, template: str, status: int, seconds: float) -> None:
        self.tally.answered(scope["method"], template, status, seconds)
        if scope["method"] in METHODS:
            is_quiet = self.hot.find(scope) is not None or _is_polled(template)
            log_answer(scope, template, status, seconds, is_quiet=is_quiet, reason=scope.get(REASON))


def _template(scope: Scope, hot: Endpoints) -> str:
    """The path as its route is written. No part of it is a caller's."""
    found = hot.find(scope)
    if found is not None:
        return found[0]
    route = scope.get("route")
    if route is not None:
        return str(getattr(route, "path_format", route.path))  # as documented, without how parts are matched
    return str(scope["path"]) if "endpoint" in scope else UNMATCHED


def _is_polled(template: str) -> bool:
    return template == "/metrics" or template.endswith("/health")
