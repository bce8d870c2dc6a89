"""A client of change streams: opens one in a thread of its own, and keeps what it was told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, NamedTuple

import httpx

from tests.running import RunningStack
from tests.waiting import wait_until

#: Seconds that a heartbeat may take; a stream that is silent for longer is dead.
SILENT_S = 30.0


class Told(NamedTuple):
    """One message: its id, its data, and when it came, on the clock of `time.monotonic`."""

    id: str
    data: dict[str, Any]
    at_s: float


class Listening:
    """One open stream: the messages and the lines so far, whether it has ended, and whether the server ended it."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.told: list[Told] = []
        self.lines: list[str] = []
        self.is_over = self.is_whole = False
        self.status = 0
        self.headers = httpx.Headers()
        self._client = httpx.Client(timeout=httpx.Timeout(SILENT_S, connect=5))
        self._url, self._sent = url, headers
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            with self._client.stream("GET", self._url, headers=self._sent) as answer:
                self.headers, self.status = answer.headers, answer.status_code
                event: dict[str, str] = {}
                for line in answer.iter_lines():
                    self.lines.append(line)
                    name, _, value = line.partition(": ")
                    if line:
                        event[name] = value
                    elif "data" in event:
                        self.told.append(Told(event["id"], json.loads(event["data"]), time.monotonic()))
                        event = {}
                self.is_whole = True
        except httpx.HTTPError:
            pass  # the connection ended
        finally:
            self.is_over = True

    def wait_for(self, count: int, timeout_s: float = 60.0) -> Told:
        """The message that is this one of all, as soon as it was told."""
        wait_until(lambda: len(self.told) >= count, f"message {count} of {self._url}", timeout_s)
        return self.told[count - 1]

    def close(self) -> None:
        """Leaves the stream."""
        self._client.close()


@contextmanager
def listening(url: str, **headers: str) -> Iterator[Listening]:
    """Listens to a stream until the end of the block; it is open once this begins, or was refused."""
    listener = Listening(url, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        wait_until(lambda: listener.status or listener.is_over, f"{url} answers")
        yield listener
    finally:
        listener.close()


def bulk(stack: RunningStack, user: str, key: str | None = None, **headers: str) -> httpx.Response:
    """The answer of OFREP about all flags of a user."""
    sent = {"Authorization": f"Bearer {key or stack.keys['read']}"} | headers
    return stack.http.post("/ofrep/v1/evaluate/flags", json={"context": {"targetingKey": user}}, headers=sent)


def stream_url(stack: RunningStack, user: str, key: str | None = None) -> str:
    """The address of the stream of a user, as OFREP's answer gives it."""
    (stream,) = bulk(stack, user, key).json()["eventStreams"]
    url: str = stream["url"]
    return url


def decided(stack: RunningStack, user: str, *, stream: bool = True, **more: Any) -> httpx.Response:
    """Our own answer about all flags of a user."""
    headers = more.pop("headers", {})
    return stack.call("POST", "/v1/decide", "read", json={"userId": user, "stream": stream, **more}, headers=headers)
