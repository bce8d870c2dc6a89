"""decide, track and batch over HTTP, each against its floor under the same server.

The floors are apps and pipelines that do one Redis command for each request of ours. A row is what `paired` gives.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from statistics import median
from typing import Any

import hiredis
import httpx
import msgspec

from benchmarks.load import Load, measure, request
from benchmarks.pairs import paired
from benchmarks.stack import ANSWER_S, EVENTS_AT_ONCE, EVENTS_MADE, FLAGS, FilledStack, purchase, user_of


def warm_up(stack: FilledStack, seconds: float) -> None:
    """Asks once for each user, so that the API keeps as many decoded bases as it ever does."""
    users = map(user_of, range(stack.users))
    requests = cycle([request("GET", f"/v1/decide?userId={user}&flag=offer", stack.keys["read"]) for user in users])
    answers = 0
    while answers < stack.users:
        answers += measure(stack.url, requests, 32, seconds).answers


def measure_decide(stack: FilledStack, connections: int, seconds: float, rounds: int) -> dict[str, Any]:
    """One flag over three aggregates, against one GET of a value of the same size. The users are random."""
    users = stack.random_users()
    ours = cycle([request("GET", f"/v1/decide?userId={user}&flag=offer", stack.keys["read"]) for user in users])
    floor = cycle([request("GET", f"/?floor:{user}", "x") for user in users])
    return paired(
        lambda: measure(stack.floor_url, floor, connections, seconds),
        lambda: measure(stack.url, ours, connections, seconds),
        rounds,
    )


def measure_ofrep(stack: FilledStack, connections: int, seconds: float, rounds: int) -> dict[str, Any]:
    """One flag by OFREP, against the same flag in our own words: what providers pay for asking in a common language."""
    users = stack.random_users()
    floor = cycle([request("GET", f"/v1/decide?userId={user}&flag=offer", stack.keys["read"]) for user in users])
    bodies = [msgspec.json.encode({"context": {"targetingKey": user}}) for user in users]
    ours = cycle([request("POST", "/ofrep/v1/evaluate/flags/offer", stack.keys["read"], body) for body in bodies])
    return paired(
        lambda: measure(stack.url, floor, connections, seconds),
        lambda: measure(stack.url, ours, connections, seconds),
        rounds,
    )


def measure_bulk(stack: FilledStack, connections: int, seconds: float, rounds: int) -> dict[str, Any]:
    """50 flags a request, against one GET of a value of the same size; decisions a second against GETs."""
    users = stack.random_users()
    bodies = [msgspec.json.encode({"userId": user, "flags": list(FLAGS)}) for user in users]
    requests = cycle([request("POST", "/v1/decide", stack.keys["read"], body) for body in bodies])
    floor = cycle([request("GET", f"/?floor:{user}", "x") for user in users])

    def ours() -> Load:
        load = measure(stack.url, requests, connections, seconds)
        return Load(len(FLAGS) * load.per_second, load.p50_ms, load.p99_ms)

    return paired(lambda: measure(stack.floor_url, floor, connections, seconds), ours, rounds)


def measure_track(stack: FilledStack, connections: int, seconds: float, rounds: int) -> dict[str, Any]:
    """One event a request, synced, against one XADD of the same bytes."""
    bodies = [purchase(number, stack.users) for number in range(20_000)]
    ours = cycle([request("POST", "/v1/track", stack.keys["write"], body) for body in bodies])
    floor = cycle([request("POST", "/", "x", body) for body in bodies])
    return paired(
        lambda: measure(stack.floor_url, floor, connections, seconds),
        lambda: measure(stack.url, ours, connections, seconds),
        rounds,
    )


def measure_batch(stack: FilledStack, connections: int, seconds: float, rounds: int) -> dict[str, Any]:
    """100 events a request, the drain running, against pipelines of 100 XADD of the same bytes; events a second.

    The floor is the same client over as many connections, straight to Redis, with commands packed beforehand.
    """
    events = [purchase(number, stack.users, fill=220) for number in range(EVENTS_MADE)]
    requests = stack.batches(0)
    pipelines = cycle(
        b"".join(
            hiredis.pack_command(("XADD", "floor", "MAXLEN", "~", 100_000, "*", "e", event))  # type: ignore[arg-type]
            for event in events[start : start + EVENTS_AT_ONCE]
        )
        for start in range(0, EVENTS_MADE, EVENTS_AT_ONCE)
    )

    def floor() -> Load:
        load = measure(stack.redis_url, pipelines, connections, seconds, commands=EVENTS_AT_ONCE)
        return Load(EVENTS_AT_ONCE * load.per_second, load.p50_ms, load.p99_ms)

    def ours() -> Load:
        load = measure(stack.url, requests, connections, seconds)
        return Load(EVENTS_AT_ONCE * load.per_second, load.p50_ms, load.p99_ms)

    return paired(floor, ours, rounds)


def count_unseen(stack: FilledStack, events: int) -> dict[str, Any]:
    """Sends and reads in turn. An event is unseen when a read after its acknowledgement lacks it (budget: none)."""
    unseen = 0
    with httpx.Client(base_url=stack.url, timeout=ANSWER_S) as http:
        for number in range(1, events + 1):
            body = {"userId": "visible", "event": "purchase", "properties": {"amount": 1}}
            http.post("/v1/track", headers=stack.bearer("write"), json=body).raise_for_status()
            answer = http.get("/v1/users/visible/traits", headers=stack.bearer("admin")).json()
            unseen += answer["traits"]["orders"] != number
    return {"events": events, "unseen": unseen, "budget": "0", "passed": unseen == 0}


def measure_flatness(stack: FilledStack, seconds: float) -> dict[str, Any]:
    """Batches for ids with a history against ids without one, and with a hundred definitions more against without.

    Each is measured right after a rebuild, of users who had no event since the stack was filled. Else each would have
    what the one before it left in Redis.
    """

    def per_second(first: int) -> float:
        requests = stack.batches(first)
        stack.settle()
        stack.store.want_rebuild()
        stack.settle()
        return median(EVENTS_AT_ONCE * measure(stack.url, requests, 8, seconds).per_second for _ in range(3))

    half = stack.users // 2
    known = per_second(half)
    users, stack.users = stack.users, 2 * stack.users
    fresh = per_second(users)
    stack.users = users
    with httpx.Client(base_url=stack.url, headers=stack.bearer("admin"), timeout=ANSWER_S) as http:
        for days in range(1, 101):
            trait = {"key": f"more_{days}", "expression": f"events.purchase.amount.sum_{days}d"}
            http.post("/v1/admin/traits", json=trait).raise_for_status()
    many = per_second(half + EVENTS_MADE if half > 2 * EVENTS_MADE else half)
    by_history, by_definitions = round(known / fresh, 2), round(many / known, 2)
    return {
        "events_per_second": round(known),
        "of ids without history": round(fresh),
        "with 100 more definitions": round(many),
        "ratio by history": by_history,
        "ratio by definitions": by_definitions,
        "budget": "both >= 0.8",
        "passed": by_history >= 0.8 and by_definitions >= 0.8,
    }


def measure_beside_rebuild(stack: FilledStack, events: int, seconds: float, rounds: int) -> dict[str, Any]:
    """1,000 decisions a second while rebuilds never pause, against the same without rebuilds.

    The rebuilds are of at least so many events. Meanwhile events come at 80 % of the rate that can be taken. `alone` is
    measured when nothing else is at work.
    """
    brought, batches_per_second = 0, 0.0
    while brought < events:
        load = measure(stack.url, stack.batches(brought), 8, seconds)
        brought, batches_per_second = brought + EVENTS_AT_ONCE * load.answers, load.per_second
    batches_per_second *= 0.8
    users = [user_of(number % stack.users) for number in range(20_000)]
    requests = cycle([request("GET", f"/v1/decide?userId={user}&flag=offer", stack.keys["read"]) for user in users])

    def decisions() -> Load:
        return measure(stack.url, requests, 8, seconds, per_second=1_000)

    stack.settle()
    alone, quiet, beside = decisions(), [], []
    with _steady_load(stack, batches_per_second):
        for _ in range(rounds):
            quiet.append(decisions())
            with _rebuilding(stack):
                beside.append(decisions())
    quiet_p99_ms, p99_ms = (median(load.p99_ms for load in loads) for loads in (quiet, beside))
    return {
        "events": brought,
        "events_per_second": round(EVENTS_AT_ONCE * batches_per_second),
        "per_second": round(median(load.per_second for load in beside)),
        "p50_ms": round(median(load.p50_ms for load in beside), 2),
        "p99_ms": round(p99_ms, 2),
        "without rebuilds_p50_ms": round(median(load.p50_ms for load in quiet), 2),
        "without rebuilds_p99_ms": round(quiet_p99_ms, 2),
        "alone_p99_ms": round(alone.p99_ms, 2),
        "p99_ratio": round(p99_ms / quiet_p99_ms, 2),
        "budget": "p99 <= 2 x that without rebuilds",
        "passed": p99_ms <= 2 * quiet_p99_ms,
    }


@contextmanager
def _steady_load(stack: FilledStack, batches_per_second: float) -> Iterator[None]:
    """Sends so many batches a second, from a process of its own, until the block ends."""
    command = [sys.executable, "-m", "benchmarks.steady_load", stack.url, stack.keys["write"]]
    process = subprocess.Popen([*command, str(batches_per_second), str(stack.users)])
    try:
        yield
    finally:
        assert process.poll() is None, "events were sent all the while"
        process.terminate()
        process.wait()


@contextmanager
def _rebuilding(stack: FilledStack) -> Iterator[None]:
    """Asks for the next rebuild whenever one is done, until the block ends."""
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            number = stack.store.want_rebuild()
            while stack.store.rebuild_requests().done < number and not is_over.wait(0.05):
                pass

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
