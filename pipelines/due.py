"""When each chore of a worker is due, and how it went: at its interval, and soon again after a failure.

Chores know nothing of each other. One that fails is tried again by itself, less and less often, and keeps its error
until it succeeds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import polars as pl
import structlog

from lake.errors import LakeError
from serving.logs import safe_message
from serving.refusals import Refusal
from serving.store.errors import StoreError

log = structlog.get_logger()
T = TypeVar("T")

#: How soon a chore that failed is tried again, after its first failure and at the longest. The pause doubles.
RETRY_S, RETRY_S_MAX = 2.0, 60.0
#: Errors whose messages are ours to tell. Of any other the type is told alone: its message may quote what people sent.
FORESEEN = (StoreError, LakeError, Refusal, OSError, pl.exceptions.PolarsError)


def pause_after(failures: int, first_s: float, most_s: float) -> float:
    """`first_s`, doubled with each failure, at most `most_s`. A day of failures has more doublings than floats have."""
    return min(math.ldexp(first_s, min(failures, 60)), most_s)


class Due:
    """When one chore is due, and what became of it the last time."""

    def __init__(self, name: str, interval_s: float, first_s: float, clock: Callable[[], float] = time.monotonic):
        self.name, self.interval_s, self.clock = name, interval_s, clock
        self.next_s = clock() + first_s
        self.failures = 0
        self.error: str | None = None
        self.succeeded_ms: int | None = None

    def is_due(self) -> bool:
        """Whether its interval is over, or after a failure the pause."""
        return self.clock() >= self.next_s

    @property
    def rests(self) -> bool:
        """Whether it has just failed, so that nobody may have it tried again yet."""
        return self.failures > 0 and self.clock() < self.next_s

    def attempt(self, work: Callable[[], T]) -> T | None:
        """Does it; returns its result, None after a failure.

        Every exception is a failure of this chore alone: a fault of our own in one must not keep the others from their
        turn, as a worker that ends and starts anew would.
        """
        try:
            result = work()
        except Exception as error:
            self.failed(safe_message(error) if isinstance(error, FORESEEN) else type(error).__name__, error)
            return None
        self.failures, self.error = 0, None
        self.succeeded_ms = time.time_ns() // 1_000_000
        self.next_s = self.clock() + self.interval_s
        return result

    def failed(self, why: str, error: Exception | None = None) -> None:
        """It failed once more: it is tried again after a pause, and keeps the error until it succeeds."""
        pause_s = pause_after(self.failures, RETRY_S, RETRY_S_MAX)
        self.failures += 1
        self.error = why
        self.next_s = self.clock() + pause_s
        counts = {"failures": self.failures, "retry_s": pause_s}
        log.warning("work_failed", work=self.name, error=why, **counts, exc_info=error)

    def report(self) -> dict[str, Any]:
        """What the heartbeat says of it: when it succeeded last (UTC ms, by this process), and failures since."""
        return {"succeeded_at": self.succeeded_ms, "failures": self.failures}
