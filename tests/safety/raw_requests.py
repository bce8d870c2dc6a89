"""Requests as bytes, such as no client library would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    """The answer that came back before the server closed or fell silent; status 0 where nothing came."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


def answer_to(url: str, parts: Iterable[bytes], timeout_s: float = 10.0) -> Answer:
    """The first answer to these bytes. Stops sending when the server stops reading; waits so long for more bytes."""
    where = urlsplit(url)
    received = b""
    closed = False
    with socket.create_connection((where.hostname, where.port or 80), timeout_s) as wire:
        try:
            for part in parts:
                wire.sendall(part)
        except (ConnectionError, TimeoutError):
            closed = True
        try:
            while not _is_whole(received):
                more = wire.recv(65_536)
                if not more:
                    closed = True
                    break
                received += more
            else:
                closed = b"connection: close" in received.lower()
        except ConnectionError:
            closed = True
        except TimeoutError:
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Answer(int(lines[0].split()[1]) if received else 0, headers, body, closed)


def _is_whole(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    at = head.lower().find(b"content-length:")
    if not end or at < 0:
        return bool(end)
    return len(body) >= int(head[at + 15 :].split(b"\r\n")[0])
