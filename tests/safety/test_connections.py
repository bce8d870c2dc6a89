"""What a client can do to a connection: send nothing, send too much, send what can be read in two ways."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from serving.http.connection import Joined
from tests.running import RunningStack
from tests.safety.conftest import CONNECTIONS, REQUEST_S
from tests.safety.raw_requests import answer_to
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

EVENT = b'{"userId":"raw","event":"raw"}'
CHUNKED = b"1e\r\n" + EVENT + b"\r\n0\r\n\r\n"
KILOBYTES = b"x" * 65_536


def head(stack: RunningStack, *lines: bytes) -> bytes:
    """The head of a request that sends an event."""
    key = stack.keys["write"].encode()
    given = (b"POST /v1/track HTTP/1.1", b"Host: api", b"Authorization: Bearer " + key, *lines)
    return b"\r\n".join(given) + b"\r\n\r\n"


def ok(stack: RunningStack) -> bool:
    """Whether the API still takes an event."""
    return stack.call("POST", "/v1/track", "write", json={"userId": "raw", "event": "raw"}).status_code == 200


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ((b"Content-Length: 30", b"Content-Length: 5"), EVENT),
        ((b"Content-Length: 30", b"Host: other"), EVENT),
        ((b"Content-Length: 30", b"authorization: Bearer other"), EVENT),
        ((b"Content-Length: 30", b"X-API-Key: one", b"X-API-Key: other"), EVENT),
        ((b"Content-Length: 30", b"Content-Encoding: identity", b"Content-Encoding: gzip"), EVENT),
        ((b"Content-Length: 30", b"Transfer-Encoding: chunked"), CHUNKED),
        ((b"Transfer-Encoding: chunked", b"Content-Length: 30"), CHUNKED),
        ((b"Transfer-Encoding: xchunked",), CHUNKED),
        ((b"Transfer-Encoding: chunked, identity",), CHUNKED),
        ((b"Transfer-Encoding: gzip, chunked",), CHUNKED),
        ((b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"), CHUNKED),
        ((b"Content-Length: +30",), EVENT),
        ((b"Content-Length: 99999999999999999999999",), EVENT),
        ((b"Content-Length : 30",), EVENT),
        ((b"X: a\r\n b", b"Content-Length: 30"), EVENT),
        ((b"X: a\0b", b"Content-Length: 30"), EVENT),
        ((b"X: a\nContent-Length: 30",), EVENT),
    ],
)
def test_what_two_servers_may_read_differently_is_refused(
    stack: RunningStack, lines: tuple[bytes, ...], body: bytes
) -> None:
    """Two lengths, keys or hosts, a length beside chunks, folded or bare lines: 400, and the connection is closed."""
    answer = answer_to(stack.stack.api_url, [head(stack, *lines) + body])

    assert (answer.status, answer.closed) == (400, True)
    assert answer.json()["code"] == "invalid_argument"


def test_what_follows_a_body_is_no_header(stack: RunningStack) -> None:
    """A key in the trailer of a chunked body is not the request's key."""
    lines = b"POST /v1/track HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n1e\r\n" + EVENT + b"\r\n0\r\n"
    trailer = b"Authorization: Bearer " + stack.keys["write"].encode() + b"\r\n\r\n"

    assert answer_to(stack.stack.api_url, [lines + trailer]).status == 401


def test_a_long_path_and_many_headers_are_refused(stack: RunningStack) -> None:
    """A path and query of more than 16 KiB get 414, and a path of many more slashes than ids have; many headers 431."""
    slashes = b"GET /v1/users/" + b"/%2F" * 140 + b"/traits HTTP/1.1\r\nHost: api\r\n\r\n"
    long = b"GET /v1/decide?userId=" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: api\r\n\r\n"
    many = b"GET /health HTTP/1.1\r\nHost: api\r\n" + b"a: b\r\n" * 100 + b"\r\n"

    assert answer_to(stack.stack.api_url, [long]).status == answer_to(stack.stack.api_url, [slashes]).status == 414
    assert answer_to(stack.stack.api_url, [many]).status == 431


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /",
        b"GET /health HTTP/1.1\r\nX: ",
        b"POST /v1/track HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n5;",
        b"POST /v1/track HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ],
)
def test_a_head_that_never_ends_is_cut_off(stack: RunningStack, begin: bytes) -> None:
    """A path, a header, a chunk's extension or a trailer that does not end is cut off before it has sent 8 MB."""

    def endless() -> Iterator[bytes]:
        yield begin
        for _ in range(512):
            yield KILOBYTES

    assert answer_to(stack.stack.api_url, endless(), timeout_s=5).closed
    assert ok(stack)


@pytest.mark.parametrize("path", [b"/v1/track", b"/v1/batch", b"/v1/decide", b"/v1/admin/traits", b"/no/such/path"])
def test_a_body_that_never_ends_is_cut_off(stack: RunningStack, path: bytes) -> None:
    """A body of chunk after chunk gets 400 once it is too long, without a key and on the paths of admins too."""

    def endless() -> Iterator[bytes]:
        yield b"POST " + path + b" HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n"
        for _ in range(9):
            yield b"10000\r\n" + KILOBYTES + b"\r\n"

    answer = answer_to(stack.stack.api_url, endless())
    assert answer.status in (400, 401, 404)
    assert ok(stack)


def test_a_length_that_is_too_much_is_refused_before_the_body(stack: RunningStack) -> None:
    """A Content-Length of 10 GB is refused before the body is sent."""
    answer = answer_to(stack.stack.api_url, [head(stack, b"Content-Length: 9999999999")])

    assert answer.status == 400
    assert "over" in answer.json()["message"]


def test_a_request_that_does_not_arrive_is_not_waited_for(stack: RunningStack, narrow: str) -> None:
    """A connection is closed with 408 after `TINYCDP_REQUEST_S_MAX`, whatever part of its request is missing."""
    admin = b"POST /v1/admin/traits HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer " + stack.keys["admin"].encode()
    begins = [
        b"",
        b"\r\n",
        b"GET /health HT",
        b"GET /health HTTP/1.1\r\nHost: a",
        b"POST /v1/track HTTP/1.1\r\nHost: api\r\nContent-Length: 30\r\n\r\n{",
        admin + b"\r\nContent-Length: 30\r\n\r\n{",
    ]
    with ThreadPoolExecutor(len(begins)) as pool:
        answers = list(pool.map(lambda begin: answer_to(narrow, [begin]), begins))

    assert [(answer.status, answer.closed) for answer in answers] == [(408, True)] * len(begins)


def test_a_body_that_is_refused_before_it_comes_holds_no_connection(narrow: str) -> None:
    """Without a key the answer does not wait for the body, and the connection does not wait for it for ever."""
    where = urlsplit(narrow)
    with socket.create_connection((where.hostname, where.port or 80), 5 * REQUEST_S) as wire:
        wire.sendall(b"POST /v1/admin/traits HTTP/1.1\r\nHost: api\r\nContent-Length: 30\r\n\r\n{")
        answers = b"".join(iter(lambda: wire.recv(65_536), b""))  # up to the end of the connection

    assert answers.startswith(b"HTTP/1.1 401 ")


def test_so_many_connections_and_no_more(narrow: str) -> None:
    """A connection beyond `TINYCDP_CONNECTIONS_MAX` gets 503 and Retry-After; once others leave, the next is served."""
    where = urlsplit(narrow)
    with ExitStack() as opened:
        for _ in range(CONNECTIONS + 2):
            opened.enter_context(socket.create_connection((where.hostname, where.port or 80)))
        answer = answer_to(narrow, [b""])
        assert (answer.status, answer.headers.get("retry-after")) == (503, "1")
    assert wait_until(
        lambda: answer_to(narrow, [b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"]).status == 200, "served again"
    )


def test_a_client_that_leaves_is_no_error(stack: RunningStack) -> None:
    """A connection that ends in the middle of a body leaves no trace in the log."""
    log = stack.settings.home / "logs" / "api.log"
    before = log.read_bytes().count(b"ClientDisconnect")
    where = urlsplit(stack.stack.api_url)
    for path in (b"/v1/track", b"/v1/admin/traits"):
        with socket.create_connection((where.hostname, where.port or 80)) as wire:
            wire.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")

    assert ok(stack)
    assert log.read_bytes().count(b"ClientDisconnect") == before


def test_nothing_but_http_1_is_spoken(stack: RunningStack) -> None:
    """A request that offers a WebSocket is answered as a plain request."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x"}

    assert httpx.get(f"{stack.stack.api_url}/health", headers=headers).status_code == 200


def test_a_head_is_answered_and_the_connection_goes_on(stack: RunningStack) -> None:
    """A HEAD and an `Expect: 100-continue` are answered at once, without waiting for a body; the connection goes on."""
    where = urlsplit(stack.stack.api_url)
    with socket.create_connection((where.hostname, where.port or 80), 10) as wire, wire.makefile("rb") as lines:
        wire.sendall(b"HEAD /health HTTP/1.1\r\nHost: api\r\n\r\n")
        first = [line for line in iter(lines.readline, b"\r\n")]
        wire.sendall(head(stack, b"Content-Length: 30", b"Expect: 100-continue"))
        second = [line for line in iter(lines.readline, b"\r\n")]
        wire.sendall(EVENT)
        third = [line for line in iter(lines.readline, b"\r\n")]
        length = next(int(line[15:]) for line in third if line.startswith(b"content-length:"))
        body = lines.read(length)

    assert first[0].startswith(b"HTTP/1.1 ")
    assert second == [b"HTTP/1.1 100 Continue\r\n"]
    assert third[0] == b"HTTP/1.1 200 OK\r\n"
    assert msgspec.json.decode(body)["success"] is True


def test_requests_sent_at_once_are_answered_in_their_order(stack: RunningStack) -> None:
    """Requests sent at once are answered in order, and a `Connection: close` of the last closes after its answer."""
    where = urlsplit(stack.stack.api_url)
    batch = b'{"batch":[' + EVENT[:-1] + b',"type":"track"}]}'
    other = head(stack, b"Content-Length: %d" % len(batch)).replace(b"/v1/track", b"/v1/batch") + batch
    last = head(stack, b"Content-Length: 30", b"Connection: close") + EVENT
    with socket.create_connection((where.hostname, where.port or 80), 30) as wire, wire.makefile("rb") as lines:
        wire.sendall(head(stack, b"Content-Length: 30") + EVENT + other + last)
        bodies = []
        for _ in range(3):
            headers = list(iter(lines.readline, b"\r\n"))
            assert headers[0] == b"HTTP/1.1 200 OK\r\n"
            bodies.append(lines.read(next(int(line[15:]) for line in headers if line.startswith(b"content-length:"))))

        assert lines.read() == b""
    assert b"connection: close\r\n" in headers
    assert [b"eventId" in body for body in bodies] == [True, False, True]


@pytest.mark.deep
def test_a_connection_on_which_nothing_more_is_asked_is_closed(stack: RunningStack) -> None:
    """An idle connection is closed some seconds after its last answer, and serves a second request before."""
    where = urlsplit(stack.stack.api_url)
    with socket.create_connection((where.hostname, where.port or 80), 30) as wire, wire.makefile("rb") as lines:
        for _ in range(2):
            wire.sendall(head(stack, b"Content-Length: 30") + EVENT)
            headers = list(iter(lines.readline, b"\r\n"))
            assert headers[0] == b"HTTP/1.1 200 OK\r\n"
            lines.read(next(int(line[15:]) for line in headers if line.startswith(b"content-length:")))

        assert lines.read() == b""


class Written:
    """A transport that remembers what it was given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        self.pieces.append(b"closed")


def test_a_head_goes_out_with_the_first_piece_of_its_body() -> None:
    """Head and first piece go out in one write, later pieces as they come, and closing sends a head that waits."""
    whole, cut = Written(), Written()
    joined, left = Joined(whole), Joined(cut)  # type: ignore[arg-type]

    for piece in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 ", b"more"):
        joined.write(piece)
    joined.close()
    left.write(b"HTTP/1.1 500 \r\n\r\n")
    left.close()

    assert whole.pieces == [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 ", b"more", b"closed"]
    assert cut.pieces == [b"HTTP/1.1 500 \r\n\r\n", b"closed"]
