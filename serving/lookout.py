"""Looks at parts that may take their time to answer: the event loop does not wait, and a part is not asked twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from anyio import CapacityLimiter, to_thread

from serving.refusals import Unavailable

T = TypeVar("T")

#: A look is good for so long; whoever asks in between is told the same.
GOOD_S = 1.0
#: Whoever asks waits no longer; the look goes on, and no second one begins.
WAIT_S = 2.0


class Seen(NamedTuple):
    """What a look found: how long it took, and what is wrong, if anything is."""

    latency_ms: float
    error: str | None = None


class Lookout:
    """Looks in a thread of its own, at one thing at a time."""

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        self._seen: tuple[float, Seen] | None = None
        self._looking: asyncio.Task[Seen] | None = None

    async def seen(self) -> Seen:
        """What the last look found, if it was less than a second ago; else a new one."""
        if self._seen is not None and time.monotonic() - self._seen[0] < GOOD_S:
            return self._seen[1]
        if self._looking is None or self._looking.done():
            self._limiter = CapacityLimiter(1)
            self._looking = asyncio.create_task(self._looked())
        try:
            async with asyncio.timeout(WAIT_S):
                return await asyncio.shield(self._looking)
        except TimeoutError:
            return Seen(WAIT_S * 1000, f"no answer within {WAIT_S:g} s")

    async def _looked(self) -> Seen:
        started = time.perf_counter()
        error: str | None = None
        try:
            await to_thread.run_sync(self._look, abandon_on_cancel=True, limiter=self._limiter)
        except Unavailable as refusal:
            error = refusal.message
        seen = Seen(round((time.perf_counter() - started) * 1000, 3), error)
        self._seen = time.monotonic(), seen
        return seen


class Recent(Generic[T]):
    """The last answer to a question, good for `good_s`; who asks while it is being found waits for that one."""

    def __init__(self, good_s: float) -> None:
        self._good_s = good_s
        self._answer: tuple[float, T] | None = None
        self._asking = asyncio.Lock()

    async def of(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer at hand, else a new one. What `ask` raises is raised, and not kept."""
        async with self._asking:
            held = self._answer
            if held is None or time.monotonic() - held[0] >= self._good_s:
                found = await ask()
                held = self._answer = time.monotonic(), found
            return held[1]
