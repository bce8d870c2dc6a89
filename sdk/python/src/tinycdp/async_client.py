"""The client for asyncio: what `client` is, with tasks of the event loop in place of the threads.

    track → event's bytes → outbox ─── tasks ─→ POST /v1/batch → settled → handles, `on_error`

`track` and its siblings are plain calls: they queue, and never wait. A client belongs to the event loop that uses it,
one at a time, and to the loop's thread; what is queued outlives a loop that ends. The rules are those of `client`:
`tests/sdk/test_client.py` asks both the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

import httpx2

from ._answers import unanswered
from ._asking import Outcome, ask_async
from ._core import Core, Tracked, log, traits_in
from ._decisions import Decision, fallback, fitted
from ._events import Event, Kind
from ._http import (
    FAILED,
    batch_ask,
    client_arguments,
    client_of,
    exchange,
    exchange_async,
    reason_of,
    traits_ask,
    verdict_of_error,
)
from ._outbox import Attempt, Entry, Outbox, State, Stats, is_settled
from ._questions import Question, all_flags, one_flag
from .errors import QueueFull, Unreachable

T = TypeVar("T")

#: How often it is looked at exit whether a refused batch may be sent again.
LOOK_S = 0.02


class AsyncHandle(Tracked):
    """One event that was handed over: how far it is."""

    __slots__ = ("_client",)

    def __init__(self, client: AsyncClient, entry: Entry, outbox: Outbox) -> None:
        super().__init__(entry, outbox)
        self._client = client

    async def wait(self, timeout: float | None = None) -> State:
        """The state once it is settled, or when the timeout in seconds is over.

        It returns at once in a forked child of the process that tracked, and after `close`: nothing changes any more.
        """
        if self._outbox is self._client._outbox:
            await self._client._send_until(lambda: is_settled(self._entry), timeout)
        return self.state


class AsyncClient(Core[AsyncHandle]):
    __doc__ = f"""{Core.__doc__}
    It belongs to one event loop at a time. With `when_full="block"` a full queue raises `QueueFull` at once, since
    `track` cannot wait: `await flush()` makes room.
    """

    def _begin(self) -> None:
        super()._begin()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._http: httpx2.AsyncClient | None = None
        self._waiters: set[asyncio.Future[None]] = set()

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _put(
        self,
        kind: Kind,
        user_id: str | int | None,
        anonymous_id: str | None,
        timestamp: datetime | str | None,
        message_id: str | None,
        context: Mapping[str, Any] | None,
        body: Event,
    ) -> AsyncHandle:
        entry, lost_as = self._entry(kind, user_id, anonymous_id, timestamp, message_id, context, body)
        is_kept = not lost_as and not self._is_closed
        if self.settings.when_full == "block" and is_kept and not self._outbox.has_room(len(entry.body)):
            raise QueueFull(f"{self._outbox.stats.queued} events wait; await flush() to make room")
        lost = self._queue(entry, lost_as)
        if all(task.done() for task in self._tasks) or self._outbox.changes_what_is_due():
            with suppress(RuntimeError):  # no loop yet: the first call in one has it sent
                self._start()
                self._notify()
        if lost:
            self._tell(lost)
        return AsyncHandle(self, entry, self._outbox)

    def _start_if_waiting(self) -> None:
        with suppress(RuntimeError):  # no loop yet
            self._start()

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        """Lets tasks of the running loop send, if there is anything to send."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._tasks, self._http, self._waiters = loop, [], None, set()
        if self._is_closed or self._outbox.is_empty():
            return
        self._tasks = [task for task in self._tasks if not task.done()]
        for _ in range(len(self._tasks), self._senders()):
            self._tasks.append(loop.create_task(self._send_all(), name="tinycdp"))

    async def _send_all(self) -> None:
        while not self._is_closed:
            attempt, given_up = self._next()
            self._tell(given_up)
            if attempt is not None:
                self._start()
                await self._send(attempt)
            elif not given_up:
                await self._change(self._wake_in_s())

    async def _send(self, attempt: Attempt) -> None:
        verdict = unanswered("the event loop ended", was_sent=True)
        settled: list[Entry] = []
        try:
            if attempt in self._unsynced:
                await asyncio.to_thread(self._sync, attempt)
            ask = batch_ask(self.settings.write_key, self._content(attempt))
            reply = await exchange_async(self._connection(), ask, self.settings.timeout_s)
            verdict = reply.verdict()
        except FAILED as error:
            verdict = verdict_of_error(error)
        except Exception as error:  # a mistake of ours must not end the task: the events are sent again
            log.exception("an attempt failed for an unforeseen reason")
            verdict = verdict_of_error(error)
        finally:  # also where the task is cancelled: the events stay queued
            settled = self._settle(attempt, verdict)
            news = self._news(verdict)
            self._notify()
        self._say(news)
        self._tell(settled)

    def _connection(self) -> httpx2.AsyncClient:
        if self._http is None:
            self._http = httpx2.AsyncClient(**client_arguments(self.settings.url, self.settings.timeout_s))
        return self._http

    def _notify(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def _change(self, timeout: float | None) -> None:
        """Returns when something changed, or the timeout in seconds is over."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            pass
        finally:
            self._waiters.discard(waiter)

    async def _send_until(self, is_done: Callable[[], bool], timeout: float | None) -> bool:
        """Has everything sent without waiting for full batches, until this is so; false if the time was over before."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._flushing += 1
        try:
            self._start()
            self._notify()
            while not is_done():
                left = None if deadline is None else deadline - time.monotonic()
                if self._is_closed or (left is not None and left <= 0) or asyncio.current_task() in self._tasks:
                    return False
                await self._change(left)
        finally:
            self._flushing -= 1
        return True

    async def flush(self, timeout: float | None = 10.0) -> Stats:
        """Sends what is queued; returns when all is settled or the timeout in seconds is over. `queued` is the rest.

        None waits for as long as it takes.
        """
        await self._send_until(self._outbox.is_empty, timeout)
        return self.stats()

    async def close(self, timeout: float = 10.0) -> Stats:
        """Sends what is queued, for at most so many seconds, and ends the client.

        The rest stays in the disk queue. Without one it is counted as dropped or unknown, and `on_error` is told.
        """
        await self._send_until(self._outbox.is_empty, timeout)
        lost = self._end()
        stats = self.stats()
        self._notify()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()
        self._tell(lost, at_end=True)
        return stats

    def _flush_at_exit(self) -> None:
        """Its loop has ended: `_close_at_exit` sends."""

    def _close_at_exit(self, took_s: float) -> int:
        if self._is_closed:
            return 0
        if not self._outbox.is_empty():
            self._send_without_a_loop(time.monotonic() + self.settings.exit_s - took_s)
        lost = self._end()
        self._tell(lost, at_end=True)
        return len(lost)

    def _send_without_a_loop(self, deadline_s: float) -> None:
        """Sends what an event loop left that ended, where nobody awaited `close`."""
        self._outbox.interrupted(time.monotonic())
        self._flushing += 1
        with client_of(self.settings.url, self.settings.timeout_s) as http:
            while not self._outbox.is_empty() and (left_s := deadline_s - time.monotonic()) > 0:
                attempt, given_up = self._next()
                self._tell(given_up)
                if attempt is None:
                    time.sleep(min(left_s, LOOK_S))
                    continue
                self._sync(attempt)
                try:
                    ask = batch_ask(self.settings.write_key, self._content(attempt))
                    verdict = exchange(http, ask, left_s).verdict()
                except FAILED as error:
                    verdict = verdict_of_error(error)
                self._tell(self._settle(attempt, verdict))

    def stats(self) -> Stats:
        """How many events are queued, sent, dropped, refused and unknown, since the client was made in this process."""
        return self._copy_of_stats()

    @asynccontextmanager
    async def request(self, timeout: float = 5.0) -> AsyncIterator[AsyncClient]:
        """Sends everything before it returns: for places that freeze between requests, such as Lambda."""
        try:
            yield self
        finally:
            await self.flush(timeout)

    async def __aenter__(self) -> AsyncClient:
        self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def decide(
        self,
        user_id: str | int | None,
        flag: str,
        default: T,
        *,
        anonymous_id: str | None = None,
        after: AsyncHandle | None = None,
        explain: bool = False,
        timeout: float | None = None,
    ) -> Decision[T]:
        """What a flag says for a user, or the default. Never raises, and takes at most about `timeout` seconds.

        `after`: an event that the decision is to see; it is sent ahead of others. Where it is not acknowledged in time
        the answer is the default, with `after_met` false.
        """
        try:
            deadline_s = time.monotonic() + (self.settings.decide_timeout_s if timeout is None else timeout)
            question = one_flag(user_id, anonymous_id, flag, explain=explain)
            if not await self._sent_before(question, after, deadline_s):
                return fallback(flag, default, "the event was not acknowledged in time", after_met=False)
            outcome = await self._ask(question, deadline_s)
            if outcome.decisions:
                return fitted(outcome.decisions[0], default)
            return fallback(flag, default, outcome.error, code=outcome.code)
        except Exception as error:  # a decision ends no request
            log.exception("a decision failed for an unforeseen reason")
            return fallback(flag, default, f"{type(error).__name__}")

    async def decide_all(
        self,
        user_id: str | int | None,
        *,
        anonymous_id: str | None = None,
        after: AsyncHandle | None = None,
        timeout: float | None = None,
    ) -> dict[str, Decision[Any]]:
        """Every flag of a user, with one request; empty where nothing can be said. Never raises."""
        try:
            deadline_s = time.monotonic() + (self.settings.decide_timeout_s if timeout is None else timeout)
            question = all_flags(user_id, anonymous_id)
            if not await self._sent_before(question, after, deadline_s):
                return {}
            outcome = await self._ask(question, deadline_s)
            return {decision.flag: decision for decision in outcome.decisions or ()}
        except Exception:
            log.exception("decisions failed for an unforeseen reason")
            return {}

    async def _sent_before(self, question: Question, after: AsyncHandle | None, deadline_s: float) -> bool:
        if after is None:
            return True
        if after._outbox is self._outbox:
            entries = self._outbox.hurry({*question.ids, *after._entry.ids})
            if not await self._send_until(lambda: all(map(is_settled, entries)), deadline_s - time.monotonic()):
                return False
        self._asking.drop(question.ids)  # the event may be of another id, whose answers alone it has dropped
        return after.state == "sent"

    async def _ask(self, question: Question, deadline_s: float) -> Outcome:
        self._start()
        return await ask_async(self._asking, self._connection(), self.settings.asking_key, question, deadline_s)

    async def traits(self, user_id: str | int, *, timeout: float | None = None) -> dict[str, Any]:
        """Every trait and segment of a user as the API answers them; takes a `profile_key`, or an admin's.

        Raises `ApiError` for a refusal, `Unreachable` without an answer.
        """
        self._start()
        ask = traits_ask(self.settings.profile_key, user_id)
        timeout_s = self.settings.timeout_s if timeout is None else timeout
        try:
            return traits_in(await exchange_async(self._connection(), ask, timeout_s))
        except FAILED as error:
            raise Unreachable(reason_of(error)) from error
