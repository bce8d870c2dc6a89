"""Clients who save definitions at once, as Terraform does, through two processes of the API: seconds of each save.

Each saver makes definitions of its own, each of which needs something new, so every save asks for a rebuild too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.stack import ANSWER_S, FilledStack
from cli.ports import free_port
from lake.lake import Lake
from lake.schemas import DEFINITIONS

#: A save takes so long at most; and all together make at most so many commits for each save.
SECONDS_MAX, COMMITS_A_SAVE_MAX = 1.0, 1.1
CLIENTS = 10


def measure_saves(stack: FilledStack, home: Path, saves: int) -> dict[str, Any]:
    """The row: seconds of a save of ten clients of two processes, and the commits that all made."""
    lake = Lake(str(home / "lake"))
    with _another_api(stack, home) as other:
        _save(stack.url, stack, "before", 1)
        _save(other, stack, "before", 2)
        stack.settle()
        before = lake.open(DEFINITIONS).version()
        with ThreadPoolExecutor(CLIENTS) as clients:

            def saved(number: int) -> list[float]:
                return [_save((stack.url, other)[number % 2], stack, f"c{number}", save + 1) for save in range(saves)]

            seconds = sorted(second for each in clients.map(saved, range(CLIENTS)) for second in each)
        commits = lake.open(DEFINITIONS).version() - before
    return {
        "processes": 2,
        "clients": CLIENTS,
        "saves": len(seconds),
        "p50_s": round(median(seconds), 2),
        "p99_s": round(seconds[int(0.99 * len(seconds))], 2),
        "greatest_s": round(seconds[-1], 2),
        "commits": commits,
        "budget": f"<= {SECONDS_MAX:g} s each, <= {COMMITS_A_SAVE_MAX:g} commits a save",
        "passed": seconds[-1] <= SECONDS_MAX and commits <= COMMITS_A_SAVE_MAX * len(seconds),
    }


def _save(url: str, stack: FilledStack, name: str, days: int) -> float:
    """Saves a trait that reads events of this name; the seconds that it took."""
    body = {"key": f"{name}_{days}d", "expression": f"events.{name}.count_{days}d"}
    with httpx.Client(base_url=url, headers=stack.bearer("admin"), timeout=ANSWER_S) as http:
        started = time.perf_counter()
        http.post("/v1/admin/traits", json=body).raise_for_status()
        return time.perf_counter() - started


@contextmanager
def _another_api(stack: FilledStack, home: Path) -> Iterator[str]:
    """The address of a second process of the API."""
    port = free_port()
    environment = {
        **os.environ,
        "TINYCDP_HOME": str(home),
        "TINYCDP_LAKE_URI": str(home / "lake"),
        "TINYCDP_REDIS_URL": stack.redis_url,
        "TINYCDP_PORT": str(port),
        "TINYCDP_LOG_LEVEL": "warning",
    }
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "api"], env=environment)
    try:
        while True:
            try:
                httpx.get(f"{url}/decide/health", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.05)  # until it listens; a benchmark stands outside of what tests wait by
        yield url
    finally:
        process.terminate()
        process.wait()
