"""What a body is: JSON, always. Clients say all kinds of things about it, `curl -d` that it is a form."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

JSON = (b"content-type", b"application/json")


class AlwaysJson:
    """An ASGI middleware that has every body read as JSON, whatever its Content-Type."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on, under the one Content-Type there is."""
        if scope["type"] == "http":
            scope["headers"] = [*(one for one in scope["headers"] if one[0] != JSON[0]), JSON]
        await self.app(scope, receive, send)
