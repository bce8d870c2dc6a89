"""The client for threads: `track` and its siblings queue, threads of its own send, `decide` asks at once.

    track → event's bytes → outbox (lock) ─── threads ─→ POST /v1/batch → settled → handles, `on_error`

A thread starts with the first event, and a second one where two requests may be under way. A forked child begins with
an empty queue, locks and connections of its own, and sends nothing of its parent's. Nothing here raises into the app's
request but what it asked for: `QueueFull` with `when_full="block"`, and the errors of `traits`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

import httpx2

from ._asking import Outcome, ask
from ._core import Core, Tracked, log, traits_in
from ._decisions import Decision, fallback, fitted
from ._events import Event, Kind
from ._http import FAILED, batch_ask, client_of, exchange, reason_of, traits_ask, verdict_of_error
from ._outbox import Attempt, Entry, Outbox, State, Stats, is_settled
from ._questions import Question, all_flags, one_flag
from .errors import QueueFull, Unreachable

T = TypeVar("T")

#: How often somebody who sends without the thread looks whether a refused batch may be sent again.
LOOK_S = 0.02


class Handle(Tracked):
    """One event that was handed over: how far it is."""

    __slots__ = ("_client",)

    def __init__(self, client: Client, entry: Entry, outbox: Outbox) -> None:
        super().__init__(entry, outbox)
        self._client = client

    def wait(self, timeout: float | None = None) -> State:
        """The state once it is settled, or when the timeout in seconds is over.

        It returns at once in a forked child of the process that tracked, and after `close`: nothing changes any more.
        """
        if self._outbox is self._client._outbox:
            self._client._send_until(lambda: is_settled(self._entry), timeout)
        return self.state


class Client(Core[Handle]):
    __doc__ = f"{Core.__doc__}\n    Safe for all threads of a process, and after a fork.\n"

    def _begin(self) -> None:
        super()._begin()
        # Reentrant: a signal handler or a finalizer may track or close in the midst of a call of its own thread.
        self._lock = threading.RLock()
        self._put_aside: deque[tuple[Entry, str]] = deque()
        self._changed = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._http: httpx2.Client | None = None

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
    ) -> Handle:
        entry, lost_as = self._entry(kind, user_id, anonymous_id, timestamp, message_id, context, body)
        if self._lock._is_owned():  # type: ignore[attr-defined]  # the outbox is changing just now
            self._put_aside.append((entry, lost_as))
            return Handle(self, entry, self._outbox)
        with self._lock:
            if self.settings.when_full == "block" and not lost_as and not self._is_closed:
                self._wait_for_room(len(entry.body))
            lost = self._queue(entry, lost_as)
            if self._put_aside:
                lost += self._queue_put_aside()
            changes_what_is_due = self._outbox.changes_what_is_due()
            if changes_what_is_due or not self._threads:
                self._start_threads()
            if changes_what_is_due:
                self._changed.notify_all()
        if lost:
            self._tell(lost)
        return Handle(self, entry, self._outbox)

    def _queue_put_aside(self) -> list[Entry]:
        """Queues what was tracked while the outbox changed, and gives those that are lost by it. Under the lock."""
        lost: list[Entry] = []
        while self._put_aside:
            lost += self._queue(*self._put_aside.popleft())
        return lost

    def _wait_for_room(self, size: int) -> None:
        deadline = time.monotonic() + self.settings.block_s
        while not self._outbox.has_room(size):
            left = deadline - time.monotonic()
            if left <= 0:
                waiting = self._outbox.stats.queued
                raise QueueFull(f"{waiting} events wait and none left within {self.settings.block_s} s")
            self._changed.notify_all()
            self._changed.wait(left)

    def _start_if_waiting(self) -> None:
        with self._lock:
            self._start_threads()

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_threads(self) -> None:
        # At exit the main thread is over: `close` sends what is left. Python 3.12 refuses new threads then.
        if self._is_closed or self._outbox.is_empty() or not threading.main_thread().is_alive():
            return
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for _ in range(len(self._threads), self._senders()):
            thread = threading.Thread(target=self._send_all, name="tinycdp", daemon=True)
            with suppress(RuntimeError):
                thread.start()
                self._threads.append(thread)

    def _send_all(self) -> None:
        while self._send_next(wait=True):
            pass

    def _send_next(self, *, wait: bool, timeout_s: float = float("inf")) -> bool:
        """Sends what is due, after waiting for it if told to; false when there is nothing and nothing to wait for."""
        with self._lock:
            while True:
                lost = self._queue_put_aside()
                attempt, given_up = self._next()
                given_up += lost
                if attempt is not None or given_up:
                    self._start_threads()
                    break
                if not wait or self._is_closed:
                    return False
                self._changed.wait(self._wake_in_s())
        self._tell(given_up)
        if attempt is not None:
            self._send(attempt, min(timeout_s, self.settings.timeout_s))
        return True

    def _send(self, attempt: Attempt, timeout_s: float) -> None:
        self._sync(attempt)
        try:
            ask = batch_ask(self.settings.write_key, self._content(attempt))
            verdict = exchange(self._connection(), ask, timeout_s).verdict()
        except FAILED as error:
            verdict = verdict_of_error(error)
        except Exception as error:  # a mistake of ours must not end the thread: the events are sent again
            if not self._is_closed:  # `close` takes the connection away from an attempt that outlasts its timeout
                log.exception("an attempt failed for an unforeseen reason")
            verdict = verdict_of_error(error)
        with self._lock:
            settled = self._settle(attempt, verdict)
            news = self._news(verdict)
            self._changed.notify_all()
        self._say(news)
        self._tell(settled)

    def _connection(self) -> httpx2.Client:
        with self._lock:
            if self._http is None:
                self._http = client_of(self.settings.url, self.settings.timeout_s)
            return self._http

    def _send_until(self, is_done: Callable[[], bool], timeout: float | None) -> bool:
        """Has everything sent without waiting for full batches, until this is so; false if the time was over before.

        Where no thread sends, for the interpreter ends and starts none, the caller does.
        """
        deadline = None if timeout is None else time.monotonic() + min(timeout, threading.TIMEOUT_MAX / 2)
        with self._lock:
            lost = self._queue_put_aside()
        self._tell(lost)
        with self._lock:
            self._flushing += 1
            self._changed.notify_all()
            try:
                while not is_done():
                    left = float("inf") if deadline is None else deadline - time.monotonic()
                    if left <= 0 or self._is_closed or threading.current_thread() in self._threads:
                        return False
                    self._start_threads()
                    if any(thread.is_alive() for thread in self._threads):
                        self._changed.wait(None if deadline is None else left)
                        continue
                    self._lock.release()
                    try:
                        if not self._send_next(wait=False, timeout_s=left):
                            time.sleep(min(left, LOOK_S))
                    finally:
                        self._lock.acquire()
            finally:
                self._flushing -= 1
        return True

    def flush(self, timeout: float | None = 10.0) -> Stats:
        """Sends what is queued; returns when all is settled or the timeout in seconds is over. `queued` is the rest.

        None waits for as long as it takes.
        """
        self._send_until(self._outbox.is_empty, timeout)
        return self.stats()

    def close(self, timeout: float = 10.0) -> Stats:
        """Sends what is queued, for at most so many seconds, and ends the client.

        The rest stays in the disk queue. Without one it is counted as dropped or unknown, and `on_error` is told.
        """
        self._send_until(self._outbox.is_empty, timeout)
        with self._lock:
            lost = self._end()
            self._changed.notify_all()
            stats = self._copy_of_stats()
            http, self._http = self._http, None
        if http is not None:
            http.close()
        self._tell(lost, at_end=True)
        return stats

    def _flush_at_exit(self) -> None:
        with self._lock:
            self._flushing += 1
            self._changed.notify_all()

    def _close_at_exit(self, took_s: float) -> int:
        if self._is_closed:
            return 0
        stats = self.close(max(0.0, self.settings.exit_s - took_s))
        return stats.dropped["closed"] + stats.unknown["closed"]

    def stats(self) -> Stats:
        """How many events are queued, sent, dropped, refused and unknown, since the client was made in this process."""
        with self._lock:
            return self._copy_of_stats()

    @contextmanager
    def request(self, timeout: float = 5.0) -> Iterator[Client]:
        """Sends everything before it returns: for places that freeze between requests, such as Lambda."""
        try:
            yield self
        finally:
            self.flush(timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────────

    def decide(
        self,
        user_id: str | int | None,
        flag: str,
        default: T,
        *,
        anonymous_id: str | None = None,
        after: Handle | None = None,
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
            if not self._sent_before(question, after, deadline_s):
                return fallback(flag, default, "the event was not acknowledged in time", after_met=False)
            outcome = self._ask(question, deadline_s)
            if outcome.decisions:
                return fitted(outcome.decisions[0], default)
            return fallback(flag, default, outcome.error, code=outcome.code)
        except Exception as error:  # a decision ends no request
            log.exception("a decision failed for an unforeseen reason")
            return fallback(flag, default, f"{type(error).__name__}")

    def decide_all(
        self,
        user_id: str | int | None,
        *,
        anonymous_id: str | None = None,
        after: Handle | None = None,
        timeout: float | None = None,
    ) -> dict[str, Decision[Any]]:
        """Every flag of a user, with one request; empty where nothing can be said. Never raises."""
        try:
            deadline_s = time.monotonic() + (self.settings.decide_timeout_s if timeout is None else timeout)
            question = all_flags(user_id, anonymous_id)
            if not self._sent_before(question, after, deadline_s):
                return {}
            outcome = self._ask(question, deadline_s)
            return {decision.flag: decision for decision in outcome.decisions or ()}
        except Exception:
            log.exception("decisions failed for an unforeseen reason")
            return {}

    def _sent_before(self, question: Question, after: Handle | None, deadline_s: float) -> bool:
        if after is None:
            return True
        if after._outbox is self._outbox:
            with self._lock:
                entries = self._outbox.hurry({*question.ids, *after._entry.ids})
            if not self._send_until(lambda: all(map(is_settled, entries)), deadline_s - time.monotonic()):
                return False
        self._asking.drop(question.ids)  # the event may be of another id, whose answers alone it has dropped
        return after.state == "sent"

    def _ask(self, question: Question, deadline_s: float) -> Outcome:
        return ask(self._asking, self._connection(), self.settings.asking_key, question, deadline_s)

    def traits(self, user_id: str | int, *, timeout: float | None = None) -> dict[str, Any]:
        """Every trait and segment of a user as the API answers them; takes a `profile_key`, or an admin's.

        Raises `ApiError` for a refusal, `Unreachable` without an answer.
        """
        ask = traits_ask(self.settings.profile_key, user_id)
        try:
            return traits_in(exchange(self._connection(), ask, self.settings.timeout_s if timeout is None else timeout))
        except FAILED as error:
            raise Unreachable(reason_of(error)) from error
