"""Every body that the framework reads is JSON, and bounded, whatever its client calls it: `curl -d` calls it a form.

The framework reads a body to its end before it asks for a key, and takes what is no JSON: NaN, halves of characters.
So bodies are read here first, by the rules of the hot paths (`serving.http.bodies`), and handed on as a whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.answers import refusal_answer
from serving.http.bodies import body_of, json_of, require_flat
from serving.refusals import Refusal

JSON = (b"content-type", b"application/json")
#: Headers by which a client describes its body. They are not true of the body that is handed on.
_DESCRIBING = frozenset((b"content-type", b"content-encoding", b"content-length"))
#: The routes of these methods read no body.
_WITHOUT_BODY = frozenset(("GET", "HEAD", "OPTIONS"))


class AlwaysJson:
    """An ASGI middleware that reads the bodies of `paths` as JSON, whatever their Content-Type, and refuses one that is
    too long, or that is no JSON. `require_key` refuses a request before that, also one without a body. No other path
    reads a body through the framework, so nothing of one is read for them.
    """

    def __init__(
        self, app: ASGIApp, bytes_max: int, paths: tuple[str, ...], require_key: Callable[[Request], Awaitable[None]]
    ) -> None:
        self.app = app
        self.require_key = require_key
        self.paths = paths
        self.bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses, or passes the body on as application/json."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # No route reads cookies, and the framework would take them apart before it asks for a key.
        scope["headers"] = [header for header in scope["headers"] if header[0] != b"cookie"]
        body = None
        try:
            if scope["path"].startswith(self.paths) and scope["method"] != "OPTIONS":  # which asks what may be asked
                body = await self._checked(Request(scope, receive))
        except Refusal as refusal:
            await refusal_answer(refusal)(scope, receive, send)
            return
        except ClientDisconnect:
            return  # nobody is there to be answered
        if body is None:
            with suppress(ClientDisconnect):  # nobody is there to be answered
                await self.app(scope, receive, send)
            return
        scope["headers"] = [*(header for header in scope["headers"] if header[0] not in _DESCRIBING), JSON]
        await self.app(scope, _with_body(body, receive), send)

    async def _checked(self, request: Request) -> bytes | None:
        """The bytes of the body of a call with a known key; None where its method has none."""
        await self.require_key(request)
        if request.method in _WITHOUT_BODY:
            return None
        body = await body_of(request, self.bytes_max)
        if body:
            require_flat(json_of(body))
        return body


def _with_body(body: bytes, receive: Receive) -> Receive:
    """A channel on which the whole body is the first message; `receive` gives those after it."""
    bodies = [body]

    async def next_message() -> Message:
        return {"type": "http.request", "body": bodies.pop(), "more_body": False} if bodies else await receive()

    return next_message
