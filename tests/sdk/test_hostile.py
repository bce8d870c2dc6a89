"""What an attacker or an accident does to a client: hostile values, answers and moments. Nothing raises or hangs."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

import numpy
import pytest
import tinycdp
from tinycdp import _spool
from tinycdp._answers import verdict, wait_s

from tests.sdk.scripted_server import Answer, scripted_server, stored
from tests.sdk.test_outbox import due, entries, outbox
from tests.waiting import wait_until

NOBODY = "http://127.0.0.1:9"


class Mute:
    """Fails wherever it is turned into text."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class Endless:
    """An array that holds itself."""

    def tolist(self) -> list[Any]:
        return [self]


class Grudging(dict[str, Any]):
    """Says neither whether it is empty nor what it holds."""

    def __bool__(self) -> bool:
        raise RuntimeError

    def items(self) -> Any:
        raise RuntimeError


class Broken(Mapping[str, Any]):
    """Has keys and no values."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError

    def __iter__(self) -> Iterator[str]:
        return iter("a")

    def __len__(self) -> int:
        raise RuntimeError


class Nowhere(tzinfo):
    """A time zone that fails."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        raise RuntimeError


DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]

HOSTILE = {
    "mute": Mute(),
    "endless": Endless(),
    "grudging": Grudging(a=1),
    "broken": Broken(),
    "deep": DEEP,
    "digits": 10**5_000,
    "first instant": datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    "last instant": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
    "nowhere": datetime(2026, 1, 1, tzinfo=Nowhere()),
    "bytes": b"\xff",
    "nan": math.nan,
    "generator": (number for number in range(3)),
    "array": numpy.array([1, 2]),
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_value_at_any_place_raises(new_client: Callable[..., Any], value: Any) -> None:
    """Events are queued or refused with a reason, and each is counted; decisions are the default."""
    client = new_client(NOBODY, "w", "r", on_error=lambda failure: None)
    handles = [
        client.track("ada", "bought", {"value": value}),
        client.track("ada", "bought", value),
        client.track(value, value),
        client.track("ada", "bought", message_id=value),
        client.track("ada", "bought", timestamp=value),
        client.track("ada", "bought", context=value),
        client.track(None, "bought", anonymous_id=value),
        client.identify("ada", value),
        client.page("ada", value, category=value),
        client.group("ada", value),
        client.alias(value, value),
    ]

    assert {handle.state for handle in handles} <= {"queued", "refused"}
    assert all(handle.reason for handle in handles if handle.state == "refused")
    stats = client.stats()
    assert stats.queued + stats.refused.total() == len(handles)
    decisions = [
        client.decide(value, "f", "default"),
        client.decide("ada", value, "default"),
        client.decide("ada", "f", "default", timeout=value),
    ]
    assert {decision.value for decision in decisions} == {"default"}
    assert client.decide("ada", "f", value).reason == "ERROR"
    assert client.decide_all(value) == {}


@pytest.mark.parametrize("given", [7, 1.5, b"2026", object()], ids=lambda value: type(value).__name__)
def test_a_time_that_is_none_is_said_to_be_that(new_client: Callable[..., Any], given: Any) -> None:
    """The reason names the field and the remedy."""
    handle = new_client(NOBODY, "w").track("ada", "bought", timestamp=given)

    assert handle.reason == (
        f"timestamp: {type(given).__name__} is no time; give a datetime, or a text as ISO 8601 has it"
    )


def test_before_send_changes_nothing_of_the_apps(new_client: Callable[..., Any]) -> None:
    """What it takes out of the event stays in the app's own properties, and in the context of other events."""

    def without(event: dict[str, Any]) -> dict[str, Any]:
        event["properties"].pop("card")
        event["context"].clear()
        return event

    properties, context = {"card": "4111"}, {"app": "shop"}
    with scripted_server() as server:
        client = new_client(server.url, "w", before_send=without, context=context)
        client.track("ada", "paid", properties)
        client.track("ada", "paid", properties)
        assert client.flush().sent == 2

        assert [event["properties"] for batch in server.batches() for event in batch] == [{}, {}]
    assert (properties, context) == ({"card": "4111"}, {"app": "shop"})


def test_a_server_that_asks_to_be_hammered_is_not() -> None:
    """Retry-After: 0 is honoured three times in a row; then there is half a second between the attempts."""
    box, now_s, made = outbox(), 1.0, 0
    box.put(entries(1)[0])
    while now_s < 11:
        box.settle(due(box, now_s), verdict(503, "0", b""), now_s)
        made += 1
        wake_s = box.wake_s(now_s)
        assert wake_s is not None
        now_s = wake_s

    assert made == 3 + 10 / 0.5
    assert wait_s(4, 300.0, box._random) == 300


def test_reasons_without_an_end_cost_no_memory() -> None:
    """Whatever codes a server invents, so many are counted by name and the rest together; texts are cut."""
    box = outbox(queue_max=1_000, flush_at=200)
    for entry in entries(200):
        box.put(entry)
    rejected = [{"index": n, "code": f"code {n}\n" + "x" * 10_000, "message": "y" * 10_000} for n in range(200)]
    answer = {"success": True, "rejected": rejected, "warnings": ["z" * 10_000] * 1_000}

    found = verdict(200, None, json.dumps(answer).encode())
    settled = box.settle(due(box, 0), found, 0)

    assert (len(box.stats.refused), box.stats.refused["other"], box.stats.refused.total()) == (51, 150, 200)
    assert max(map(len, [*box.stats.refused, *(entry.reason for entry in settled), *found.warnings])) == 300
    assert len(found.warnings) == 10
    assert not any("\n" in reason for reason in box.stats.refused)


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {}, b'{"message": "unknown key"}'), "wait until key or address is mended: 401 unknown key"),
        ((302, {"Location": "/elsewhere"}, b""), "302, a redirect; give the address that it leads to as url"),
        ((405, {}, b""), "wait until key or address is mended: 405"),
        ((503, {"Retry-After": "0"}, b"{}"), "are not acknowledged, and sent again: 503"),
        ((200, {}, b"<html>"), "are not acknowledged, and sent again: answer is not TinyCDP's"),
    ],
    ids=["key", "redirect", "method", "outage", "login page"],
)
def test_events_that_do_not_go_out_are_said_once_and_kept(
    new_client: Callable[..., Any], caplog: pytest.LogCaptureFixture, answer: Answer, said: str
) -> None:
    """One warning for each outage, however long, and none of them is lost; once it is over all arrive."""
    caplog.set_level("INFO", "tinycdp")
    with scripted_server(lambda _: answer) as server:
        client = new_client(server.url, "w", flush_interval_s=0)
        client.track("ada", "bought")
        wait_until(lambda: client.flush(0.1).queued and "events" in caplog.text, "the warning")
        client.flush(1.0)
        server.answer = stored

        assert client.flush(60).sent == 1
    wait_until(lambda: caplog.records[-1].getMessage() == "events are acknowledged again", "the end is said, too")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert said in warnings[0]


def test_a_full_queue_does_not_flood_the_log(new_client: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """The first loss is said at once, the others together at the end: the log has the whole number."""
    client = new_client(NOBODY, "w", queue_max=10, flush_interval_s=3600)
    for _ in range(1_000):
        client.track("ada", "bought")
    client.close(0)

    lines = [record.getMessage() for record in caplog.records if "do not arrive" in record.getMessage()]
    assert [int(line.split()[0]) for line in lines] == [1, 999]


@pytest.mark.deep(kept=6)
@pytest.mark.parametrize(
    "said",
    [
        b"garbage\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + b'{"success": tru\xff}',
        b"HTTP/1.1 503 No\r\nRetry-After: 1e999\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 500 No\r\nConnection: close\r\n\r\n{"message":' + b"[" * 900 + b"]" * 900 + b"}",
        b"",
    ],
    ids=["no http", "version", "cut", "gzip", "length", "large head", "utf-8", "retry-after", "deep", "silence"],
)
def test_whatever_a_server_answers_no_event_is_lost(
    new_client: Callable[..., Any], said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The event may count or not, so it is sent again with its message id, and arrives when the server is well."""
    ids: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer, peer.makefile("rb") as lines:
                    while (line := lines.readline()).strip():
                        length = int(line.partition(b":")[2]) if line.lower().startswith(b"content-length") else 0
                        if length:
                            size = length
                    ids.extend(event["messageId"] for event in json.loads(lines.read(size))["batch"])
                    good = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"success": true}'
                    with suppress(OSError):
                        peer.sendall(said if len(ids) == 1 else good)

        threading.Thread(target=serve, daemon=True).start()
        client = new_client(f"http://127.0.0.1:{listener.getsockname()[1]}", "w", timeout_s=2)
        event = client.track("ada", "bought")
        assert client.close(30).sent == 1
        listener.shutdown(socket.SHUT_RDWR)
    assert ids == [event.message_id] * 2
    assert "unforeseen" not in caplog.text


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """The address of a server that answers a byte each twentieth of a second, and never ends its answer."""
    ends = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(peer: socket.socket) -> None:
            with peer:
                peer.recv(65_536)
                at = 0
                while not ends.wait(0.05):
                    try:
                        peer.sendall(head[at : at + 1] or b"x")
                    except OSError:
                        return
                    at += 1

        def accept() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(peer,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ends.set()
            listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nx-", b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n"])
def test_an_answer_that_drips_holds_nobody(new_client: Callable[..., Any], head: bytes) -> None:
    """Each byte comes in time and the whole never does, in the headers or in the body: the time for it ends."""
    with dripping(head) as url:
        client = new_client(url, "w", "r", timeout_s=1)
        began_s = time.monotonic()
        event = client.track("ada", "bought")

        assert client.decide("ada", "f", "default", timeout=0.5).value == "default"
        assert client.close(1.5).unknown["closed"] == 1
        assert event.state == "unknown"
        assert time.monotonic() - began_s < 30


def test_a_signal_in_the_midst_of_a_call_may_track_and_close() -> None:
    """Handlers that interrupt `track` in its own thread, many times, block nothing and lose nothing."""
    program = """
import signal, sys, tinycdp
client = tinycdp.Client(sys.argv[1], "w", queue_max=10**6, flush_interval_s=3600)
inside = 0
def track(*_):
    global inside
    inside += 1
    client.track("ada", "inside")
signal.signal(signal.SIGALRM, track)
signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
for number in range(20_000):
    client.track("ada", "outside")
signal.setitimer(signal.ITIMER_REAL, 0)
stats = client.close(60)
print(inside, stats.sent - 20_000)
"""
    with scripted_server() as server:
        done = subprocess.run([sys.executable, "-c", program, server.url], capture_output=True, text=True, timeout=100)
        inside, sent = done.stdout.split()
        assert int(inside) == int(sent) > 10
        names = [event["event"] for batch in server.batches() for event in batch]
        assert names.count("inside") == int(inside)


@pytest.mark.parametrize("timeout", [float("inf"), None])
def test_flush_without_a_bound_waits_for_the_end(new_client: Callable[..., Any], timeout: float | None) -> None:
    """Whoever wants to wait for ever may say so."""
    with scripted_server() as server:
        client = new_client(server.url, "w")
        client.track("ada", "bought")

        assert client.flush(timeout).sent == 1


def test_where_files_cannot_be_locked_a_disk_queue_is_a_wrong_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: the error comes where the client is made, with or without a key, and names value and remedy."""
    monkeypatch.setattr(_spool, "fcntl", None)

    for key in ("w", None):
        for kind in (tinycdp.Client, tinycdp.AsyncClient):
            with pytest.raises(
                tinycdp.ConfigurationError, match=r"queue_dir: '.*' is not accepted on .*; leave queue_"
            ):
                kind(NOBODY, key, queue_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("head", ["HTTP/1.0 200 OK", "HTTP/1.1 200 OK"])
def test_a_server_that_closes_each_connection_loses_nothing(new_client: Callable[..., Any], head: str) -> None:
    """HTTP/1.0, and HTTP/1.1 whose body ends with the connection: each event arrives once."""
    got: list[str] = []
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer, peer.makefile("rb") as lines:
                    length = 0
                    while (line := lines.readline()).strip():
                        name, _, value = line.partition(b":")
                        length = int(value) if name.lower() == b"content-length" else length
                    got.extend(event["messageId"] for event in json.loads(lines.read(length))["batch"])
                    peer.sendall(f"{head}\r\nConnection: close\r\n\r\n".encode() + b'{"success": true}')

        threading.Thread(target=serve, daemon=True).start()
        client = new_client(f"http://[::1]:{listener.getsockname()[1]}", "w", flush_at=1)
        made = [client.track("ada", "bought", timestamp=datetime.now(UTC)).message_id for _ in range(20)]
        assert client.close(30).sent == 20
        listener.shutdown(socket.SHUT_RDWR)
    assert sorted(got) == sorted(made)
