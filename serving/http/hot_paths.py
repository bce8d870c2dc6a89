"""Answers the paths that are asked for most before the framework looks at them.

FastAPI describes and answers every path; for a decision of a few hundred microseconds its routing, its exit stacks and
its dependency solving cost as much as the decision itself. Endpoints that need none of these are called here straight
away. They are the very functions that the routes name, and their refusals become the same answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeAlias, cast

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.answers import Ready, refusal_answer
from serving.http.connection import WHOLE
from serving.http.tally import Tally
from serving.logs import log_answer, request_id
from serving.refusals import Refusal

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Under:
    """An endpoint of every path that begins in one way: all that follows is the parameter of this name, slashes too."""

    beginning: str
    parameter: str
    endpoint: Endpoint

    @property
    def template(self) -> str:
        """The path as its route is written."""
        return f"{self.beginning}{{{self.parameter}}}"


@dataclass(frozen=True)
class Endpoints:
    """Endpoints by method and path: those of whole paths, and by method those of beginnings.

    A path that is there as a whole is not looked for among the beginnings.
    """

    exact: Mapping[tuple[str, str], Endpoint]
    under: Mapping[str, tuple[Under, ...]] = field(default_factory=dict)

    def find(self, scope: Scope) -> tuple[str, Endpoint, dict[str, Any]] | None:
        """The path as its route is written, its endpoint, and its parameters; None for any other request."""
        if scope["type"] != "http":
            return None
        method, path = scope["method"], scope["path"]
        endpoint = self.exact.get((method, path))
        if endpoint is not None:
            return path, endpoint, {}
        for under in self.under.get(method, ()):
            if path.startswith(under.beginning):
                return under.template, under.endpoint, {under.parameter: path[len(under.beginning) :]}
        return None


class HotRequest(Request):
    """A request whose headers and query are plain dictionaries, made once.

    Starlette's cost as much for two headers and three parameters as reading the person from Redis.
    """

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]  # endpoints use `get` alone
        """The headers by lower-case name; of several the first."""
        if not hasattr(self, "_plain_headers"):
            pairs = reversed(self.scope["headers"])
            self._plain_headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
        return self._plain_headers

    @property
    def query_params(self) -> Mapping[str, str]:  # type: ignore[override]
        """The parameters by name; of several the last."""
        if not hasattr(self, "_plain_query"):
            raw: bytes = self.scope["query_string"]
            if b"%" in raw or b"+" in raw:
                self._plain_query = dict(super().query_params)
            else:
                parts = [part.partition("=") for part in raw.decode("latin-1").split("&") if part]
                self._plain_query = {name: value for name, _, value in parts}
        return self._plain_query


class HotPaths:
    """An ASGI middleware: `endpoints` answer by method and path; `app` answers all else.

    An exception that is no refusal goes on upwards, where the application answers what nobody foresaw.
    """

    def __init__(self, app: ASGIApp, endpoints: Endpoints) -> None:
        self.app = app
        self.endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes on."""
        found = self.endpoints.find(scope)
        if found is None:
            await self.app(scope, receive, send)
        else:
            _, endpoint, scope["path_params"] = found
            with suppress(ClientDisconnect):  # nobody is there to be answered
                response = await _answered(endpoint, HotRequest(scope, receive))
                await response(scope, receive, send)


class Shortcut:
    """The same in front of the whole application, for requests that are no browser's.

    A browser on another site sends an `Origin`, so its answers need the application's middleware. A server sends none,
    and is spared what the middleware costs. Requests are counted here as there (`serving.http.observed`). A line is
    written of errors, and of every request where the log level is debug.
    """

    def __init__(self, app: FastAPI, endpoints: Endpoints) -> None:
        self.app = app
        self.endpoints = endpoints
        self.tally: Tally = app.state.tally
        self.logs_all: bool = app.state.logs_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes on."""
        found = self.endpoints.find(scope)
        if found is None or "origin" in (request := HotRequest(scope, receive)).headers:
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        template, endpoint, scope["path_params"] = found
        scope["app"] = self.app
        try:
            response = await _answered(endpoint, request)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:
            on_bug = cast(Callable[..., Awaitable[Response]], self.app.exception_handlers[Exception])
            response = await on_bug(request, error)
        status = response.status_code
        if status >= 500:
            response.headers["X-Request-Id"] = request_id(scope)
        send_whole = scope.get(WHOLE) if type(response) is Ready else None
        if send_whole is None or not send_whole(scope, status, response.raw_headers, response.body):
            await response(scope, receive, send)
        seconds = perf_counter() - started
        self.tally.answered(scope["method"], template, status, seconds)
        if status >= 500 or self.logs_all:
            reason = response.reason if isinstance(response, Ready) else None
            log_answer(scope, template, status, seconds, is_quiet=True, reason=reason)


async def _answered(endpoint: Endpoint, request: Request) -> Response:
    try:
        return await endpoint(request)
    except Refusal as refusal:
        return refusal_answer(refusal)
