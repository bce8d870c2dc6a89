"""What both clients are made of: settings, intake, outbox, disk queue and answers, without threads, tasks or requests.

The shells (`client`, `async_client`) hold their lock, if they have one, around each call of a method that says so.
"""

from __future__ import annotations

import logging
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from . import _spool
from ._answers import Fate, Verdict
from ._asking import Asking
from ._events import Event, Kind, request_bytes, timestamp_text
from ._http import Reply, load
from ._intake import EventCalls, Intake
from ._outbox import Attempt, Entry, Outbox, State, Stats
from ._processes import enroll, hold, let_go, sends_from_here
from ._settings import Settings, WhenFull, settings_of
from .errors import ConfigurationError, Unreachable, api_error

log = logging.getLogger("tinycdp")

#: A disk queue that could not be written is tried again after so long.
DISK_AGAIN_S = 60.0
#: So many attempts that failed one after the other are worth a word in the log.
FAILURES_TOLD = 3
#: Without `on_error` the log says at most so often that events are lost, and how many since.
LOSSES_TOLD_S = 10.0


@dataclass(frozen=True)
class Failure:
    """An event that does not arrive, or may not: what `on_error` is told. `state` is refused, dropped or unknown."""

    state: State
    reason: str
    message_id: str
    event: bytes | None  #: as it would have been sent; None if it is no JSON


class Tracked:
    """One event that was handed over: how far it is."""

    __slots__ = ("_entry", "_outbox")

    def __init__(self, entry: Entry, outbox: Outbox) -> None:
        self._entry, self._outbox = entry, outbox

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


HandleT = TypeVar("HandleT", bound=Tracked)


class Core(EventCalls[HandleT]):
    """Sends events and asks for decisions. One for a whole process.

    Every setting may also come from the environment: `TINYCDP_URL`, `TINYCDP_WRITE_KEY`, `TINYCDP_READ_KEY` and so on.
    `queue_dir` names a folder of a local disk in which what is queued outlives the process. `on_error` is told of each
    event that is refused, dropped or unknown, where it was found out. `before_send` may change an event, or drop it by
    returning None. `context` is that of each event which gives none. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        url: str | None = None,
        write_key: str | None = None,
        read_key: str | None = None,
        profile_key: str | None = None,
        *,
        queue_dir: str | os.PathLike[str] | None = None,
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
            queue_dir=queue_dir,
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
        self._spool: _spool.Spool | None = None
        if self.settings.queue_dir is not None:
            _spool.require_locks(self.settings.queue_dir)
        load()
        self._begin()
        if self.settings.write_key is not None:
            self._open_spool()
        enroll(self)
        self._start_if_waiting()

    @abstractmethod
    def _start_if_waiting(self) -> None:
        """Lets what dead processes left be sent."""

    @abstractmethod
    def _flush_at_exit(self) -> None:
        """Lets what is queued be sent at once, while others are closed."""

    @abstractmethod
    def _close_at_exit(self, took_s: float) -> int:
        """Ends the client with its process, whose end took so long already; how many events were lost by that."""

    def _begin(self) -> None:
        """What a process has of its own: also made anew in a forked child."""
        settings = self.settings
        if self._spool is not None:
            self._spool.forget()
        self._spool = None
        self._disk_again_s = 0.0
        self._unsynced: dict[Attempt, int] = {}  # the file that is to be synced before an attempt is made
        self._outbox = Outbox(
            queue_max=settings.queue_max,
            queue_bytes_max=settings.queue_bytes_max,
            flush_at=settings.flush_at,
            flush_interval_s=settings.flush_interval_s,
            random=Random(),
        )
        self._asking = Asking()
        self._is_in_trouble = False
        self._losses, self._losses_told_s = 0, float("-inf")
        self._flushing = 0
        self._is_closed = False
        self._has_begun = False
        self._is_held = False

    # ── events in ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _entry(
        self,
        kind: Kind,
        user_id: str | int | None,
        anonymous_id: str | None,
        timestamp: datetime | str | None,
        message_id: str | None,
        context: Mapping[str, Any] | None,
        body: Event,
    ) -> tuple[Entry, str]:
        """An entry, and what it is counted under if it goes no further."""
        entry, lost_as = self._intake.entry(
            time.monotonic(), kind, user_id, anonymous_id, timestamp, message_id, context, body
        )
        if self.settings.write_key is None and not lost_as:  # a call in a request raises nothing
            entry.state, entry.reason = "refused", "write_key: not set; give one, or set TINYCDP_WRITE_KEY"
            lost_as = "no write key"
        return entry, lost_as

    def _queue(self, entry: Entry, lost_as: str) -> list[Entry]:
        """Queues an entry, and gives those that are lost by it. Under the lock."""
        if self._is_closed and not lost_as:
            entry.state, entry.reason, lost_as = "dropped", "the client was closed before", "closed"
        if lost_as:
            self._outbox.never_queued(entry, lost_as)
            return [entry] if lost_as != "before_send" else []
        if not self._has_begun:
            self._begin_sending()
        if self._spool is None and self.settings.queue_dir is not None:
            self._open_spool_again()
        lost = self._outbox.put(entry)
        self._hold_or_let_go()
        if self._spool is not None:
            if entry.state == "queued":
                self._write(lambda spool: spool.append(entry))
            if lost:
                self._note_settled(lost)
        self._asking.drop(entry.ids)
        return lost

    def _begin_sending(self) -> None:
        self._has_begun = True
        sends_from_here()

    # ── events out ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _next(self) -> tuple[Attempt | None, list[Entry]]:
        """The attempt that is due, and what is given up. Under the lock; `_sync` before the attempt is made."""
        wall_ms = time.time_ns() // 1_000_000
        attempt, given_up = self._outbox.next_attempt(time.monotonic(), wall_ms, flush=self._flushing > 0)
        if self._spool is not None:
            if attempt is not None:
                entries = attempt.entries
                self._write(lambda spool: spool.attempted(entries, wall_ms))
                if self._spool is not None:
                    with suppress(OSError):  # no file is left to open: it is synced later
                        self._unsynced[attempt] = self._spool.duplicate()
            if given_up:
                self._note_settled(given_up)
        self._hold_or_let_go()
        return attempt, given_up

    def _hold_or_let_go(self) -> None:
        is_sending = not self._outbox.is_empty()
        if is_sending is not self._is_held:
            self._is_held = is_sending
            (hold if is_sending else let_go)(self)

    def _wake_in_s(self) -> float | None:
        """In how many seconds something is due; None if nothing will be by itself. Under the lock."""
        now_s = time.monotonic()
        wake_s = self._outbox.wake_s(now_s, flush=self._flushing > 0)
        return None if wake_s is None else max(0.0, wake_s - now_s)

    @staticmethod
    def _content(attempt: Attempt) -> bytes:
        return request_bytes([entry.body for entry in attempt.entries], timestamp_text(None))

    def _settle(self, attempt: Attempt, verdict: Verdict) -> list[Entry]:
        """What an answer settles. Under the lock."""
        entries = list(attempt.entries)
        settled = self._outbox.settle(attempt, verdict, time.monotonic())
        if self._spool is not None:
            if settled:
                self._note_settled(settled)
            elif not verdict.is_ambiguous:
                cleared = [entry for entry in entries if entry.first_ms is None]
                self._write(lambda spool: spool.cleared(cleared))
        self._asking.drop([name for entry in settled for name in entry.ids])
        self._hold_or_let_go()
        return settled

    def _news(self, verdict: Verdict) -> list[tuple[int, str]]:
        """What the log says of an answer, each with its level: one warning for each outage. Under the lock."""
        news = [(logging.WARNING, warning) for warning in verdict.warnings]
        match verdict.fate:
            case Fate.HELD:
                is_failing, what = True, "wait until key or address is mended"
            case Fate.AGAIN:
                is_failing, what = self._outbox.failures >= FAILURES_TOLD, "are not acknowledged, and sent again"
            case _:
                is_failing, what = False, ""
        if is_failing and not self._is_in_trouble:
            news.append((logging.WARNING, f"events {what}: {verdict.reason}"))
        if verdict.fate is Fate.STORED and self._is_in_trouble:
            news.append((logging.INFO, "events are acknowledged again"))
        self._is_in_trouble = is_failing or (self._is_in_trouble and verdict.fate is not Fate.STORED)
        return news

    @staticmethod
    def _say(news: list[tuple[int, str]]) -> None:
        for level, text in news:
            log.log(level, "%s", text)

    def _tell(self, entries: list[Entry], *, at_end: bool = False) -> None:
        """Tells `on_error` of each that did not arrive; without one, the log, now and then. Not under the lock."""
        lost = [entry for entry in entries if entry.state in ("refused", "dropped", "unknown")]
        if self._on_error is None:
            self._log_losses(lost, at_end=at_end)
            return
        for entry in lost:
            try:
                self._on_error(Failure(entry.state, entry.reason, entry.message_id, entry.body or None))
            except Exception:
                log.exception("on_error failed")

    def _log_losses(self, lost: list[Entry], *, at_end: bool) -> None:
        self._losses += len(lost)
        now_s = time.monotonic()
        if not self._losses or not (at_end or now_s - self._losses_told_s >= LOSSES_TOLD_S):
            return
        count, self._losses, self._losses_told_s = self._losses, 0, now_s
        why = f": {lost[0].reason}" if lost else ""
        log.warning("%d events do not arrive%s (give on_error to see each)", count, why)

    # ── the disk ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open_spool(self) -> None:
        """Opens this process's file, and queues what dead processes left, while there is room. Under the lock."""
        if self.settings.queue_dir is None:
            return
        self._spool = spool = _spool.opened(Path(self.settings.queue_dir), self.settings.url)
        known: dict[str, Entry] = {}
        for path, file, entries in spool.left():
            try:
                is_empty = self._outbox.is_empty()
                if not is_empty and not self._outbox.has_room(sum(len(entry.body) for entry in entries)):
                    continue  # a later process takes it
                fresh = [entry for entry in entries if known.setdefault(entry.message_id, entry) is entry]
                spool.adopt(fresh)
                for entry in fresh:
                    entry.queued_s = time.monotonic()
                    self._outbox.add(entry)
                for entry in entries:  # a process died while it took over: the event is in both files
                    kept = known[entry.message_id]
                    if kept.first_ms is None and entry.first_ms is not None and entry.last_ms is not None:
                        kept.first_ms, kept.last_ms = entry.first_ms, entry.last_ms
                        spool.attempted([kept], entry.first_ms)
                        spool.attempted([kept], entry.last_ms)
                path.unlink()
                self._hold_or_let_go()
            except OSError as error:
                log.warning("a disk queue that was left could not be taken over (%s): %s", error, path)
            finally:
                os.close(file)

    def _open_spool_again(self) -> None:
        """Opens the file of a forked child, and anew one that could not be written. Under the lock."""
        now_s = time.monotonic()
        if now_s < self._disk_again_s:
            return
        is_new, self._disk_again_s = self._disk_again_s == 0.0, now_s + DISK_AGAIN_S
        try:
            self._open_spool()
            waiting = [entry for entry in self._outbox.waiting() if not entry.line]
            self._write(lambda spool: spool.adopt(waiting))
        except ConfigurationError as error:
            if is_new:
                log.warning("%s: events are in memory alone", error)

    def _write(self, act: Callable[[_spool.Spool], object]) -> None:
        if self._spool is None:
            return
        try:
            act(self._spool)
        except OSError as error:
            spool, self._spool = self._spool, None
            for entry in self._outbox.waiting():
                entry.line = 0
            self._disk_again_s = time.monotonic() + DISK_AGAIN_S
            log.warning("the disk queue cannot be written (%s): events are in memory alone", error)
            with suppress(OSError):  # not kept: nobody could note there what is sent from now on
                spool.close(keep=False)

    def _note_settled(self, entries: list[Entry]) -> None:
        stats = self._outbox.stats

        def note(spool: _spool.Spool) -> None:
            if spool.settled(entries, stats.queued, stats.queued_bytes):
                spool.rewrite(self._outbox.waiting())

        self._write(note)

    def _senders(self) -> int:
        """How many threads or tasks can be at work; one at least, which waits. Under the lock."""
        return max(1, self._outbox.senders(time.monotonic(), flush=self._flushing > 0))

    def _sync(self, attempt: Attempt) -> None:
        """Brings the disk queue to the disk before an attempt. Not under the lock: it takes milliseconds."""
        file = self._unsynced.pop(attempt, None)
        if file is None:
            return
        try:
            os.fsync(file)
        except OSError as error:
            log.warning("the disk queue cannot be synced (%s)", error)
        finally:
            os.close(file)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _end(self) -> list[Entry]:
        """Ends the client: the rest stays on disk, or is lost and given. Under the lock."""
        if self._is_closed:
            return []
        self._is_closed = True
        lost: list[Entry] = []
        if self._spool is not None:
            self._outbox.stats.on_disk = self._outbox.stats.queued
            keep = not self._outbox.is_empty()
            self._write(lambda spool: spool.close(keep=keep))
            self._spool = None
            self._outbox.leave()
        else:
            lost = self._outbox.give_up()
        self._hold_or_let_go()
        return lost

    def _copy_of_stats(self) -> Stats:
        stats = self._outbox.stats
        return replace(stats, dropped=stats.dropped.copy(), refused=stats.refused.copy(), unknown=stats.unknown.copy())


def traits_in(reply: Reply) -> dict[str, Any]:
    """The traits and segments that an answer holds. Raises `ApiError`, and `Unreachable` for what is not TinyCDP's."""
    if reply.status != 200:
        raise api_error(reply.status, reply.decoded(), reply.retry_after)
    body = reply.json()
    if not isinstance(body, dict):
        raise Unreachable("the answer is not TinyCDP's")
    return body
