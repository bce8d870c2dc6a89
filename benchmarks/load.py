"""A load generator for one server on loopback: so many connections, each sending its next request on an answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import uvloop


@dataclass(frozen=True)
class Load:
    """What a server did: answers a second, the latency in ms of half and of 99 % of them, and how many there were."""

    per_second: float
    p50_ms: float
    p99_ms: float
    answers: int = 0


class _Connection(asyncio.Protocol):
    """Sends, waits for the whole answer, sends again. An answer that is no 200 ends the measurement."""

    def __init__(self, requests: Iterator[bytes], until: float, latencies: list[float]) -> None:
        self.requests, self.until, self.latencies = requests, until, latencies
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.received = b""
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._send()

    def _send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(next(self.requests))  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.received += data
        head = self.received.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self.received[:head].lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 : lower.find(b"\r\n", at) if b"\r\n" in lower[at:] else None])
        if len(self.received) < head + 4 + length:
            return
        if not self.received.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(self.received[:500].decode(errors="replace")))
            return
        self.received = b""
        now = time.perf_counter()
        self.latencies.append(now - self.sent)
        if now < self.until:
            self._send()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed the connection"))


def measure(url: str, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """Sends these requests in turn, again and again, over so many connections for so many seconds."""
    return uvloop.run(_measure(url, requests, connections, seconds))


async def _measure(url: str, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    turn = itertools.cycle(requests)
    latencies: list[float] = []
    started = time.perf_counter()
    opened = [
        await loop.create_connection(
            lambda: _Connection(turn, started + seconds, latencies), parts.hostname, parts.port
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in opened))
    elapsed = time.perf_counter() - started
    for transport, _ in opened:
        transport.close()
    ordered = sorted(latencies)
    half, most = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return Load(len(ordered) / elapsed, 1000 * half, 1000 * most, len(ordered))


def request(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """One HTTP/1.1 request as bytes."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
