"""One of several API processes at an address. `cli.api_processes` starts it, and hands on what they share.

    python -m cli.api_process NUMBER SOCKET[,…] LINE SLATE[,…] RATES

Its number from 1 on, and descriptors: the sockets to accept from, the line to its parent, the slates of all processes,
and the file of rates that they share.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import suppress

from cli.api_processes import READY
from cli.api_server import serve_sockets
from serving import garbage
from serving.logs import configure
from serving.settings import settings_of_environment
from serving.siblings import Siblings, Slate


def main(number: str, sockets: str, line: str, slates: str, rates: str) -> None:
    """Serves until SIGTERM, or until the parent is gone; requests under way are finished."""
    descriptors = [int(word) for words in (sockets, line, slates, rates) for word in words.split(",")]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # what this process starts would hold the address when it has ended
    settings = settings_of_environment()
    configure(settings.log_level, process=int(number))
    garbage.look_rarely()
    to_parent = socket.socket(fileno=int(line))
    threading.Thread(target=_end_without_parent, args=(to_parent,), daemon=True).start()
    serve_sockets(
        settings,
        Siblings(int(number), [Slate(int(word)) for word in slates.split(",")], int(rates)),
        [socket.socket(fileno=int(word)) for word in sockets.split(",")],
        on_ready=lambda: to_parent.send(READY),
    )


def _end_without_parent(to_parent: socket.socket) -> None:
    with suppress(OSError):
        to_parent.recv(1)  # nothing is ever sent: it returns when the parent is gone
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(*sys.argv[1:])
