"""Every window edge, in one file.

A window of length w at `now` holds the events with ``now - w < ts <= now``, in UTC milliseconds: an event that is
exactly w old is out, one at `now` is in. A window of N calendar dates holds the events whose date, in the workspace's
time zone, is today or one of the N - 1 dates before. Both follow one rule, ``lower_ms(window, now) < ts <= now``, and
have lower edges of their own.

An id with many events keeps its base as **spans** (one merged state each) between **edges** (raw events). A base is
aligned to an instant T and good for a horizon D. Its edges hold the only events that can leave a window before T + D.
So a span is wholly inside or wholly outside a window for every `now` in [T, T + D). No inverse is needed, which keeps
min, max and distinct exact too. (Chronon's FinalBatchIr collapses the middle the same way, with hops where we keep
events.)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

WINDOW_MS_MAX = 3_650 * DAY_MS

UNIT_MS: dict[str, int] = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


#: Before every event. A span that starts here is lifetime history.
BEGINNING_MS = -(2**62)
#: After every event.
END_MS = 2**62


@dataclass(frozen=True, order=True)
class Window:
    """How far an aggregate looks back: `length` units of time, or, with `dates`, `length` calendar dates."""

    length: int
    unit: Literal["m", "h", "d"] = "d"
    dates: bool = False

    @cached_property
    def ms(self) -> int:
        """The length in milliseconds. A date counts 24 hours."""
        return self.length * UNIT_MS[self.unit]

    @property
    def reach_ms(self) -> int:
        """A length that the window never exceeds, whatever the hour and the time zone's changes."""
        return self.ms + DAY_MS if self.dates else self.ms

    def __str__(self) -> str:
        return f"{self.length}{self.unit}"


@dataclass(frozen=True)
class Zone:
    """The workspace's calendar: the date of each instant. A date is a number of days since 1970-01-01."""

    name: str = "UTC"

    def day(self, ts_ms: int) -> int:
        """The date of an instant."""
        if self.name == "UTC":
            return ts_ms // DAY_MS
        starts_ms, offsets_ms, least_days = self.calendar
        at = bisect_right(starts_ms, ts_ms) - 1
        return max((ts_ms + offsets_ms[at]) // DAY_MS, least_days[at])

    def day_start_ms(self, day: int) -> int:
        """The first instant of a date. For a date that the zone left out it is the first instant of the next."""
        if self.name == "UTC":
            return day * DAY_MS
        starts_ms, offsets_ms, least_days = self.calendar
        at = bisect_left(least_days, day, 1) - 1  # the next period has no earlier date
        return max(starts_ms[at], day * DAY_MS - offsets_ms[at])

    @property
    def calendar(self) -> Calendar:
        """The periods from which dates follow."""
        return _calendar(self.name)


class Calendar(NamedTuple):
    """The periods between two changes of a zone's offset from UTC: when each starts, its offset, its least date.

    The date of an instant is ``max((ts + offset) // 24 h, least)``. A date that has begun goes on where clocks are put
    back over midnight, as they were in Newfoundland at 00:01. Otherwise a window of dates would have two lower edges.
    """

    starts_ms: list[int]
    offsets_ms: list[int]
    least_days: list[int]


UTC_ZONE = Zone()

#: Changes are searched in these years. No zone's history begins before. Before and after, the offset stays.
_FIRST_YEAR, _LAST_YEAR = 1800, 2100


@lru_cache(maxsize=32)  # a process has one zone, tests have more
def _calendar(name: str) -> Calendar:
    """The periods of a zone by name. They are found by a search through all days, since `ZoneInfo` lists no changes."""
    zone = ZoneInfo(name)

    def offset_at(moment: datetime) -> timedelta:
        """The offset at an instant whose date and time are those of UTC, though it says that they are the zone's."""
        offset = zone.fromutc(moment).utcoffset()
        assert offset is not None, "a zone has an offset at all times"
        return offset

    day, second, ms = timedelta(days=1), timedelta(seconds=1), timedelta(milliseconds=1)
    epoch = datetime(1970, 1, 1, tzinfo=zone)
    moment, last = (datetime(year, 1, 1, tzinfo=zone) for year in (_FIRST_YEAR, _LAST_YEAR))
    offset = offset_at(moment)
    calendar = Calendar([BEGINNING_MS], [offset // ms], [BEGINNING_MS // DAY_MS])
    while moment < last:
        following = moment + day
        changed = offset_at(following)
        if changed != offset:
            seconds = bisect_left(range(day // second), True, key=lambda at: offset_at(moment + at * second) != offset)
            start_ms = (moment + seconds * second - epoch) // ms
            calendar.least_days.append(max((start_ms - 1 + offset // ms) // DAY_MS, calendar.least_days[-1]))
            calendar.starts_ms.append(start_ms)
            calendar.offsets_ms.append(changed // ms)
            offset = changed
        moment = following
    return calendar


def lower_ms(window: Window | None, now_ms: int, zone: Zone = UTC_ZONE) -> int:
    """The instant up to which nothing counts: an event is inside when ``lower_ms(…) < ts <= now``."""
    if window is None:
        return BEGINNING_MS
    if window.dates:
        return zone.day_start_ms(zone.day(now_ms) - window.length + 1) - 1
    return now_ms - window.ms


@dataclass(frozen=True)
class Cuts:
    """The intervals (low, high] into which time is cut for a base that is aligned to T, each list in order.

    A base keeps the events in `edges` raw, and one state for each interval of `spans`. Together they cover all of time
    once.
    """

    edges: tuple[tuple[int, int], ...]
    spans: tuple[tuple[int, int], ...]


def light_cuts(windows: Iterable[Window | None], as_of_ms: int, zone: Zone = UTC_ZONE) -> Cuts:
    """Cuts for an id with few events: the events that a finite window can still reach are raw, older ones a span."""
    lowers = [lower_ms(window, as_of_ms, zone) for window in windows if window is not None]
    cut = min([*lowers, as_of_ms])
    return Cuts(edges=((cut, END_MS),), spans=((BEGINNING_MS, cut),))


def heavy_cuts(windows: Iterable[Window | None], as_of_ms: int, horizon_ms: int, zone: Zone = UTC_ZONE) -> Cuts:
    """Cuts for an id with many events: an event is raw only if it can leave a window before T + D, or came after T."""
    raw = [(as_of_ms, END_MS)]
    for window in windows:
        if window is not None:
            low = lower_ms(window, as_of_ms, zone)
            high = min(lower_ms(window, as_of_ms + horizon_ms - 1, zone), as_of_ms)
            if low < high:
                raw.append((low, high))
    edges: list[tuple[int, int]] = []
    for low, high in sorted(raw):
        if edges and low <= edges[-1][1]:
            edges[-1] = (edges[-1][0], max(edges[-1][1], high))
        else:
            edges.append((low, high))
    spans, start = [], BEGINNING_MS
    for low, high in edges:
        spans.append((start, low))
        start = high
    # A window whose edge is empty (dates whose midnight lies beyond the horizon) still cuts: no span may straddle it.
    inner = sorted({lower_ms(window, as_of_ms, zone) for window in windows if window is not None})
    split: list[tuple[int, int]] = []
    for low, high in spans:
        points = [low, *(point for point in inner if low < point < high), high]
        split.extend(pairwise(points))
    return Cuts(edges=tuple(edges), spans=tuple(split))
