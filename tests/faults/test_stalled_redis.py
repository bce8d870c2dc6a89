"""A Redis that stalls: decisions answer their default soon, events get 503 soon, and both go on when it does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from tests.faults.parts import pid_of
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("victim")

#: How long a decision and an event wait for Redis, and after how long a connection is given up.
DECIDE_S, EVENT_S, CONNECTION_S = 1.0, 3.0, 10.0


@contextmanager
def stalled(pid: int) -> Iterator[None]:
    """Stops a process for the block, and lets it go on."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def timed(stack: RunningStack, path: str, **more: object) -> tuple[float, httpx.Response]:
    """How long one answer took in seconds, and the answer."""
    started = time.monotonic()
    kind, method = ("write", "POST") if "json" in more else ("read", "GET")
    answer = stack.call(method, path, kind, **more)  # type: ignore[arg-type]
    return time.monotonic() - started, answer


def longer(pool: ThreadPoolExecutor, stack: RunningStack, path: str, **more: object) -> tuple[float, httpx.Response]:
    """How many seconds longer one answer took than one that needs no Redis, asked at the same moment; and the answer.

    Whatever else the machine does, it does to both.
    """
    beside = pool.submit(lambda: (time.monotonic(), stack.call("GET", "/v1/decide", None), time.monotonic()))
    took_s, answer = timed(stack, path, **more)
    started, refused, ended = beside.result()
    assert refused.status_code == 401
    return took_s - (ended - started), answer


@pytest.mark.deep
@pytest.mark.timeout(120)
def test_a_stalled_redis_holds_nobody_up(victim: RunningStack) -> None:
    """A decision waits a second for Redis, an event three; while Redis stays silent neither waits, also beyond the
    timeout of a connection. What was asked meanwhile disturbs nothing when Redis goes on.

    Each wait is told from the next longer one, and no wait from half of one.
    """
    victim.define("flag", "stalls", "orders >= 0", default=True)
    question = {"params": {"userId": "stalled", "flag": "stalls"}}
    wait_until(lambda: victim.decide("stalled", "stalls")["reason"] != "STALE", "the flag is ready")
    event = {"userId": "stalled", "event": "purchase", "messageId": "stalled-1", "properties": {"amount": 1}}
    batch = {"batch": [{**event, "type": "track", "userId": f"stalled{n}", "messageId": f"s{n}"} for n in range(40)]}
    pid = pid_of(victim, "redis")
    assert pid is not None
    with ThreadPoolExecutor(9) as pool, stalled(pid):
        events = [pool.submit(timed, victim, "/v1/track", json=event) for _ in range(3)]
        events += [pool.submit(timed, victim, "/v1/batch", json=batch)]
        decisions = [pool.submit(timed, victim, "/v1/decide", **question) for _ in range(5)]
        first = [each.result() for each in decisions]
        for took_s, answer in first:
            assert took_s < EVENT_S
            assert (answer.json()["allow"], answer.json()["reason"]) == (True, "ERROR")
        for took_s, answer in [each.result() for each in events]:
            assert took_s < CONNECTION_S
            assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        until_s = time.monotonic() + CONNECTION_S + 2
        while time.monotonic() < until_s:
            for path, wait_s, more in (("/v1/decide", DECIDE_S, question), ("/v1/track", EVENT_S, {"json": event})):
                longer_s, answer = longer(pool, victim, path, **more)
                assert longer_s < wait_s / 2, path
                assert answer.status_code == (200 if path == "/v1/decide" else 503)

    wait_until(lambda: victim.decide("stalled", "stalls")["reason"] != "ERROR", "decisions rest on Redis again", 20)
    assert victim.track("stalled", "purchase", messageId="stalled-1", properties={"amount": 1})["success"]
    assert victim.traits("stalled")["traits"]["orders"] == 1, "resends with a messageId count once"
