"""The processes of a running stack: finds them, kills one, and waits until the supervisor has it back."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.running import RunningStack
from tests.waiting import wait_until

#: Redis writes its address over its own command line.
SERVERS = ("redis-server", "valkey-server")


def pid_of(stack: RunningStack, part: str) -> int | None:
    """The pid of a part, a child of the supervisor; None while the part has no process."""
    for child in psutil.Process(stack.stack.pid).children():
        try:
            words = child.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        is_redis = any(Path(word).name.startswith(SERVERS) for word in words[:1])
        if is_redis if part == "redis" else words[-1:] == [part]:
            return child.pid
    return None


def kill(stack: RunningStack, part: str) -> int:
    """Kills the process of a part by SIGKILL and waits until it is gone; returns its pid."""
    pid = wait_until(lambda: pid_of(stack, part), f"{part} runs")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid_of(stack, part) != pid, f"{part} is gone")
    return pid


def health(stack: RunningStack) -> dict[str, Any]:
    """The body of /health; `status` is "error" also while nobody answers."""
    try:
        body: dict[str, Any] = stack.call("GET", "/health", None).json()
    except httpx.TransportError as error:
        return {"status": "error", "checks": {}, "error": str(error)}
    return body


def await_well(stack: RunningStack, part: str, killed: int) -> None:
    """Returns when the supervisor has started the part anew and /health is 200."""
    wait_until(lambda: pid_of(stack, part) not in (None, killed), f"{part} is started again")
    wait_until(lambda: health(stack)["status"] == "ok", "/health is 200 again")


def await_drained(stack: RunningStack) -> None:
    """Returns when everything that was accepted is in the lake."""

    def is_drained() -> bool:
        body = health(stack)
        return body["status"] == "ok" and body["checks"]["drain"]["lag_events"] == 0

    wait_until(is_drained, "the log is drained")
