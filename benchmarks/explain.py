"""Decisions, traits and explanations of others, beside four clients who have dear explanations made all the time.

An explanation of a large record is computed in a process beside the API, so it holds nobody up, but it takes a
processor. Where the machine has few of them the others wait for one: so the same is measured beside a process that
computes and asks nothing of us. What is slower than that would be our own doing.

Run alone the module is those four clients, until it is stopped: `python -m benchmarks.explain URL KEY`.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from statistics import median
from typing import Any

import httpx

from benchmarks.load import measure, request
from benchmarks.stack import ANSWER_S, FilledStack, user_of
from expressions.bases import RawEvent, base_of
from expressions.rules.windows import DAY_MS
from pipelines.publish import publish
from serving.definitions.saving import current
from serving.store import base_codec
from serving.store.scripts.publish import BaseRecord
from serving.store.stamps import Stamp

CLIENTS = 4
#: Recent events of each of the people who are explained: as many as a tail may have, nearly.
EVENTS = 19_000
#: Levels of the flag's rule: nearly as many as a rule may have.
LEVELS = 60
#: Requests a second of those who are measured. The machine must be able to do that and more, or its queue is measured.
PACES = {"decide": 200.0, "traits": 100.0, "explain": 20.0}
RATIO_MAX = 3.0


def measure_explain(stack: FilledStack, seconds: float, rounds: int) -> dict[str, Any]:
    """The row: p99 in ms of each path alone, beside the four clients, and beside a process that only computes."""
    _define(stack)
    paths = _requests(stack)
    p99_ms: dict[str, dict[str, list[float]]] = {name: {"quiet": [], "beside": [], "computing": []} for name in paths}
    stack.settle()
    _fill(stack)  # after the last rebuild, which would drop what is in no lake

    def note(situation: str) -> None:
        for name, requests in paths.items():
            measure(stack.url, requests, 4, 1.0, per_second=PACES[name])  # a process that is needed is started once
            load = measure(stack.url, requests, 4, seconds, per_second=PACES[name])
            p99_ms[name][situation].append(load.p99_ms)

    for _ in range(rounds):
        note("quiet")
        with _running("-m", "benchmarks.explain", stack.url, stack.keys["read"]):
            note("beside")
        with _running("-c", "while True: pass"):
            note("computing")
    row: dict[str, Any] = {"clients": CLIENTS, "events of each": EVENTS, "levels of the rule": LEVELS}
    ratios = []
    for name, found in p99_ms.items():
        quiet, beside, computing = (median(found[situation]) for situation in ("quiet", "beside", "computing"))
        ratios.append(beside / quiet)
        row |= {
            f"{name}_quiet_p99_ms": round(quiet, 2),
            f"{name}_beside_p99_ms": round(beside, 2),
            f"{name}_p99_ratio": round(beside / quiet, 2),
            f"{name}_beside a computing process_p99_ms": round(computing, 2),
        }
    return row | {"budget": f"each p99_ratio <= {RATIO_MAX:g}", "passed": max(ratios) <= RATIO_MAX}


def heavy(number: int) -> str:
    """The id of one of the people whom the four clients ask about."""
    return f"heavy-{number}"


def _define(stack: FilledStack) -> None:
    rule = "events.purchase.amount.p95 >= 0"
    for level in range(LEVELS // 2):
        rule = f'(events.purchase.count >= {level} && (trait("spent") < -{level + 1} || {rule}))'
    with httpx.Client(base_url=stack.url, headers=stack.bearer("admin"), timeout=ANSWER_S) as http:
        http.post("/v1/admin/flags", json={"key": "deep", "rule": rule}).raise_for_status()


def _fill(stack: FilledStack) -> None:
    """Publishes a base of so many raw events for each of the people who are explained."""
    chance, now_ms = random.Random(2), stack.store.now_ms()
    stamp = Stamp(1, stack.store.next_build(), 0, now_ms, current(stack.store).projection_version)
    records = [
        BaseRecord(
            f"user:{heavy(number)}",
            base_codec.encode(
                base_of(
                    [
                        RawEvent("track", "purchase", now_ms - chance.randrange(30 * DAY_MS), {"amount": event / 100})
                        for event in range(EVENTS)
                    ]
                )
            ),
        )
        for number in range(CLIENTS)
    ]
    publish(stack.store, iter(records), {shard: stamp for shard in range(stack.store.shards)})


def _requests(stack: FilledStack) -> dict[str, Iterator[bytes]]:
    """By path: what is asked about users with a hundred events each."""
    users = [user_of(number) for number in range(min(stack.users, 5_000))]
    read, admin = stack.keys["read"], stack.keys["admin"]
    asked = {
        "decide": [request("GET", f"/v1/decide?userId={user}&flag=offer", read) for user in users],
        "traits": [request("GET", f"/v1/users/{user}/traits", admin) for user in users],
        "explain": [request("GET", f"/v1/decide?userId={user}&flag=offer&explain=true", read) for user in users],
    }
    return {name: cycle(requests) for name, requests in asked.items()}


@contextmanager
def _running(*arguments: str) -> Iterator[None]:
    """Runs Python with these arguments until the block ends."""
    process = subprocess.Popen([sys.executable, *arguments])
    try:
        time.sleep(2.0)  # it imports, and its first questions are under way
        yield
        assert process.poll() is None, "it ran all the while"
    finally:
        process.terminate()
        process.wait()


def main(arguments: Sequence[str]) -> None:
    """Asks for explanations from as many threads as there are clients, each of its own person, until it is stopped."""
    url, key = arguments

    def ask(number: int) -> None:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=ANSWER_S) as http:
            while True:
                answer = http.get("/v1/decide", params={"userId": heavy(number), "flag": "deep", "explain": "true"})
                if answer.status_code not in (200, 503):  # 503: others are told that there is a crowd
                    raise RuntimeError(answer.text)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    while all(thread.is_alive() for thread in threads):
        time.sleep(0.1)
    raise SystemExit("a client ended")


if __name__ == "__main__":
    main(sys.argv[1:])
