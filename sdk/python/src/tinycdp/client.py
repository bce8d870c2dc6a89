"""The client for threads: `track` and its siblings queue, a thread of its own sends, `decide` asks at once.

    track → event's bytes → outbox (lock) ─── thread ──→ POST /v1/batch → settled → handles, `on_error`

The thread starts with the first event. A forked child begins with an empty queue, locks and connections of its own, and
sends nothing of its parent's. Nothing here raises into the app's request but what it asked for: `ConfigurationError`
where the client is made, `QueueFull` with `when_full="block"`, and the errors of `traits`.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2

from ._asking import Asking, Outcome
from ._decisions import Decision, fallback
from ._events import Event, Kind, request_bytes, timestamp_text
from ._http import FAILED, client_arguments, headers_of, reason_of, reply_of, verdict_of_error
from ._intake import EventCalls, Intake
from ._outbox import Attempt, Entry, Outbox, State, Stats
from ._questions import Question, all_flags, one_flag
from ._settings import Settings, WhenFull, settings_of
from .errors import ConfigurationError, QueueFull, Unreachable, api_error

T = TypeVar("T")

log = logging.getLogger("tinycdp")


@dataclass(frozen=True)
class Failure:
    """An event that does not arrive, or may not: what `on_error` is told. `state` is refused, dropped or unknown."""

    state: State
    reason: str
    message_id: str
    event: bytes | None  #: as it would have been sent; None if it is no JSON


class Handle:
    """One event that was handed over: how far it is."""

    __slots__ = ("_client", "_entry")

    def __init__(self, client: Client, entry: Entry) -> None:
        self._client, self._entry = client, entry

    @property
    def message_id(self) -> str:
        """What a repeat of the event is known by."""
        return self._entry.message_id

    @property
    def state(self) -> State:
        """queued, sending, sent, dropped, refused, or unknown: it may count or not, and is not sent again."""
        return self._entry.state

    @property
    def reason(self) -> str:
        """Why it was dropped or refused; else empty."""
        return self._entry.reason

    def wait(self, timeout: float | None = None) -> State:
        """The state once it is settled, or when the timeout in seconds is over."""
        self._client._wait_for((self._entry,), timeout)
        return self._entry.state


class Client(EventCalls[Handle]):
    """Sends events and asks for decisions. One for a whole process; safe for all of its threads and after a fork.

    Every setting may also come from the environment: `TINYCDP_URL`, `TINYCDP_WRITE_KEY`, `TINYCDP_READ_KEY` and so on.
    `on_error` is told of each event that is refused, dropped or unknown, in the thread that found it out. `before_send`
    may change an event, or drop it by returning None. `context` is that of each event which gives none. Raises
    `ConfigurationError`.
    """

    def __init__(
        self,
        url: str | None = None,
        write_key: str | None = None,
        read_key: str | None = None,
        profile_key: str | None = None,
        *,
        queue_max: int | None = None,
        queue_bytes_max: int | None = None,
        when_full: WhenFull | None = None,
        block_s: float | None = None,
        flush_at: int | None = None,
        flush_interval_s: float | None = None,
        timeout_s: float | None = None,
        decide_timeout_s: float | None = None,
        exit_s: float | None = None,
        on_error: Callable[[Failure], object] | None = None,
        before_send: Callable[[Event], Event | None] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings: Settings = settings_of(
            url=url,
            write_key=write_key,
            read_key=read_key,
            profile_key=profile_key,
            queue_max=queue_max,
            queue_bytes_max=queue_bytes_max,
            when_full=when_full,
            block_s=block_s,
            flush_at=flush_at,
            flush_interval_s=flush_interval_s,
            timeout_s=timeout_s,
            decide_timeout_s=decide_timeout_s,
            exit_s=exit_s,
        )
        self._on_error = on_error
        self._intake = Intake(before_send, context)
        self._begin()
        _clients.add(self)

    def _begin(self) -> None:
        """What a process has of its own: also made anew in a forked child."""
        settings = self.settings
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._outbox = Outbox(
            queue_max=settings.queue_max,
            queue_bytes_max=settings.queue_bytes_max,
            flush_at=settings.flush_at,
            flush_interval_s=settings.flush_interval_s,
            random=Random(),
        )
        self._asking = Asking()
        self._thread: threading.Thread | None = None
        self._http: httpx2.Client | None = None
        self._flushing = 0
        self._is_closed = False

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
        if self.settings.write_key is None:
            raise ConfigurationError("write_key: not set; give one, or set TINYCDP_WRITE_KEY")
        entry, lost_as = self._intake.entry(
            time.monotonic(), kind, user_id, anonymous_id, timestamp, message_id, context, body
        )
        with self._lock:
            if lost_as:
                self._outbox.never_queued(entry, lost_as)
                lost = [entry] if entry.state == "refused" else []
            else:
                if self.settings.when_full == "block":
                    self._wait_for_room(len(entry.body))
                lost = self._outbox.put(entry)
                if self._thread is None and not self._is_closed:
                    self._start_thread()
                if self._outbox.stats.queued in (1, self.settings.flush_at):
                    self._changed.notify_all()
                self._asking.drop(entry.ids)
        if lost:
            self._tell(lost)
        return Handle(self, entry)

    def _wait_for_room(self, size: int) -> None:
        deadline = time.monotonic() + self.settings.block_s
        while not self._outbox.has_room(size):
            left = deadline - time.monotonic()
            if left <= 0:
                raise QueueFull(
                    f"{self._outbox.stats.queued} events wait and none left within {self.settings.block_s} s"
                )
            self._changed.notify_all()
            self._changed.wait(left)

    def _tell(self, entries: list[Entry]) -> None:
        """Tells `on_error` of each that did not arrive; without one, the log, once for all of them."""
        lost = [entry for entry in entries if entry.state in ("refused", "dropped", "unknown")]
        if not lost:
            return
        if self._on_error is None:
            log.warning("%d events do not arrive: %s (give on_error to see each)", len(lost), lost[0].reason)
            return
        for entry in lost:
            try:
                self._on_error(Failure(entry.state, entry.reason, entry.message_id, entry.body or None))
            except Exception:
                log.exception("on_error failed")

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._send_all, name="tinycdp", daemon=True)
        with suppress(RuntimeError):  # the interpreter ends: `close` sends what is left
            thread.start()
            self._thread = thread

    def _send_all(self) -> None:
        while self._send_next(wait=True):
            pass

    def _send_next(self, *, wait: bool) -> bool:
        """Sends what is due, after waiting for it if told to; false when there is nothing and nothing to wait for."""
        with self._lock:
            while True:
                flush = self._flushing > 0
                attempt, given_up = self._outbox.next_attempt(time.monotonic(), _wall_ms(), flush=flush)
                if attempt is not None or given_up:
                    break
                if not wait or (self._is_closed and self._outbox.is_empty()):
                    return False
                wake_s = self._outbox.wake_s(time.monotonic(), flush=flush)
                self._changed.wait(None if wake_s is None else max(0.0, wake_s - time.monotonic()))
        self._tell(given_up)
        if attempt is not None:
            self._send(attempt)
        return True

    def _send(self, attempt: Attempt) -> None:
        content = request_bytes([entry.body for entry in attempt.entries], timestamp_text(None))
        try:
            response = self._connection().post(
                "/v1/batch", content=content, headers=headers_of(self.settings.write_key)
            )
            verdict = reply_of(response).verdict()
        except FAILED as error:
            verdict = verdict_of_error(error)
        except Exception as error:  # a mistake of ours must not end the thread: the events are sent again
            log.exception("an attempt failed for an unforeseen reason")
            verdict = verdict_of_error(error)
        with self._lock:
            settled = self._outbox.settle(attempt, verdict, time.monotonic())
            self._asking.drop([name for entry in settled for name in entry.ids])
            self._changed.notify_all()
        for warning in verdict.warnings:
            log.warning("%s", warning)
        self._tell(settled)

    def _connection(self) -> httpx2.Client:
        if self._http is None:
            self._http = httpx2.Client(**client_arguments(self.settings.url, self.settings.timeout_s))
        return self._http

    def _wait_for(self, entries: tuple[Entry, ...], timeout: float | None) -> bool:
        """Waits until these are settled; true if they are."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            self._flushing += 1
            self._changed.notify_all()
            try:
                while any(entry.state in ("queued", "sending") for entry in entries):
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    self._changed.wait(left)
            finally:
                self._flushing -= 1
        return True

    def flush(self, timeout: float = 10.0) -> Stats:
        """Sends what is queued; returns when all is settled or the timeout in seconds is over. `queued` is the rest."""
        deadline = time.monotonic() + timeout
        with self._lock:
            self._flushing += 1
            self._changed.notify_all()
            try:
                while not self._outbox.is_empty():
                    left = deadline - time.monotonic()
                    if left <= 0:
                        break
                    if self._thread is None or not self._thread.is_alive():
                        self._lock.release()
                        try:
                            if not self._send_next(wait=False):
                                time.sleep(min(left, 0.05))  # after a refusal: its time has not come
                        finally:
                            self._lock.acquire()
                    else:
                        self._changed.wait(left)
            finally:
                self._flushing -= 1
            return self._copy_of_stats()

    def close(self, timeout: float = 10.0) -> Stats:
        """Sends what is queued, for at most so many seconds, and ends the client.

        The rest is counted as dropped, and `on_error` is told of each.
        """
        self.flush(timeout)
        with self._lock:
            self._is_closed = True
            left = self._outbox.take_all()
            for entry in left:
                entry.state, entry.reason = "dropped", "the client was closed before it was sent"
                self._outbox.stats.dropped["closed"] += 1
            self._changed.notify_all()
            stats = self._copy_of_stats()
        if self._http is not None:
            self._http.close()
        self._tell(left)
        return stats

    def stats(self) -> Stats:
        """How many events are queued, sent, dropped, refused and unknown, since the client was made in this process."""
        with self._lock:
            return self._copy_of_stats()

    def _copy_of_stats(self) -> Stats:
        stats = self._outbox.stats
        return replace(stats, dropped=stats.dropped.copy(), refused=stats.refused.copy(), unknown=stats.unknown.copy())

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
        deadline_s = time.monotonic() + (self.settings.decide_timeout_s if timeout is None else timeout)
        try:
            question = one_flag(user_id, anonymous_id, flag, explain=explain)
            if not self._sent_before(question, after, deadline_s):
                return fallback(flag, default, "the event was not acknowledged in time", after_met=False)
            outcome = self._ask(question, deadline_s)
            return outcome.decisions[0] if outcome.decisions else fallback(flag, default, outcome.error)
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
        deadline_s = time.monotonic() + (self.settings.decide_timeout_s if timeout is None else timeout)
        try:
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
        with self._lock:
            self._outbox.hurry({*question.ids, *after._entry.ids})
        self._wait_for((after._entry,), deadline_s - time.monotonic())
        return after.state == "sent"

    def _ask(self, question: Question, deadline_s: float) -> Outcome:
        with self._lock:
            request = self._asking.begin(question, time.monotonic())
        if isinstance(request, Outcome):
            return request
        try:
            response = self._connection().request(
                question.method,
                question.path,
                content=question.body,
                headers=headers_of(self.settings.read_key, if_none_match=request.etag),
                timeout=max(0.001, deadline_s - time.monotonic()),
            )
        except FAILED as failure:
            with self._lock:
                return self._asking.unanswered(request, reason_of(failure), time.monotonic())
        with self._lock:
            return self._asking.answered(request, reply_of(response), time.monotonic())

    def traits(self, user_id: str | int, *, timeout: float | None = None) -> dict[str, Any]:
        """Every trait and segment of a user as the API answers them; takes a `profile_key`, or an admin's.

        Raises `ApiError` for a refusal, `Unreachable` without an answer.
        """
        try:
            response = self._connection().get(
                f"/v1/users/{quote(str(user_id), safe='')}/traits",
                headers=headers_of(self.settings.profile_key),
                timeout=self.settings.timeout_s if timeout is None else timeout,
            )
            body: Any = response.json() if response.content else None
        except FAILED as error:
            raise Unreachable(reason_of(error)) from error
        except ValueError as error:
            raise Unreachable("the answer is no JSON") from error
        if response.status_code != 200:
            raise api_error(response.status_code, body)
        return dict(body)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────

_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client._begin()


def _at_exit() -> None:
    for client in list(_clients):
        if client._is_closed:
            continue
        stats = client.close(client.settings.exit_s)
        lost = stats.dropped["closed"]
        if lost:
            print(f"tinycdp: {lost} events were not sent before the process ended", file=sys.stderr)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
