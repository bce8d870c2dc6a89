"""An HTTP server that answers what a test says and keeps what it was sent: for answers that a real API gives rarely."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

#: What a request is answered: status, headers and body; None cuts the connection without an answer. A body of several
#: pieces trickles: one piece each twentieth of a second.
Answer: TypeAlias = tuple[int, dict[str, str], bytes | list[bytes]] | None


@dataclass
class Asked:
    """A request: method, path with query, headers in small letters, and the decoded body."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class ScriptedServer:
    """A server and what it was asked. `answer` may be exchanged at any time."""

    url: str
    answer: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)

    def batches(self) -> list[list[dict[str, Any]]]:
        """The events of each batch that came."""
        return [asked.body["batch"] for asked in self.asked if asked.path == "/v1/batch"]


def stored(_: Asked) -> Answer:
    """The answer to a batch whose events are all stored."""
    return 200, {}, b'{"success": true}'


def decided(value: Any, **headers: str) -> Callable[[Asked], Answer]:
    """Answers each question for a flag with this value, and batches as stored."""

    def answer(asked: Asked) -> Answer:
        if asked.path == "/v1/batch":
            return stored(asked)
        body = {"flag": "f", "value": value, "allow": bool(value), "variant": None, "reason": "STATIC", "reasons": []}
        return 200, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(body).encode()

    return answer


@contextmanager
def scripted_server(answer: Callable[[Asked], Answer] = stored, port: int = 0) -> Iterator[ScriptedServer]:
    """A server on this port, or a free one, until the end of the block."""
    ends = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            running.asked.append(asked)
            found = running.answer(asked)
            if found is None:
                self.close_connection = True
                return
            status, more, content = found
            self.send_response(status)
            pieces = [content] if isinstance(content, bytes) else content
            for name, value in {**more, "Content-Length": str(sum(map(len, pieces)))}.items():
                self.send_header(name, value)
            self.end_headers()
            for number, piece in enumerate(pieces):
                if number and ends.wait(0.05):
                    return
                with suppress(ConnectionError):
                    self.wfile.write(piece)

        do_GET = do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        running = ScriptedServer(f"http://127.0.0.1:{server.server_address[1]}", answer)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield running
        finally:
            ends.set()
            server.shutdown()
            thread.join()
