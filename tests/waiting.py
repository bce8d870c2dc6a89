"""Waiting for what another thread or process does, without a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: The first pause, and what pauses grow to: to ask costs both processes time, and short waits are the most.
PAUSE_S = 0.01
PAUSE_S_MAX = 0.1


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = 60.0) -> T:
    """What `condition` gives, as soon as it is true. Fails, naming `what` was awaited, when it never is."""
    deadline = time.monotonic() + timeout_s
    pause_s = PAUSE_S
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(pause_s)
        pause_s = min(PAUSE_S_MAX, pause_s * 1.2)
