"""What API processes do, noted in Redis every ten seconds: events, decisions and latencies, and what flags answered.

    hot path  →  `Tally`: a number in this process
    `Recorder`: what a process did since it noted last  →  added to the numbers of a minute, and of a day
    `over_time`, `of_flags`: what all processes did, from these numbers

A note is added at most once, so no number is ever too high. What is lost is what a process did since its last note when
it dies, and what it did while Redis is away or nearly full: activity is the first to go there.

Latencies are counted in the buckets of `serving.http.tally.SECONDS`. Counts of several processes and minutes add up to
the counts of all, so their percentiles are those of all requests, as far as the buckets tell.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import structlog

from serving.engine import Engine
from serving.http.tally import SECONDS, Answered, Tally
from serving.store.deadlines import within
from serving.store.errors import StoreError

log = structlog.get_logger()

#: How often a process notes what it did, and how long it waits for Redis then.
NOTE_S, WAIT_S = 10, 2.0
MINUTE_MS, DAY_MS = 60_000, 86_400_000
#: How long minutes and days are kept.
MINUTES_KEPT, DAYS_KEPT = 48 * 60, 90
#: A flag that no app has named for so many days is stale.
STALE_DAYS = 30

#: What a request is for, as far as it is counted.
Work: TypeAlias = Literal["decide", "ingest"]
WORKS: tuple[Work, ...] = ("decide", "ingest")

#: The parts of a field's name. No key of a flag and no name of a variant has it.
_APART = "\0"
_LAST = "last"
_BY_NAME, _IN_BULK = "name", "bulk"


# ── noting ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Recorder:
    """Notes what one process did since it noted last. `work_of` says what requests of a path template are for."""

    def __init__(self, engine: Engine, work_of: Callable[[str], Work | None]) -> None:
        self._engine, self._work_of = engine, work_of
        self._noted: dict[str, int] = {}

    async def run(self) -> None:
        """Notes at the tens of seconds of the clock, so that a minute has what happened in it."""
        while True:
            await asyncio.sleep(NOTE_S - time.time() % NOTE_S)
            await self.note()

    @within(WAIT_S)
    async def note(self) -> None:
        """Adds what was done since the last note. While Redis is away or nearly full it is dropped."""
        now_ms, tally = self._engine.clock_ms(), self._engine.tally
        counts = done(tally, self._work_of)
        of_minute = {name: more for name, count in counts.items() if (more := count - self._noted.get(name, 0))}
        self._noted = counts
        answers, tally.answers = tally.answers, {}
        if not of_minute and not answers:
            return
        happened_ms = now_ms - NOTE_S * 1_000 // 2  # the middle of what is noted
        of_day = {_field(answered): count for answered, count in answers.items()}
        last = {_APART.join((flag, _LAST)): now_ms for flag, _, by_name in answers if by_name}
        store = self._engine.store
        try:
            if not (await store.memory()).is_nearly_full:
                await store.add_activity(
                    now_ms, happened_ms // MINUTE_MS, of_minute, happened_ms // DAY_MS, of_day, last
                )
        except StoreError as error:
            log.info("activity_dropped", error=str(error))
        except Exception as error:  # a task that ends would note nothing any more
            log.error("activity_not_noted", exc_info=error)


def done(tally: Tally, work_of: Callable[[str], Work | None]) -> dict[str, int]:
    """What a process has done since it began, by the names of a minute's fields; zeros are left out."""
    counts = {"events": tally.accepted, "decisions": sum(tally.reasons.values())}
    for (_, template), requests in tally.requests.items():
        work = work_of(template)
        if work is not None:
            for bucket, count in enumerate(requests.seconds.counts):
                name = f"{work}:{bucket}"
                counts[name] = counts.get(name, 0) + count
    return {name: count for name, count in counts.items() if count}


def _field(answered: Answered) -> str:
    flag, variant, by_name = answered
    return _APART.join((flag, _BY_NAME if by_name else _IN_BULK, variant))


# ── by the minute ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Latency:
    """How long requests took, in ms, each percentile within the bucket that it falls into; None without a request."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class Done:
    """What all API processes did in some minutes from `at_ms` on, UTC."""

    at_ms: int
    events: int
    decisions: int
    decide: Latency
    ingest: Latency


def over_time(numbers: Sequence[Mapping[str, int]], first_minute: int, step: int) -> list[Done]:
    """What was done in each `step` minutes, in order. `numbers` are those of each minute, from the first on."""
    return [
        summed(numbers[start : start + step], (first_minute + start) * MINUTE_MS)
        for start in range(0, len(numbers), step)
    ]


def summed(numbers: Iterable[Mapping[str, int]], at_ms: int) -> Done:
    """What was done in several minutes together."""
    total: dict[str, int] = {}
    for of_minute in numbers:
        for name, count in of_minute.items():
            total[name] = total.get(name, 0) + count
    latencies = {
        work: latency([total.get(f"{work}:{bucket}", 0) for bucket in range(len(SECONDS) + 1)]) for work in WORKS
    }
    return Done(at_ms, total.get("events", 0), total.get("decisions", 0), latencies["decide"], latencies["ingest"])


def latency(counts: Sequence[int]) -> Latency:
    """The percentiles of requests that were counted in the buckets of `SECONDS`."""
    return Latency(sum(counts), *(percentile_ms(counts, share) for share in (0.5, 0.95, 0.99)))


def percentile_ms(counts: Sequence[int], share: float) -> float | None:
    """The latency that this share of requests does not exceed, even within its bucket; the last has no upper bound."""
    total = sum(counts)
    if not total:
        return None
    below, lower_s = 0.0, 0.0
    for count, upper_s in zip(counts, SECONDS, strict=False):
        if count and below + count >= share * total:
            return round(1000 * (lower_s + (upper_s - lower_s) * (share * total - below) / count), 3)
        below, lower_s = below + count, upper_s
    return 1000 * SECONDS[-1]


# ── by the day ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Answers:
    """How often a flag answered a variant, by name and in bulk."""

    by_name: int = 0
    in_bulk: int = 0

    def __add__(self, other: Answers) -> Answers:
        return Answers(self.by_name + other.by_name, self.in_bulk + other.in_bulk)

    @property
    def total(self) -> int:
        """However it was asked."""
        return self.by_name + self.in_bulk


@dataclass(frozen=True)
class FlagActivity:
    """What a flag answered apps: by day since 1970, then by variant; and when an app named it last, UTC ms."""

    days: Mapping[int, Mapping[str, Answers]]
    last_asked_ms: int | None

    def by_variant(self) -> dict[str, Answers]:
        """The answers of all days, by variant."""
        total: dict[str, Answers] = {}
        for of_day in self.days.values():
            for variant, answers in of_day.items():
                total[variant] = total.get(variant, Answers()) + answers
        return dict(sorted(total.items()))


NO_ACTIVITY = FlagActivity({}, None)


def of_flags(numbers: Mapping[int, Mapping[str, int]], shown: range) -> dict[str, FlagActivity]:
    """What each flag answered on the days that are `shown`, and when it was last asked by name on any.

    `numbers` are those of each day since 1970.
    """
    days: dict[str, dict[int, dict[str, Answers]]] = {}
    last_ms: dict[str, int] = {}
    for day, of_day in numbers.items():
        for flag, way, variant, count in _fields(of_day):
            if way == _LAST:
                last_ms[flag] = max(count, last_ms.get(flag, 0))
            elif day in shown:
                answers = days.setdefault(flag, {}).setdefault(day, {})
                more = Answers(by_name=count) if way == _BY_NAME else Answers(in_bulk=count)
                answers[variant] = answers.get(variant, Answers()) + more
    return {flag: FlagActivity(days.get(flag, {}), last_ms.get(flag)) for flag in {*days, *last_ms}}


def _fields(of_day: Mapping[str, int]) -> Iterator[tuple[str, str, str, int]]:
    for name, count in of_day.items():
        flag, way, *variant = name.split(_APART, 2)
        yield flag, way, "".join(variant), count


def is_stale(activity: FlagActivity, changed_ms: int, since_ms: int | None, is_needed: bool, now_ms: int) -> bool:
    """Whether no app has named a flag for `STALE_DAYS`, as far as that can be said.

    It cannot where the flag was changed since, where the record begins later, or where another flag needs it.
    """
    before_ms = now_ms - STALE_DAYS * DAY_MS
    if since_ms is None or is_needed:
        return False
    return max(since_ms, changed_ms, activity.last_asked_ms or 0) < before_ms
