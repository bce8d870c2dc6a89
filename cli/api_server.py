"""The API's server: uvicorn, with our application, bounds of connections, and logs."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import uvicorn

from serving.app import HOT, create_app
from serving.http.connection import Connection
from serving.http.hot_paths import Shortcut
from serving.settings import Settings
from serving.siblings import Siblings

#: Files that the API has open beside its connections, most of them the lake's.
FILES_BESIDE = 256


def serve(settings: Settings) -> None:
    """Serves at the address of the settings until SIGTERM; requests under way are finished."""
    uvicorn.run(**_options(settings, Siblings()), host=settings.host, port=settings.port)


def serve_sockets(
    settings: Settings, siblings: Siblings, sockets: Sequence[socket.socket], on_ready: Callable[[], object]
) -> None:
    """Serves at sockets that are bound, as one of several processes. `on_ready` is called once requests are taken."""
    server = _Server(uvicorn.Config(**_options(settings, siblings)), on_ready)
    with suppress(KeyboardInterrupt):  # which the server raises at its end, where Ctrl-C ended it
        server.run(list(sockets))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _options(settings: Settings, siblings: Siblings) -> dict[str, Any]:
    connections_max = _connections_possible(settings.connections_max)
    settings = settings.model_copy(update={"connections_max": connections_max})  # change streams take half of them
    # A process for questions has some 100 MB, and the first one that is asked starts in a moment.
    app = create_app(settings, is_warmed=siblings.number == 1, siblings=siblings)
    return {
        "app": Shortcut(app, HOT),
        "loop": "uvloop",
        "http": Connection.bounded(connections_max, settings.request_s_max),
        "ws": "none",
        "log_level": "warning",
        "log_config": None,  # its log lines go where ours go
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "timeout_graceful_shutdown": 10,
    }


def _connections_possible(connections: int) -> int:
    """At most the given number: as many connections as this process may open files for, less the files beside them.

    Raises the process' limit of open files where that is too low and may be raised.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + FILES_BESIDE
    if resource.RLIM_INFINITY in (soft, hard) or soft >= needed:
        return connections
    files = min(hard, needed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, files), hard))
    return max(1, files - FILES_BESIDE)
