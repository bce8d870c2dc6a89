"""A connection to a running stack whose owner may give it up at any moment: before the answer, or amid the request."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec


class Connection:
    """One connection, opened when first used and again after it was given up."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._wire: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes) -> None:
        """Sends bytes, and waits for nothing."""
        if self._wire is None:
            self._wire = await asyncio.open_connection(self._url.hostname, self._url.port)
        self._wire[1].write(request)
        await self._wire[1].drain()

    async def ask(self, request: bytes) -> tuple[int, Any]:
        """The status and the JSON that answers a request."""
        await self.send(request)
        assert self._wire is not None
        head = await self._wire[0].readuntil(b"\r\n\r\n")
        at = head.lower().index(b"content-length:") + 15
        body = await self._wire[0].readexactly(int(head[at : head.index(b"\r\n", at)]))
        return int(head[9:12]), msgspec.json.decode(body)

    def give_up(self) -> None:
        """Closes, whatever is still to come."""
        if self._wire is not None:
            self._wire[1].close()
            self._wire = None
