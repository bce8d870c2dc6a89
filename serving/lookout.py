"""Looks at parts that may be slow to answer, without holding up the event loop or looking twice at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from anyio import CapacityLimiter, to_thread

from serving.refusals import Unavailable

T = TypeVar("T")
W = TypeVar("W")

#: A look is good for so long: all who ask in between get its answer.
GOOD_S = 1.0
#: A caller waits no longer. The look goes on, and no second one begins.
WAIT_S = 2.0


class Seen(NamedTuple):
    """The answer of a look: how long it took, and what is wrong, if anything is."""

    latency_ms: float
    error: str | None = None


class Lookout:
    """Looks in a thread of its own, at one thing at a time."""

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        self._seen: tuple[float, Seen] | None = None
        self._looking: asyncio.Task[Seen] | None = None

    async def seen(self) -> Seen:
        """The answer of the last look, if it ended less than `GOOD_S` ago, else of a new one.

        An error in its place where the look takes longer than `WAIT_S`.
        """
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
    """The last answer to a question, good for `good_s`. All who ask while it is sought wait for that one."""

    def __init__(self, good_s: float) -> None:
        self._good_s = good_s
        self._answer: tuple[float, T] | None = None
        self._asking = asyncio.Lock()

    async def of(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer at hand, else a new one. An error of `ask` is raised, and not kept."""
        async with self._asking:
            answer = self._answer
            if answer is None or time.monotonic() - answer[0] >= self._good_s:
                value = await ask()
                answer = self._answer = time.monotonic(), value
            return answer[1]


class Refreshed(Generic[T]):
    """The last answer to a dear question. While it is used a newer one is sought, so hardly anybody waits.

    An answer is good for `SHARE` times as long as it took, but for `least_s` at least. It is used up to `most_s`.
    """

    #: A question that takes a second is asked every 20 s, and takes 5% of a core.
    SHARE = 20

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s, self._most_s = least_s, most_s
        self._answer: tuple[float, T] | None = None
        self._good_until_s = 0.0
        self._seeking: asyncio.Task[None] | None = None
        self._error: Unavailable | None = None

    def at_hand(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """The last answer, however old, without waiting; None before the first. Where it is not good, one is sought."""
        if self._seeking is None and time.monotonic() >= self._good_until_s:
            self._seeking = asyncio.create_task(self._sought(ask))
        return self.last

    @property
    def last(self) -> T | None:
        """The last answer, however old; None before the first. Nothing is sought."""
        return None if self._answer is None else self._answer[1]

    async def of(self, ask: Callable[[], Awaitable[T]]) -> T:
        """An answer that is at most `most_s` old; an older one where no newer one can be had.

        Raises `Unavailable` where there is none.
        """
        self.at_hand(ask)
        is_old = self._answer is None or time.monotonic() - self._answer[0] > self._most_s
        if is_old and self._seeking is not None:
            await asyncio.shield(self._seeking)
        if self._answer is None:
            raise self._error or Unavailable("there is no answer yet", {"remedy": "try again"}, 1)
        return self._answer[1]

    async def _sought(self, ask: Callable[[], Awaitable[T]]) -> None:
        began_s, self._error = time.monotonic(), None
        try:
            self._answer = began_s, await ask()
        except Unavailable as error:
            self._error = error
        finally:
            now_s = time.monotonic()
            good_s = min(self._most_s, max(self._least_s, self.SHARE * (now_s - began_s)))
            self._good_until_s, self._seeking = now_s + good_s, None


class Paced(Generic[T]):
    """The answer of a look that begins from now on, one for all who wait for it; looks begin so many seconds apart.

    So those who ask without a key cost one look in that time, however many they are.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._began_s = -every_s
        self._next: asyncio.Task[T] | None = None

    async def of(self, look: Callable[[], Awaitable[T]]) -> T:
        """The answer. What `look` raises is raised to all who wait."""
        if self._next is None:
            self._next = _shared(self._looked(look))
        return await asyncio.shield(self._next)

    async def _looked(self, look: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(self._began_s + self._every_s - time.monotonic())
        self._next = None  # who comes from now on waits for the next look
        self._began_s = time.monotonic()
        return await look()


class Together(Generic[W, T]):
    """One question for all who come while another is under way: the next one asks for all that they want."""

    def __init__(self) -> None:
        self._wanted: set[W] = set()
        self._next: asyncio.Task[T] | None = None
        self._running: asyncio.Task[T] | None = None

    async def of(self, wanted: Iterable[W], ask: Callable[[set[W]], Awaitable[T]]) -> T:
        """The answer of a question that begins from now on, and asks for this and perhaps more."""
        self._wanted.update(wanted)
        if self._next is None:
            self._next = _shared(self._asked(ask, self._running))
        return await asyncio.shield(self._next)

    async def _asked(self, ask: Callable[[set[W]], Awaitable[T]], before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait([before])
        wanted, self._wanted = self._wanted, set()
        self._running, self._next = self._next, None
        return await ask(wanted)


def _shared(answer: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Seeks an answer for all who wait for it. That it failed is nobody's where none of them waits any more."""
    task = asyncio.create_task(answer)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task
