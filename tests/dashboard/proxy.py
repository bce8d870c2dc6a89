"""A proxy that passes connections on as they are, and may hold a request back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Held:
    """Requests with these words in their first bytes are passed on only once `let_go` is set."""

    def __init__(self, words: str) -> None:
        self.words = words.encode()
        self.asked, self.let_go = threading.Event(), threading.Event()

    def pass_or_wait(self, data: bytes) -> None:
        """Returns when these bytes may go on."""
        if self.words in data:
            self.asked.set()
            assert self.let_go.wait(120)


@contextmanager
def proxy(port: int, held: Held | None = None) -> Iterator[int]:
    """A port that passes each connection on as it is, as a proxy does that keeps `Host` and upgrades."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening, port, held), daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, port: int, held: Held | None) -> None:
    with suppress(OSError):
        while True:
            here, _ = listening.accept()
            there = socket.create_connection(("127.0.0.1", port))
            for source, sink, holds in ((here, there, held), (there, here, None)):
                threading.Thread(target=_pass_on, args=(source, sink, holds), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, held: Held | None) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            if held is not None:
                held.pass_or_wait(data)
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
