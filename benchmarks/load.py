"""A load generator for one server on loopback.

Each of its connections sends the next request when the answer is there. Where a pace is given, it also waits for the
time of that request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import hiredis
import uvloop


@dataclass(frozen=True)
class Load:
    """What a server did: answers a second, the latency in ms below which 50 % and 99 % of them were, their number."""

    per_second: float
    p50_ms: float
    p99_ms: float
    answers: int = 0


class _Connection(asyncio.Protocol):
    """Sends, waits for the whole answer, sends again. An answer that is no success ends the measurement."""

    def __init__(self, requests: Iterator[bytes], until: float, latencies: list[float], every_s: float) -> None:
        self.requests, self.until, self.latencies, self.every_s = requests, until, latencies, every_s
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent = 0.0

    def is_answered(self, data: bytes) -> bool:
        """Whether the answer is whole with these bytes. Raises `RuntimeError` for one that is no success."""
        raise TypeError(f"{type(self).__name__} does not say when an answer is whole")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._send()

    def _send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(next(self.requests))  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        try:
            if not self.is_answered(data):
                return
        except RuntimeError as error:
            self.done.set_exception(error)
            return
        now = time.perf_counter()
        self.latencies.append(now - self.sent)
        wait_s = self.sent + self.every_s - now
        if now < self.until and wait_s <= 0:
            self._send()
        elif now + wait_s < self.until:
            asyncio.get_running_loop().call_later(wait_s, self._send)
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed the connection"))


class _Http(_Connection):
    """A connection to an HTTP server; every answer must be a 200."""

    received = b""

    def is_answered(self, data: bytes) -> bool:
        self.received += data
        head = self.received.find(b"\r\n\r\n")
        if head < 0:
            return False
        lower = self.received[:head].lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 : lower.find(b"\r\n", at) if b"\r\n" in lower[at:] else None])
        if len(self.received) < head + 4 + length:
            return False
        if not self.received.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(self.received[:500].decode(errors="replace"))
        self.received = b""
        return True


class _Pipelines(_Connection):
    """A connection to Redis itself; a request is a pipeline of `commands` commands, and its answer as many replies."""

    def __init__(self, *load: Any, commands: int, password: str | None) -> None:
        super().__init__(*load)
        self.commands = self.left = commands
        self.password = password
        self.reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.password is not None:  # one command more, before the first pipeline
            self.left += 1
            transport.write(hiredis.pack_command(("AUTH", self.password)))  # type: ignore[attr-defined,arg-type]
        super().connection_made(transport)

    def is_answered(self, data: bytes) -> bool:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            if isinstance(reply, Exception):
                raise RuntimeError(str(reply))
            self.left -= 1
        if self.left:
            return False
        self.left = self.commands
        return True


def measure(
    url: str, requests: Iterator[bytes], connections: int, seconds: float, commands: int = 0, per_second: float = 0
) -> Load:
    """The load of a server that is sent the next of these requests over all connections, for so many seconds.

    Sends at most `per_second` requests, or as many as it can where that is 0. They are HTTP requests; where `commands`
    says how many commands each holds, they are pipelines for a Redis, whose password the URL has. The requests must not
    end, and must differ from measurement to measurement: else what a server keeps of the last ones would look like its
    speed.
    """
    every_s = connections / per_second if per_second else 0.0
    return uvloop.run(_measure(url, requests, connections, seconds, commands, every_s))


async def _measure(
    url: str, requests: Iterator[bytes], connections: int, seconds: float, commands: int, every_s: float
) -> Load:
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    latencies: list[float] = []
    started = time.perf_counter()

    def connection() -> _Connection:
        load = requests, started + seconds, latencies, every_s
        return _Pipelines(*load, commands=commands, password=parts.password) if commands else _Http(*load)

    opened = []
    for _ in range(connections):
        opened.append(await loop.create_connection(connection, parts.hostname, parts.port))
        await asyncio.sleep(every_s / connections)
    await asyncio.gather(*(protocol.done for _, protocol in opened))
    elapsed = time.perf_counter() - started
    for transport, _ in opened:
        transport.close()
    ordered = sorted(latencies)
    p50_s, p99_s = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return Load(len(ordered) / elapsed, 1000 * p50_s, 1000 * p99_s, len(ordered))


def request(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """One HTTP/1.1 request as bytes."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
