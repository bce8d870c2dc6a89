"""The paths that are asked for most, answered before the framework looks at them.

FastAPI describes and answers every path; for a decision of a few hundred microseconds its routing, its exit stacks and
its dependency solving cost as much as the decision itself. So the endpoints named here, which need none of these, are
called straight away. They are the very functions that the routes name, and their refusals become the same answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.answers import refused
from serving.refusals import Refusal

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class HotPaths:
    """An ASGI middleware: endpoints by method and path, exactly as they are written; all else goes on to `app`.

    Whatever is no refusal goes on upwards, where the application answers what nobody foresaw.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[tuple[str, str], Endpoint]) -> None:
        self.app = app
        self.endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes on."""
        endpoint = self.endpoints.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self.app(scope, receive, send)
            return
        try:
            response = await endpoint(Request(scope, receive))
        except Refusal as refusal:
            response = refused(refusal)
        await response(scope, receive, send)
