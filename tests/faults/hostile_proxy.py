"""A proxy that drops, delays, cuts, repeats and invents, by a seeded chance, until it is told to be calm."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import urlsplit

#: What is done to a request, with its weight.
FAULTS = {
    "pass": 6,
    "cut before": 1,  # the server never sees it
    "cut after": 2,  # the server has it, the client does not know
    "cut within": 1,  # half of the answer comes
    "twice": 1,
    "late": 1,  # after the client has hung up
    "400": 1,
    "401": 1,
    "413": 1,
    "429": 1,
    "500": 1,
    "502": 1,
    "200 of somebody else": 1,
}
#: An answer that is late comes after this; clients of the tests wait for half as long.
LATE_S = 1.0


@dataclass
class HostileProxy:
    """A proxy: where it is reached, and how often it did what."""

    url: str
    is_calm: bool = False
    done: Counter[str] = field(default_factory=Counter)


@contextmanager
def hostile_proxy(target: str, seed: int) -> Iterator[HostileProxy]:
    """A proxy before this address until the end of the block."""
    random, lock, ends = Random(seed), threading.Lock(), threading.Event()
    host = urlsplit(target).netloc

    def forwarded(path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes] | None:
        connection = HTTPConnection(host, timeout=20)
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):  # the server was killed
            return None
        finally:
            connection.close()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name: self.headers[name] for name in ("authorization", "content-type") if name in self.headers}
            with lock:
                fault = "pass" if proxy.is_calm else random.choices(list(FAULTS), list(FAULTS.values()))[0]
                proxy.done[fault] += 1
            if fault.isdigit():
                self._answer(int(fault), b'{"success": false}')
            elif fault == "cut before":
                self.close_connection = True
            elif fault == "200 of somebody else":
                self._answer(200, b"<html>log in</html>")
            else:
                answer = forwarded(self.path, body, headers)
                if fault == "twice":
                    answer = forwarded(self.path, body, headers)
                if fault == "late":
                    ends.wait(LATE_S)
                if answer is None or fault == "cut after":
                    self.close_connection = True
                else:
                    self._answer(*answer, cut=fault == "cut within")

        def _answer(self, status: int, body: bytes, *, cut: bool = False) -> None:
            with suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = cut

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy = HostileProxy(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            ends.set()
            server.shutdown()
            thread.join()
