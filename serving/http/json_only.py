"""What a body is: JSON, always, and bounded. Clients say all kinds of things about it, `curl -d` that it is a form.

The framework reads a body to its end before it asks for a key, and takes what is no JSON: NaN, halves of characters.
So bodies are read here, by the same rules as those of the paths that are asked for most, and handed on as a whole.
"""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.answers import refusal_answer
from serving.http.bodies import body_of, json_of, require_flat
from serving.refusals import Refusal

JSON = (b"content-type", b"application/json")
#: What a client says of a body, which no longer holds of what is handed on.
_SAID = frozenset((b"content-type", b"content-encoding", b"content-length"))
#: What answers here reads its bodies itself, and says in words of its own what is wrong with one.
_OWN_WORDS = "/ofrep/"


class AlwaysJson:
    """An ASGI middleware that has every body read as JSON, whatever its Content-Type, and refuses those beyond a size
    or of anything else.
    """

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self.app = app
        self.bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on, under the one Content-Type there is."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"].startswith(_OWN_WORDS):
            with suppress(ClientDisconnect):  # nobody is there to be answered
                await self.app(scope, receive, send)
            return
        try:
            body = await body_of(Request(scope, receive), self.bytes_max)
            if body:
                require_flat(json_of(body))
        except Refusal as refusal:
            await refusal_answer(refusal)(scope, receive, send)
            return
        except ClientDisconnect:
            return  # nobody is there to be answered
        scope["headers"] = [*(one for one in scope["headers"] if one[0] not in _SAID), JSON]
        await self.app(scope, _handing_on(body, receive), send)


def _handing_on(body: bytes, receive: Receive) -> Receive:
    """A channel on which the body arrives at once, and behind it whatever else there is to hear."""
    left = [body]

    async def handed() -> Message:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return handed
