"""A bound on the whole of an exchange. The HTTP library bounds each read by itself, and a server that sends a byte now
and then would hold its caller for hours. asyncio has a bound of its own; this one is for threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

_of_thread = threading.local()

#: Bytes that are written under one bound.
WRITE_BYTES = 16 * 1024


@contextmanager
def ends_within(timeout_s: float) -> Iterator[None]:
    """Whatever this thread reads and writes by a bounded client within the block takes so many seconds in all."""
    _of_thread.deadline_s = time.monotonic() + timeout_s
    try:
        yield
    finally:
        _of_thread.deadline_s = None


def bounded(http: httpx2.Client) -> httpx2.Client:
    """The client, whose connections know the bound. The library has no public place for that."""
    for transport in (http._transport, *http._mounts.values()):
        pool: Any = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = _Backend(pool._network_backend)
    return http


def _left(timeout: float | None, too_late: type[httpx2.TimeoutException]) -> float | None:
    deadline_s = getattr(_of_thread, "deadline_s", None)
    if deadline_s is None:
        return timeout
    left_s: float = deadline_s - time.monotonic()
    if left_s <= 0:
        raise too_late("the exchange took too long as a whole")
    return left_s if timeout is None else min(timeout, left_s)


class _Backend:
    """Opens connections within the bound."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **more: Any) -> _Stream:
        return _Stream(self._backend.connect_tcp(host, port, timeout=_left(timeout, httpx2.ConnectTimeout), **more))

    def connect_unix_socket(self, path: str, timeout: float | None = None, **more: Any) -> _Stream:
        return _Stream(self._backend.connect_unix_socket(path, timeout=_left(timeout, httpx2.ConnectTimeout), **more))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _Stream:
    """Reads and writes within the bound."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        found: bytes = self._stream.read(max_bytes, timeout=_left(timeout, httpx2.ReadTimeout))
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), WRITE_BYTES):
            self._stream.write(buffer[at : at + WRITE_BYTES], timeout=_left(timeout, httpx2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        left_s = _left(timeout, httpx2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname=server_hostname, timeout=left_s))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
