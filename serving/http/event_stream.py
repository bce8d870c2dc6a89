"""An answer that does not end: server-sent events, to one client that may read slowly or be gone.

It ends when the client leaves, when its `Latest` is closed, and when the server stops: `serving.http.connection` calls
what stands in the request's scope as `ENDING`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

#: The name, in a request's scope, of the function that ends its answer.
ENDING = "tinycdp.ending"
#: Something is sent at least so often: proxies close connections that are silent for a minute.
HEARTBEAT_S = 15.0
_HEARTBEAT = b":\n\n"

#: No cache keeps it, no proxy changes it, and nginx passes on each message as it comes.
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Latest:
    """The newest text that one reader has not taken yet: a later one takes its place. So a slow reader costs one text.

    For one event loop.
    """

    __slots__ = ("_text", "_waiting", "is_closed")

    def __init__(self) -> None:
        self.is_closed = False
        self._text: bytes | None = None
        self._waiting: asyncio.Future[None] | None = None

    def put(self, text: bytes) -> None:
        """Gives the reader this text instead of one that it has not taken."""
        self._text = text
        self._wake()

    def close(self) -> None:
        """Lets the reader go, without what it has not taken."""
        self.is_closed = True
        self._wake()

    async def take(self, seconds: float) -> bytes | None:
        """The newest text; nothing in it where none came within the time. None once it is closed."""
        if self._text is None and not self.is_closed:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            timer = loop.call_later(seconds, self._wake)
            try:
                await self._waiting
            finally:
                timer.cancel()
                self._waiting = None
        if self.is_closed:
            return None
        text, self._text = self._text or b"", None
        return text

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class EventStream(Response):
    """Sends `first`, then what is put into `latest`. `on_end` is called once it has ended, however it did."""

    media_type = "text/event-stream"

    def __init__(self, first: bytes, latest: Latest, on_end: Callable[[], None]) -> None:
        self.status_code, self.background, self.raw_headers = 200, None, list(_HEADERS)
        self._first, self._latest, self._on_end = first, latest, on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until it ends."""
        latest = self._latest
        scope[ENDING] = latest.close
        leaving = asyncio.create_task(_end_with_client(receive, latest))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            text: bytes | None = self._first
            while text is not None:
                await send({"type": "http.response.body", "body": text or _HEARTBEAT, "more_body": True})
                text = await latest.take(HEARTBEAT_S)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            leaving.cancel()
            self._on_end()


async def _end_with_client(receive: Receive, latest: Latest) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    latest.close()
