"""One connection of one client, with a bound on everything that it can make us wait for or hold.

The HTTP parser has no bounds: it keeps a header that never ends until memory ends, and a silent connection stays open
for ever. Here the bytes before a body are bounded, the seconds in which a request must arrive and an answer must be
taken, and the connections of a process. The parser refuses what HTTP itself leaves unclear (two lengths, a length
beside chunks, bare line feeds); so are headers that may be there once, and another version of HTTP. Refusals are in our
words, and close the connection.

`Connection` subclasses uvicorn's HttpToolsProtocol and needs state that uvicorn keeps private, so `pyproject.toml`
bounds uvicorn's version by it:

* of the module: `STATUS_LINE`
* of a connection, read: `connections`, `pipeline`, `loop`, `transport`, `flow`, `scope`, `url`, `cycle`, `parser`,
  `timeout_keep_alive`; counted up: `server_state.total_requests`; replaced: `headers`, `cycle.transport`
* of a cycle, one request and its answer, read: `scope`, `default_headers`, `more_body`, `disconnected`, `on_response`;
  set: `response_started`, `response_complete`, `message_event`, `keep_alive`
* overridden: the callbacks of asyncio and of the parser, `shutdown`, `on_response_complete`, `send_400_response`,
  `_unsupported_upgrade_warning`
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, cast

import msgspec
import structlog
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.http.event_stream import ENDING

#: Bytes of path and query, and of the path alone: the longest that mean anything, an id of 256 characters
#: percent-encoded, have 3 KB, and a query may name several.
URL_BYTES_MAX, PATH_BYTES_MAX = 16 * 1024, 4 * 1024
#: Slashes of a path, plain or encoded: an id may be 256 of them, and has some before and after it.
SLASHES_MAX = 270
#: Parameters of a query, of which no call has more, and bytes of path and query that are percent-encoded:
#: enough for two of the longest ids. To decode them is most of what a request without a key costs.
PARAMETERS_MAX, ENCODED_MAX = 32, 2_100
#: Bytes of a request before its body.
HEAD_BYTES_MAX = 64 * 1024
#: Bytes of a request that are neither head nor body: the lengths of chunks, their extensions, trailers.
FRAME_BYTES_MAX = 4 * 1024 * 1024
HEADERS_MAX = 64
#: Of several such headers another server in front of us may take another one: who asks, of whom, and what the body is.
ONCE = (b"host", b"authorization", b"x-api-key", b"content-encoding")
VERSIONS = ("1.1", "1.0")
#: How often a connection looks at the clock.
CHECK_S = 1.0
#: How often the log tells of connections that were refused.
CROWD_TOLD_S = 1.0

log = structlog.get_logger()


Header: TypeAlias = tuple[bytes, bytes]


class _Nowhere(list[Header]):
    """A list of headers that keeps none."""

    def append(self, header: Header) -> None:
        """Forgets it."""


_NOWHERE = _Nowhere()


class Joined:
    """The transport of one answer: its head goes out together with the first piece of its body.

    uvicorn sends them apart, which costs a system call more here and wakes the client once more.
    """

    __slots__ = ("_head", "_is_begun", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._is_begun = False

    def write(self, data: bytes) -> None:
        """Sends the data; a head waits for the piece that follows it."""
        if self._is_begun or data.startswith(_CONTINUE):
            self._transport.write(data)
        elif not self._head:
            self._head = data
        else:
            self._is_begun = True
            self._transport.write(self._head + data)

    def close(self) -> None:
        """Sends a head that still waits, and closes."""
        if self._head and not self._is_begun:
            self._transport.write(self._head)
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closed or about to be."""
        return self._transport.is_closing()


_CONTINUE = STATUS_LINE[100]

#: The name, in a request's scope, of the function that sends a whole answer at once: `Connection._answer`.
WHOLE = "tinycdp.whole"


@dataclass
class Crowd:
    """The connections refused since the log told of some, and when it may tell of others."""

    refused: int = 0
    next_s: float = 0.0


def _nothing() -> None:
    """An answer that ends by itself is waited for."""


#: How long bytes may stay unacknowledged, where the system has the option: Linux.
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)


def give_up_after(transport: asyncio.Transport, seconds: float) -> None:
    """Ends a connection whose client acknowledges nothing for so long: its machine is gone, or its network.

    The system would send again for a quarter of an hour, and `Connection` would see nothing of it as long as what is
    sent has room in the system's buffer. The heartbeats of a change stream have room for days.
    """
    accepted = transport.get_extra_info("socket")
    if _USER_TIMEOUT is not None and accepted is not None and accepted.family != socket.AF_UNIX:
        accepted.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, min(int(seconds * 1000), 2**31 - 1))


class Connection(HttpToolsProtocol):
    """uvicorn's connection, bounded. `bounded` makes the class for the bounds of a server."""

    connections_max: ClassVar[int] = 4_000
    request_s_max: ClassVar[float] = 30.0

    _crowd: ClassVar[Crowd] = Crowd()
    _began_s: float | None = None
    _stuck_s: float | None = None
    _idle_s: float | None = None
    _is_in_head = False
    _is_refused = False
    _beside_bytes = 0
    _refusal = (400, "invalid_argument", "this is no HTTP request that can be understood")
    _check: asyncio.TimerHandle | None = None

    @classmethod
    def bounded(cls, connections_max: int, request_s_max: float) -> type[Connection]:
        """The class of a server's connections, with its bounds: how many at once, and the seconds of a request."""
        return type(
            "BoundedConnection",
            (cls,),
            {"connections_max": connections_max, "request_s_max": request_s_max, "_crowd": Crowd()},
        )

    # ── a connection ─────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            self._tell_of_crowd()
            self._refuse(503, "unavailable", f"more than {self.connections_max} connections: try again")
            return
        give_up_after(transport, self.request_s_max)
        self._began_s = self.loop.time()
        self._check = self.loop.call_later(CHECK_S, self._look_at_clock)

    def _tell_of_crowd(self) -> None:
        """Writes why a connection is refused, at most once in `CROWD_TOLD_S`: they may be thousands a second."""
        crowd = self._crowd
        crowd.refused += 1
        if self.loop.time() >= crowd.next_s:
            log.warning(
                "connections_refused", reason="too many connections", at_most=self.connections_max, count=crowd.refused
            )
            crowd.next_s, crowd.refused = self.loop.time() + CROWD_TOLD_S, 0

    def shutdown(self) -> None:
        """Ends the connection as the server stops: at once where it is idle, and an answer that would never end."""
        super().shutdown()
        if self.cycle is not None and not self.cycle.response_complete:
            cast(dict[str, Any], self.cycle.scope).get(ENDING, _nothing)()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._check is not None:
            self._check.cancel()
        super().connection_lost(exc)

    def _look_at_clock(self) -> None:
        """Ends a request that does not arrive, an answer that nobody takes, and a connection without requests."""
        now = self.loop.time()
        if self._stuck_s is not None and now - self._stuck_s > self.request_s_max:
            self.transport.abort()
        elif self._began_s is not None and now - self._began_s > self.request_s_max and not self.pipeline:
            # A request that waits behind another of its connection is not late through its own fault.
            self._refuse(408, "deadline_exceeded", f"the request did not arrive within {self.request_s_max:g} s")
        elif self._idle_s is not None and now - self._idle_s > self.timeout_keep_alive:
            self.transport.close()
        else:
            self._check = self.loop.call_later(CHECK_S, self._look_at_clock)

    def pause_writing(self) -> None:
        self._stuck_s = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stuck_s = None
        super().resume_writing()

    # ── a request ────────────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        self._idle_s = None
        if self._began_s is None:
            self._began_s = self.loop.time()
        if self._is_refused or self.transport.is_closing():
            return
        self._beside_bytes += len(data)
        super().data_received(data)
        bytes_max = HEAD_BYTES_MAX if self._is_in_head else FRAME_BYTES_MAX
        if self._beside_bytes > bytes_max and not self._is_refused:
            self._refuse(431, "invalid_argument", f"more than {bytes_max} bytes beside the body")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._began_s, self._is_in_head, self._beside_bytes = self.loop.time(), True, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if len(self.url) > URL_BYTES_MAX:
            self._refusal = (414, "invalid_argument", f"a path and query of more than {URL_BYTES_MAX} bytes")
            raise ValueError(self._refusal)
        path, _, query = self.url.partition(b"?")
        if len(path) > PATH_BYTES_MAX:
            self._refusal = (414, "invalid_argument", f"a path of more than {PATH_BYTES_MAX} bytes")
            raise ValueError(self._refusal)
        if path.count(b"/") + path.count(b"%2F") + path.count(b"%2f") > SLASHES_MAX:
            self._refusal = (414, "invalid_argument", f"a path of more than {SLASHES_MAX} slashes")
            raise ValueError(self._refusal)
        if query.count(b"&") >= PARAMETERS_MAX:
            self._refusal = (400, "invalid_argument", f"a query of more than {PARAMETERS_MAX} parameters")
            raise ValueError(self._refusal)
        if self.url.count(b"%") > ENCODED_MAX:
            encoded = f"a path and query with more than {ENCODED_MAX} bytes encoded as %XX"
            self._refusal = (414, "invalid_argument", encoded)
            raise ValueError(self._refusal)
        if len(self.headers) > HEADERS_MAX:
            self._refusal = (431, "invalid_argument", f"more than {HEADERS_MAX} headers")
            raise ValueError(self._refusal)
        if sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES_MAX:
            self._refusal = (431, "invalid_argument", f"headers of more than {HEAD_BYTES_MAX} bytes")
            raise ValueError(self._refusal)
        version = self.parser.get_http_version()
        if version not in VERSIONS:
            self._refusal = (400, "invalid_argument", f"HTTP/{version}: send HTTP/1.1")
            raise ValueError(self._refusal)
        names = [name for name, _ in self.headers]
        if len(set(names)) < len(names):  # seldom, so the usual call pays for no more than that
            twice = next((name for name in ONCE if names.count(name) > 1), None)
            if twice is not None:
                self._refusal = (400, "invalid_argument", f"{twice.decode()}: send it once")
                raise ValueError(self._refusal)
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if codings and [coding.strip().lower() for coding in codings] != [b"chunked"]:
            self._refusal = (400, "invalid_argument", "Transfer-Encoding: send chunked alone, or a Content-Length")
            raise ValueError(self._refusal)
        super().on_headers_complete()
        if self.scope["method"] != "HEAD":  # the head of its answer has no body to wait for
            self.cycle.transport = cast(asyncio.Transport, Joined(self.transport))
            cast(dict[str, Any], self.scope)[WHOLE] = self._answer
        self.headers = _NOWHERE  # trailers are no headers: nobody slips in a key or a length behind a body

    def on_body(self, body: bytes) -> None:
        self._beside_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._began_s = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Notes since when the connection is idle. `_look_at_clock` sees it, so no answer needs a timer of its own."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.flow.resume_reading()
            self._idle_s = self.loop.time()

    def _answer(self, scope: Scope, status: int, headers: Sequence[Header], body: bytes) -> bool:
        """Sends a whole answer in one write, without uvicorn's checks: every byte of it is ours.

        False where that is not possible now: another request came meanwhile, or the client is gone or does not take
        what it was sent before. The answer then goes the usual way.

        The scope is an argument: a function that stood in a request's scope and held that request would be freed only
        when the collector comes by.
        """
        cycle = self.cycle
        if cycle.scope is not scope or self.flow.write_paused or cycle.disconnected:
            return False
        pieces = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            pieces += (name, b": ", value, b"\r\n")
        pieces += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        self.transport.write(b"".join(pieces))
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def _unsupported_upgrade_warning(self) -> None:
        """Writes no line: we speak HTTP/1.1 alone, and a client that offers more is answered in it."""

    # ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────

    def send_400_response(self, msg: str) -> None:
        """Refuses a request that the parser did not take."""
        self._refuse(*self._refusal)

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Sends a refusal and closes; while an earlier request is under way, that one's answer is the last."""
        self._began_s, self._is_refused = None, True
        cycle = self.cycle
        if cycle is None or cycle.response_complete or (cycle.more_body and not cycle.response_started):
            self.transport.write(_refusal_bytes(status, code, message))
            self.transport.close()
        else:
            cycle.keep_alive = False


def _refusal_bytes(status: int, code: str, message: str) -> bytes:
    body: dict[str, Any] = {"success": False, "code": code, "message": message, "details": None}
    text = msgspec.json.encode(body)
    retry = b"retry-after: 1\r\n" if status == 503 else b""
    return b"".join(
        (
            STATUS_LINE[status],
            b"content-type: application/json\r\n",
            retry,
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(text),
            text,
        )
    )
