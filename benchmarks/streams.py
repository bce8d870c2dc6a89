"""A thousand change streams of one API process: the processor and the memory that they take, and how soon they tell.

The process is one of its own beside the stack's, so what it takes is for the streams alone. They are opened over plain
sockets. Each is of another user, with a hundred events, and depends on every flag of the stack.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from benchmarks.stack import ANSWER_S, FLAGS, FilledStack, user_of
from cli.ports import free_port
from serving.settings import Settings

#: The promises: part of a core, and seconds until a change is told, by an event at most in 99 of 100, by a definition
#: to everybody.
CORE_MAX, BY_EVENT_S, BY_DEFINITION_S = 0.10, 1.0, 2.0
#: Users who order in a second while the streams are measured, and the flag that an order changes.
ORDERS_A_SECOND, FLAG = 10, "stream_offer"
#: A look at everybody takes nine seconds, so a measurement takes some of them.
MEASURED_S = 27.0


class Stream:
    """One open stream: when it was told of the states after the first."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.messages = 0
        self.told_s: list[float] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while line := await self.reader.readline():
                if line.startswith(b"data: "):
                    self.messages += 1
                    self.told_s.append(time.perf_counter())


def measure_streams(
    stack: FilledStack, home: Path, streams: int = 1_000, seconds: float = MEASURED_S
) -> dict[str, Any]:
    """The row: percent of a core with nothing to tell and with some orders a second, KB of a stream, and delays."""
    with httpx.Client(base_url=stack.url, headers=stack.bearer("admin"), timeout=ANSWER_S) as http:
        rule = "orders >= 1000"
        http.post("/v1/admin/flags", json={"key": FLAG, "rule": rule}).raise_for_status()
    stack.settle()
    with _api_beside(stack, home) as (url, process):
        figures = asyncio.run(_measured(stack, url, process.pid, streams, seconds))
    return {
        "streams": streams,
        "flags": len(FLAGS) + 2,
        **figures,
        "budget": f"<= {100 * CORE_MAX:g} % of a core, an event's p99 <= {BY_EVENT_S:g} s, a definition's last <= "
        f"{BY_DEFINITION_S:g} s",
        "passed": figures["core_percent"] <= 100 * CORE_MAX
        and figures["by_event_p99_s"] <= BY_EVENT_S
        and figures["by_definition_last_s"] <= BY_DEFINITION_S,
    }


async def _measured(stack: FilledStack, url: str, pid: int, streams: int, seconds: float) -> dict[str, Any]:
    users = [user_of(number) for number in random.Random(2).sample(range(stack.users), streams)]
    limits = httpx.Limits(max_connections=8)
    async with httpx.AsyncClient(base_url=url, headers=stack.bearer("read"), timeout=ANSWER_S, limits=limits) as http:
        paths = await asyncio.gather(*(_path(http, user) for user in users))
        await asyncio.sleep(2)
        idle = await _core(pid, seconds / 3)
        before_kb = _resident_kb(pid)
        opened = [await _open(url, path) for path in paths]
        while not all(stream.messages for stream in opened):
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        after_kb = _resident_kb(pid)
        quiet = await _core(pid, seconds)
        orders = asyncio.create_task(_orders(stack, users, seconds))
        busy = await _core(pid, seconds)
        await orders
        by_event = await _delays_of_events(stack, list(zip(users, opened, strict=True))[:50])
        worked_s = _processor_s(pid)
        by_definition = await _delay_of_definition(stack, opened)
        worked_s = _processor_s(pid) - worked_s
    for stream in opened:
        stream.task.cancel()
        stream.writer.close()
    return {
        "core_percent": round(100 * (quiet - idle), 1),
        f"core_percent with {ORDERS_A_SECOND} events a second": round(100 * (busy - idle), 1),
        "kb_a_stream": round((after_kb - before_kb) / streams, 1),
        "by_event_p50_s": round(by_event[len(by_event) // 2], 3),
        "by_event_p99_s": round(by_event[-1], 3),
        "by_definition_last_s": round(by_definition, 2),
        "by_definition_core_s": round(worked_s, 2),
    }


async def _path(http: httpx.AsyncClient, user: str) -> str:
    answer = await http.post("/v1/decide", json={"userId": user, "stream": True})
    path: str = answer.raise_for_status().json()["stream"]
    return path


async def _open(url: str, path: str) -> Stream:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: api\r\n\r\n".encode())
    return Stream(reader, writer)


async def _orders(stack: FilledStack, users: list[str], seconds: float) -> None:
    """Sends orders of the users, by way of the stack's own process."""
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.bearer("write"), timeout=ANSWER_S) as http:
        for number in range(int(seconds * ORDERS_A_SECOND)):
            body = {"userId": users[number % len(users)], "event": "purchase", "properties": {"amount": 1}}
            (await http.post("/v1/track", json=body)).raise_for_status()
            await asyncio.sleep(1 / ORDERS_A_SECOND)


async def _delays_of_events(stack: FilledStack, listeners: list[tuple[str, Stream]]) -> list[float]:
    """The seconds from the acknowledgement of an event to the message that a flag has changed, in order."""
    delays = []
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.bearer("write"), timeout=ANSWER_S) as http:
        for user, stream in listeners:
            batch = [{"type": "track", "userId": user, "event": "purchase"} for _ in range(1_000)]
            told = len(stream.told_s)
            (await http.post("/v1/batch", json={"batch": batch})).raise_for_status()
            acknowledged_s = time.perf_counter()
            await _until(lambda stream=stream, told=told: len(stream.told_s) > told)
            delays.append(stream.told_s[told] - acknowledged_s)
    return sorted(delays)


async def _delay_of_definition(stack: FilledStack, streams: list[Stream]) -> float:
    """The seconds from the acknowledgement of a changed flag to the last message about it."""
    told = [len(stream.told_s) for stream in streams]
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.bearer("admin"), timeout=ANSWER_S) as http:
        change = {"default": "other", "variants": [{"name": "other", "value": 1}, {"name": "more", "value": 2}]}
        (await http.put(f"/v1/admin/flags/{FLAG}", json=change)).raise_for_status()
    saved_s = time.perf_counter()
    await _until(lambda: all(len(stream.told_s) > count for stream, count in zip(streams, told, strict=True)))
    return max(stream.told_s[count] for stream, count in zip(streams, told, strict=True)) - saved_s


async def _until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


async def _core(pid: int, seconds: float) -> float:
    """The part of a core that a process takes for so long."""
    began_s, before = time.perf_counter(), _processor_s(pid)
    await asyncio.sleep(seconds)
    return (_processor_s(pid) - before) / (time.perf_counter() - began_s)


def _processor_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _resident_kb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1_000


@contextmanager
def _api_beside(stack: FilledStack, home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of an API process of its own, and the process."""
    port = free_port(Settings().host)
    environment = {
        **os.environ,
        "TINYCDP_HOME": str(home),
        "TINYCDP_LAKE_URI": str(home / "lake"),
        "TINYCDP_REDIS_URL": stack.redis_url,
        "TINYCDP_PORT": str(port),
    }
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "api"], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with suppress(httpx.TransportError):
                httpx.get(f"{url}/health", timeout=2)
                break
            time.sleep(0.1)
        yield url, process
    finally:
        process.terminate()
        process.wait()
