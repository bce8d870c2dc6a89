"""Every window edge, in one file.

A window of length w at `now` holds the events with ``now - w < ts <= now``, in UTC milliseconds: an event exactly w
old is out, one at `now` is in. A window of N calendar dates holds the events whose date, in the workspace's time zone,
is today or one of the N - 1 dates before it. Both are one rule with two lower edges:
``lower_ms(window, now) < ts <= now``.

An id with many events keeps its base as **spans** (one merged state each) between **edges** (raw events). Aligned to an
instant T and good for a horizon D, an edge holds the only events that can leave a window before T + D, so a span is
always wholly inside or wholly outside a window for every `now` in [T, T + D). No inverse is needed, which keeps min,
max and distinct exact too. (Chronon's FinalBatchIr collapses the middle the same way, with hops where we keep events.)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

WINDOW_MS_MIN = MINUTE_MS
WINDOW_MS_MAX = 3_650 * DAY_MS

UNIT_MS: dict[str, int] = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}

#: Before every event. A span that starts here is lifetime history.
BEGINNING_MS = -(2**62)
#: After every event.
END_MS = 2**62


@dataclass(frozen=True, order=True)
class Window:
    """How far an aggregate looks back: a length in milliseconds, or, where `dates`, that many calendar dates."""

    length: int
    unit: Literal["m", "h", "d"] = "d"
    dates: bool = False

    @cached_property
    def ms(self) -> int:
        """The length in milliseconds; for dates, that of as many 24-hour days."""
        return self.length * UNIT_MS[self.unit]

    @property
    def reach_ms(self) -> int:
        """A length that is never shorter than the window, whatever the hour and the time zone's changes."""
        return self.ms + DAY_MS if self.dates else self.ms

    def __str__(self) -> str:
        return f"{self.length}{self.unit}"


@dataclass(frozen=True)
class Zone:
    """The workspace's calendar: which date an instant falls on. Dates are days since 1970-01-01."""

    name: str = "UTC"

    def day(self, ts_ms: int) -> int:
        """The date of an instant."""
        if self.name == "UTC":
            return ts_ms // DAY_MS
        first, starts = _day_starts(self.name)
        return first + bisect_right(starts, ts_ms) - 1

    def day_start_ms(self, day: int) -> int:
        """The first instant of a date."""
        if self.name == "UTC":
            return day * DAY_MS
        first, starts = _day_starts(self.name)
        return starts[min(max(day - first, 0), len(starts) - 1)]


UTC_ZONE = Zone()


@lru_cache(maxsize=4)
def _day_starts(name: str) -> tuple[int, list[int]]:
    """The first day of the table and the first instant of every date from 1969 to 2100, in order.

    A table turns the calendar into a bisection: asking the time zone database for each event would cost more than all
    the rest of reading it. Where a date begins inside a clock change, its first existing instant is taken.
    """
    zone = ZoneInfo(name)
    first, last = date(1969, 1, 1), date(2100, 1, 1)
    starts = []
    for offset in range((last - first).days):
        midnight = datetime.combine(first + timedelta(days=offset), datetime.min.time(), tzinfo=zone)
        instant = midnight.astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) != midnight.replace(tzinfo=None):
            instant = datetime.combine(first + timedelta(days=offset), datetime.min.time(), tzinfo=UTC) - (
                zone.utcoffset(midnight.replace(fold=0)) or timedelta()
            )
        starts.append(int(instant.timestamp()) * 1000)
    return (first - date(1970, 1, 1)).days, starts


def lower_ms(window: Window | None, now_ms: int, zone: Zone = UTC_ZONE) -> int:
    """The edge below which nothing counts: an event is inside when ``lower_ms(…) < ts <= now``."""
    if window is None:
        return BEGINNING_MS
    if window.dates:
        return zone.day_start_ms(zone.day(now_ms) - window.length + 1) - 1
    return now_ms - window.ms


@dataclass(frozen=True)
class Cuts:
    """How time is cut for a base aligned to T: intervals (lo, hi], in order, raw events and spans in turn.

    `edges` are kept as raw events; `spans` as one state each. Together they cover all of time once.
    """

    edges: tuple[tuple[int, int], ...]
    spans: tuple[tuple[int, int], ...]


def light_cuts(windows: Iterable[Window | None], as_of_ms: int, zone: Zone = UTC_ZONE) -> Cuts:
    """For an id with few events: all that a finite window can still reach is raw, what is older is one span."""
    lowers = [lower_ms(window, as_of_ms, zone) for window in windows if window is not None]
    cut = min([*lowers, as_of_ms])
    return Cuts(edges=((cut, END_MS),), spans=((BEGINNING_MS, cut),))


def heavy_cuts(windows: Iterable[Window | None], as_of_ms: int, horizon_ms: int, zone: Zone = UTC_ZONE) -> Cuts:
    """For an id with many events: raw only where an event can leave a window before T + D, or came after T."""
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
    # Windows whose edge is empty (dates whose midnight lies beyond the horizon) still cut: no span may straddle them.
    inner = sorted({lower_ms(window, as_of_ms, zone) for window in windows if window is not None})
    split: list[tuple[int, int]] = []
    for low, high in spans:
        points = [low, *(point for point in inner if low < point < high), high]
        split.extend(pairwise(points))
    return Cuts(edges=tuple(edges), spans=tuple(split))
