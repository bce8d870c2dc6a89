"""Events on their way out: the whole of queueing, batching, splitting and repeating, without I/O, threads or a clock.

    put → queue ─┐
                 ├→ attempt → verdict ─┬→ settled: sent, refused, unknown
    urgent ──────┤                     └→ again, whole or in halves, not before its time
    retries ─────┘

While all is well two attempts may be under way, which have no id in common: the server reads one while it stores the
other, and the events of an id go out in the order they came in, but for those that are sent again. After a failure one
attempt is under way at a time. The shells (`client`, `async_client`) hold a lock around each call, send what
`next_attempt` gives, and hand the answer back with `settle`. Times are given: `now_s` of a clock that never goes back,
`wall_ms` of the calendar's.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Literal, TypeAlias

from ._answers import Fate, Verdict, wait_s
from ._events import ENVELOPE_BYTES, REQUEST_BYTES_MAX

State: TypeAlias = Literal["queued", "sending", "sent", "dropped", "refused", "unknown"]

#: For so long the server knows a repeat for certain; less an hour for clocks that differ.
REPEAT_MS_MAX = 23 * 3_600_000
#: A calendar that goes back by more than this between attempts cannot say how old the first one is.
CLOCK_BACK_MS_MAX = 60_000
#: So often a batch is answered 429 before it is split: one full id holds all others.
FULL_ANSWERS_MAX = 3
#: Reasons that are counted by name; those beyond are "other".
REASONS_MAX = 50
#: Attempts that may be under way at once.
LANES = 2
#: So many batches of events are looked through for those that may go beside an attempt under way.
BATCHES_LOOKED_THROUGH = 4


@dataclass(slots=True, eq=False)
class Entry:
    """An event on its way. `first_ms`, `last_ms`: the calendar's time of its first attempt that may have stored it, and
    of its last attempt. `line`: its number in the disk queue; 0 if it is not there."""

    body: bytes
    message_id: str
    ids: tuple[str, ...]
    queued_s: float
    state: State = "queued"
    reason: str = ""
    first_ms: int | None = None
    last_ms: int | None = None
    line: int = 0


def _count(reasons: Counter[str], key: str) -> None:
    reasons[key if key in reasons or len(reasons) < REASONS_MAX else "other"] += 1


def _names(entry: Entry) -> tuple[str, ...]:
    """Its ids. Events without any are of one nobody, and keep their order too."""
    return entry.ids or ("",)


def is_settled(entry: Entry) -> bool:
    """Whether its state is the last one."""
    return entry.state not in ("queued", "sending")


@dataclass(slots=True, eq=False)
class Attempt:
    """Entries that go out in one request; the number of this attempt for them, and how often they were told 429."""

    entries: list[Entry]
    number: int = 1
    full_answers: int = 0
    not_before_s: float = 0.0
    first_tries: list[Entry] = field(default_factory=list)  #: those that no attempt before this one may have stored


@dataclass(slots=True)
class Stats:
    """How many events are queued or under way, and what became of the others since the client was made.

    `refused`, `unknown` and `dropped` are by reason. `unknown`: they may count or not, and are not sent again.
    `on_disk`: a client that was closed left them in its disk queue, for the next process.
    """

    queued: int = 0
    queued_bytes: int = 0
    sent: int = 0
    on_disk: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)


class Outbox:
    """The events of one client.

    `queue_max`, `queue_bytes_max` bound what is queued or under way. `flush_at` events, a full request, or
    `flush_interval_s` after the oldest event make a batch due.
    """

    def __init__(
        self, *, queue_max: int, queue_bytes_max: int, flush_at: int, flush_interval_s: float, random: Random
    ) -> None:
        self.queue_max, self.queue_bytes_max = queue_max, queue_bytes_max
        self.flush_at, self.flush_interval_s = flush_at, flush_interval_s
        self.stats = Stats()
        self._random = random
        self._queue: deque[Entry] = deque()
        self._queue_bytes = 0
        self._urgent: deque[Entry] = deque()
        self._retries: list[Attempt] = []
        self._under_way: list[Attempt] = []
        self._is_blocked = False  # what is due has ids in common with what is under way
        self.failures = 0  # attempts in a row without an answer that stores
        self._paused_until_s = 0.0

    # ── in ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def has_room(self, size: int) -> bool:
        """Whether an event of so many bytes fits without dropping another."""
        return self.stats.queued < self.queue_max and self.stats.queued_bytes + size <= self.queue_bytes_max

    def put(self, entry: Entry) -> list[Entry]:
        """Queues an event; the oldest that had to go for it, which may be itself where all others are under way.

        What goes is dropped, or unknown if an attempt may have stored it.
        """
        lost: list[Entry] = []
        while not self.has_room(len(entry.body)):
            oldest = self._oldest_waiting()
            if oldest is None:
                self._settle(entry, "dropped", "queue full", counted=False)
                return [*lost, entry]
            self._settle(oldest, "dropped" if oldest.first_ms is None else "unknown", "queue full")
            lost.append(oldest)
        self.add(entry)
        return lost

    def add(self, entry: Entry) -> None:
        """Queues an event, whether or not there is room: one that another process left on disk."""
        self.stats.queued += 1
        self.stats.queued_bytes += len(entry.body)
        self._queue_bytes += len(entry.body)
        self._queue.append(entry)

    def changes_what_is_due(self) -> bool:
        """Whether the event that was queued last makes a batch due, or is the first that waits to become due."""
        return len(self._queue) in (1, self.flush_at) or self._queue_bytes >= REQUEST_BYTES_MAX

    def never_queued(self, entry: Entry, key: str) -> None:
        """Counts an event that was refused or dropped before it could be queued."""
        self._settle(entry, entry.state, entry.reason, key=key, counted=False)

    def _oldest_waiting(self) -> Entry | None:
        for attempt in self._retries:
            if attempt.entries:
                return attempt.entries.pop(0)
        if self._urgent:
            return self._urgent.popleft()
        return self._from_queue() if self._queue else None

    def _from_queue(self) -> Entry:
        entry = self._queue.popleft()
        self._queue_bytes -= len(entry.body)
        return entry

    def hurry(self, ids: Iterable[str]) -> list[Entry]:
        """Puts what is queued of these ids ahead of all else, in its order, and makes it due at once.

        Returns all of theirs that is not settled, also what is under way or waits to be sent again.
        """
        wanted = set(ids)
        rest: deque[Entry] = deque()
        for entry in self._queue:
            (self._urgent if wanted.intersection(entry.ids) else rest).append(entry)
        self._queue = rest
        self._queue_bytes = sum(len(entry.body) for entry in rest)
        self._is_blocked = False
        return [entry for entry in self.waiting() if wanted.intersection(entry.ids)]

    # ── out ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def next_attempt(self, now_s: float, wall_ms: int, *, flush: bool = False) -> tuple[Attempt | None, list[Entry]]:
        """The entries to send now, if any are due; and those that are given up.

        An entry is given up where nobody can say any more whether an earlier attempt counted. `flush` makes everything
        due that does not wait for its time after a refusal.
        """
        if self._waits_for_an_answer() or now_s < self._paused_until_s:
            return None, []
        given_up: list[Entry] = []
        attempt = self._due_retry(now_s)
        if attempt is None:
            attempt = self._new_attempt(now_s, flush)
        if attempt is None:
            return None, []
        attempt.entries, given_up = self._repeatable(attempt.entries, wall_ms)
        if not attempt.entries:
            return None, given_up
        attempt.first_tries = [entry for entry in attempt.entries if entry.first_ms is None]
        for entry in attempt.entries:
            entry.state = "sending"
            entry.last_ms = wall_ms
        for entry in attempt.first_tries:
            entry.first_ms = wall_ms
        self._under_way.append(attempt)
        return attempt, given_up

    def _due_retry(self, now_s: float) -> Attempt | None:
        self._retries = [attempt for attempt in self._retries if attempt.entries]
        for index, attempt in enumerate(self._retries):
            if attempt.not_before_s <= now_s:
                return self._retries.pop(index)
        return None

    def _waits_for_an_answer(self) -> bool:
        """Whether nothing may go out before an attempt is settled. What is sent again goes alone, to keep its order."""
        if not self._under_way:
            return False
        is_unwell = self.failures > 0 or any(attempt.entries for attempt in self._retries)
        return is_unwell or self._is_blocked or len(self._under_way) >= LANES

    def _is_due_at_once(self, flush: bool) -> bool:
        return flush or bool(self._urgent) or len(self._queue) >= self.flush_at or self._fills_a_request()

    def _fills_a_request(self) -> bool:
        return self._queue_bytes >= REQUEST_BYTES_MAX

    def _new_attempt(self, now_s: float, flush: bool) -> Attempt | None:
        source = self._urgent or self._queue
        if not source:
            return None
        has_waited = not self._under_way and now_s - source[0].queued_s >= self.flush_interval_s
        if not has_waited and not self._is_due_at_once(flush):
            return None
        going, staying, is_large = self._apart_from_under_way(source)
        # Beside another attempt goes a large one: else a slow answer would have the rest go out in small pieces.
        if not going or (self._under_way and not (is_large or flush or self._urgent)):
            self._is_blocked = True
            return None
        for _ in range(len(going) + len(staying)):
            source.popleft()
        source.extendleft(reversed(staying))
        if source is self._queue:
            self._queue_bytes -= sum(len(entry.body) for entry in going)
        return Attempt(going)

    def _apart_from_under_way(self, source: Iterable[Entry]) -> tuple[list[Entry], list[Entry], bool]:
        """What fits into a request of the entries whose ids are not under way; those that it goes ahead of; and whether
        it is half full at least. An entry that stays keeps the later ones of its ids back."""
        kept_back = {name for attempt in self._under_way for entry in attempt.entries for name in _names(entry)}
        going: list[Entry] = []
        staying: list[Entry] = []
        size = ENVELOPE_BYTES
        for entry in islice(source, BATCHES_LOOKED_THROUGH * self.flush_at):
            names = _names(entry)
            if not kept_back.isdisjoint(names):
                kept_back.update(names)
                staying.append(entry)
                continue
            size += len(entry.body) + 1
            if len(going) == self.flush_at or size > REQUEST_BYTES_MAX:
                break
            going.append(entry)
        return going, staying, 2 * len(going) >= self.flush_at or 2 * size >= REQUEST_BYTES_MAX

    def _repeatable(self, entries: list[Entry], wall_ms: int) -> tuple[list[Entry], list[Entry]]:
        kept, given_up = [], []
        for entry in entries:
            reason = ""
            if entry.first_ms is not None and entry.last_ms is not None:
                if wall_ms < entry.last_ms - CLOCK_BACK_MS_MAX:
                    reason = "the clock went back since an attempt that may have counted"
                elif wall_ms - entry.first_ms > REPEAT_MS_MAX:
                    reason = "an attempt 23 hours ago may have counted"
            if reason:
                self._settle(entry, "unknown", reason)
                given_up.append(entry)
            else:
                kept.append(entry)
        return kept, given_up

    def wake_s(self, now_s: float, *, flush: bool = False) -> float | None:
        """When something is due next, at the earliest; None while nothing is queued or an answer must come before."""
        if self._waits_for_an_answer():
            return None
        times = [attempt.not_before_s for attempt in self._retries if attempt.entries]
        if self._urgent or self._queue:
            if self._is_due_at_once(flush):
                times.append(now_s)
            elif not self._under_way:
                times.append(self._queue[0].queued_s + self.flush_interval_s)
        return max(min(times), self._paused_until_s) if times else None

    def senders(self, now_s: float, *, flush: bool = False) -> int:
        """How many can be at work now: one an attempt under way, and one more where another is due."""
        wake_s = self.wake_s(now_s, flush=flush)
        return len(self._under_way) + (wake_s is not None and wake_s <= now_s)

    # ── settled ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def settle(self, attempt: Attempt, verdict: Verdict, now_s: float) -> list[Entry]:
        """What the answer makes of the attempt; the entries that are settled by it, none where the client has ended."""
        if attempt not in self._under_way:
            return []
        self._under_way.remove(attempt)
        self._is_blocked = False
        if not verdict.is_ambiguous:
            for entry in attempt.first_tries:  # no attempt before this one may have counted either
                entry.first_ms = None
        if verdict.fate in (Fate.STORED, Fate.SPLIT):
            self.failures = 0
        match verdict.fate:
            case Fate.STORED:
                for index, entry in enumerate(attempt.entries):
                    if index in verdict.rejected:
                        code, message = verdict.rejected[index]
                        self._settle(entry, "refused", message, key=code)
                    else:
                        self._settle(entry, "sent", "")
                return attempt.entries
            case Fate.SPLIT if len(attempt.entries) == 1:
                (entry,) = attempt.entries
                state: State = "refused" if entry.first_ms is None else "unknown"
                self._settle(entry, state, verdict.reason, key="request refused")
                return attempt.entries
            case Fate.SPLIT:
                self._again(self._halves(attempt), now_s)
            case Fate.HELD:
                self._pause(now_s, None)
                self._again([attempt], self._paused_until_s)
            case Fate.AGAIN:
                self._repeat(attempt, verdict, now_s)
        return []

    def interrupted(self, now_s: float) -> None:
        """The attempts under way got no answer, since who sent them has ended; they are due at once."""
        attempts, self._under_way = self._under_way, []
        self._again(attempts, now_s)
        self._paused_until_s = min(self._paused_until_s, now_s)

    def _repeat(self, attempt: Attempt, verdict: Verdict, now_s: float) -> None:
        is_full = verdict.reason.startswith("429")
        attempt.full_answers += is_full
        attempt.number += 1
        if is_full and attempt.full_answers >= FULL_ANSWERS_MAX:
            # One full id holds the others: they are asked apart from it, and it waits by itself.
            wait = wait_s(attempt.number - 1, verdict.retry_after_s, self._random)
            self._again(self._halves(attempt), now_s + wait)
            return
        self._pause(now_s, verdict.retry_after_s)
        self._again([attempt], self._paused_until_s)

    def _pause(self, now_s: float, retry_after_s: float | None) -> None:
        if now_s >= self._paused_until_s:  # else the attempt beside this one has counted the failure
            self.failures += 1
        until_s = now_s + wait_s(self.failures, retry_after_s, self._random)
        self._paused_until_s = max(self._paused_until_s, until_s)

    def _halves(self, attempt: Attempt) -> list[Attempt]:
        if len(attempt.entries) == 1:
            return [attempt]
        middle = len(attempt.entries) // 2
        parts = (attempt.entries[:middle], attempt.entries[middle:])
        return [Attempt(part, attempt.number, attempt.full_answers) for part in parts]

    def _again(self, attempts: list[Attempt], not_before_s: float) -> None:
        for attempt in attempts:
            attempt.not_before_s = not_before_s
            for entry in attempt.entries:
                entry.state = "queued"
        self._retries += attempts

    def _settle(self, entry: Entry, state: State, reason: str, *, key: str = "", counted: bool = True) -> None:
        """Ends an entry's way. `key` is what it is counted under, one of few; the reason may say more."""
        entry.state, entry.reason = state, reason
        key = key or reason
        if counted:
            self.stats.queued -= 1
            self.stats.queued_bytes -= len(entry.body)
        match state:
            case "sent":
                self.stats.sent += 1
            case "dropped":
                _count(self.stats.dropped, key)
            case "refused":
                _count(self.stats.refused, key)
            case "unknown":
                _count(self.stats.unknown, key)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def is_empty(self) -> bool:
        """Whether nothing is queued or under way."""
        return self.stats.queued == 0

    def waiting(self) -> list[Entry]:
        """Every entry that is not settled, in order."""
        under_way = [entry for attempt in self._under_way for entry in attempt.entries]
        retried = [entry for attempt in self._retries for entry in attempt.entries]
        return [*under_way, *retried, *self._urgent, *self._queue]

    def leave(self) -> None:
        """Forgets what is not settled: it stays on disk, queued for the next process."""
        for entry in self.waiting():
            entry.state = "queued"
        self._queue, self._urgent, self._retries, self._under_way = deque(), deque(), [], []
        self._queue_bytes = self.stats.queued = self.stats.queued_bytes = 0

    def give_up(self) -> list[Entry]:
        """Every entry that is not settled, for a client that ends. The outbox is empty afterwards.

        It is unknown if an attempt may have stored it, else dropped.
        """
        entries = self.waiting()
        self._queue, self._urgent, self._retries, self._under_way = deque(), deque(), [], []
        self._queue_bytes = 0
        for entry in entries:
            state: State = "dropped" if entry.first_ms is None else "unknown"
            self._settle(entry, state, "the client was closed before it was acknowledged", key="closed")
        return entries
