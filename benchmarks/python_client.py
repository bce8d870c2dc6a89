"""The Python client beside published ones: what `track` costs its caller, how many events arrive, what the end takes.

Each measurement has a process of its own, and the clients take turns. TinyCDP and Segment send to the same stack, which
counts what arrived. So does the floor, which is no client: it sends requests that were made before, as many at once.
That is what the stack alone takes in. All three clients, PostHog too, also send to a server that acknowledges whatever
it gets.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from benchmarks.stack import FilledStack
from cli.ports import free_port

#: Events that one measurement tracks.
EVENTS = 10_000
PROPERTIES = {"amount": 30.5, "currency": "EUR", "items": 3, "coupon": None, "channel": "web"}
#: What must be kept: microseconds of the processor for a `track`; how much faster than the better of the others, or
#: what part of the floor, where the stack itself takes no more.
TRACK_US_MAX, RATIO_MIN, FLOOR_RATIO_MIN = 20.0, 3.0, 0.75
#: The floor's requests are as large as the client's, and as many are under way.
FLOOR_BATCH, FLOOR_CONNECTIONS = 500, 2


def measure_python_client(stack: FilledStack, events: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Figures by name of row: of tracking as fast as can be to the stack, and of closing with all events queued."""

    def arrived() -> int:
        return sum(state.seq for state in stack.store.shard_states())

    to_stack = _medians(("tinycdp", "segment", "floor"), stack.url, stack.keys["write"], events, rounds, arrived)
    with acknowledging() as url:
        queued = _medians(("tinycdp", "segment", "posthog"), url, "key", events, rounds, None)
    return {
        "python client, events that arrived at a stack": _row(to_stack, "arrived_per_second", events, rounds),
        "python client, closed with all events queued": _row(queued, "close_s", events, rounds),
    }


def _medians(
    clients: tuple[str, ...], url: str, key: str, events: int, rounds: int, arrived: Callable[[], int] | None
) -> dict[str, dict[str, float]]:
    """The figures of each client. Without a count of what arrived the server has a gate, and the end is measured."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in clients}
    for _ in range(rounds):
        for name in clients:
            before = arrived() if arrived else 0
            track_us, took_s = _figures(name, url, key, events, has_gate=arrived is None)
            speed = {"arrived_per_second": (arrived() - before) / took_s} if arrived else {"close_s": took_s}
            figures[name].append({"track_us": track_us, **speed})
    return {
        name: {what: statistics.median(one[what] for one in found) for what in found[0]}
        for name, found in figures.items()
    }


def _row(medians: dict[str, dict[str, float]], compared: str, events: int, rounds: int) -> dict[str, Any]:
    ours, *others = (figures for name, figures in medians.items() if name != "floor")
    best = max(other[compared] for other in others) if compared != "close_s" else min(o[compared] for o in others)
    ratio = best / ours[compared] if compared == "close_s" else ours[compared] / best
    figures = {
        f"{name}_{what}": round(value, 2 if what == "close_s" else 1 if what == "track_us" else None)
        for name, found in medians.items()
        for what, value in found.items()
        if (name, what) != ("floor", "track_us")
    }
    ratios, is_fast, budget = {"ratio": round(ratio, 2)}, ratio >= RATIO_MIN, f"ratio >= {RATIO_MIN:g}"
    if "floor" in medians:
        floor_ratio = ours[compared] / medians["floor"][compared]
        ratios["floor_ratio"] = round(floor_ratio, 2)
        is_fast = is_fast or floor_ratio >= FLOOR_RATIO_MIN
        budget += f" or floor_ratio >= {FLOOR_RATIO_MIN:g}"
    is_kept = is_fast and ours["track_us"] <= TRACK_US_MAX
    budget += f", track <= {TRACK_US_MAX:g} µs"
    return {
        **figures,
        **ratios,
        "events": events,
        "rounds": rounds,
        "budget": budget,
        "passed": is_kept,
    }


def _figures(name: str, url: str, key: str, events: int, *, has_gate: bool) -> tuple[float, float]:
    """Microseconds of a `track`, and seconds of the whole, or of the end alone."""
    command = [sys.executable, "-m", "benchmarks.python_client", name, url, key, str(events)]
    done = subprocess.run([*command, *(["gate"] if has_gate else [])], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return found["track_us"], found["seconds"]


@contextmanager
def acknowledging() -> Iterator[str]:
    """The address of a server that reads every request and says yes, in the words of all three."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "error", "benchmarks.python_client:yes"]
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while not _answers(url):
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).status_code == 200
    except httpx.TransportError:
        return False


_gate = asyncio.Event()
_gate.set()


async def yes(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """The server, as ASGI. Between `/hold` and `/release` it answers no batch."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/hold":
        _gate.clear()
    elif scope["path"] == "/release":
        _gate.set()
    else:
        await _gate.wait()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"success": true, "status": 1}'})


# ── in a process of its own ──────────────────────────────────────────────────────────────────────────────────────────


def client_of(name: str, url: str, key: str, events: int) -> tuple[Callable[[str], object], Callable[[], object]]:
    """A function that tracks an event of a user, and one that sends all and ends the client. Only queues are larger."""
    if name == "tinycdp":
        import tinycdp

        ours = tinycdp.Client(url, key, queue_max=2 * events)
        return lambda user: ours.track(user, "purchase", PROPERTIES), lambda: ours.close(300)
    if name == "floor":
        return lambda user: None, floor(url, key, events)
    if name == "segment":
        from segment.analytics.client import Client

        theirs = Client(key, host=url, max_queue_size=2 * events)
        return lambda user: theirs.track(user, "purchase", PROPERTIES), theirs.shutdown
    from posthog import Posthog

    hog = Posthog(key, host=url, max_queue_size=2 * events)
    return lambda user: hog.capture("purchase", distinct_id=user, properties=PROPERTIES), hog.shutdown


def floor(url: str, key: str, events: int) -> Callable[[], None]:
    """Sends so many events of the client's bytes, when it is called; they are made before."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    made = [
        {
            "type": "track",
            "messageId": str(uuid4()),
            "event": "purchase",
            "properties": PROPERTIES,
            "userId": f"bench-{number % 1_000}",
            "timestamp": now,
        }
        for number in range(events)
    ]
    parts = [made[at : at + FLOOR_BATCH] for at in range(0, events, FLOOR_BATCH)]
    bodies = [json.dumps({"batch": part, "sentAt": now}, separators=(",", ":")).encode() for part in parts]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def send(some: list[bytes]) -> None:
        connection = HTTPConnection(urlsplit(url).netloc)
        for body in some:
            connection.request("POST", "/v1/batch", body, headers)
            assert connection.getresponse().read()
        connection.close()

    def send_all() -> None:
        shares = (bodies[at::FLOOR_CONNECTIONS] for at in range(FLOOR_CONNECTIONS))
        threads = [threading.Thread(target=send, args=(share,)) for share in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return send_all


def main() -> None:
    """Tracks so many events as fast as it can, ends the client, and prints what that took.

    With a gate the server answers nothing before the end of the client, so all events are queued then.
    """
    name, url, key, events, has_gate = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), len(sys.argv) > 5
    track, close = client_of(name, url, key, events)
    users = [f"bench-{number % 1_000}" for number in range(events)]
    if has_gate:
        httpx.get(f"{url}/hold")
    began_s, began_cpu_s = time.perf_counter(), time.thread_time()
    for user in users:
        track(user)
    tracked_s, tracked_cpu_s = time.perf_counter(), time.thread_time()
    if has_gate:
        httpx.get(f"{url}/release")
        tracked_s = time.perf_counter()
    close()
    ended_s = time.perf_counter()
    track_us = 1e6 * (tracked_cpu_s - began_cpu_s) / events
    took_s = ended_s - (tracked_s if has_gate else began_s)
    print(json.dumps({"track_us": track_us, "seconds": took_s}))


if __name__ == "__main__":
    main()
