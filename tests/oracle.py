"""The naive execution: loops and ifs over a plain list of events. It judges all others.

Written from the numbered semantics (S1 to S12 in the README) and from nothing else: no slots, no monoids, no states.
Which copies of an event count is in `oracle_copies`, what single values mean in `oracle_values`, in fractions and
decimals of the standard library, so that a slip in our own arithmetic shows. All in one file of 150 lines would be
unreadable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from expressions import ops
from expressions.bases import RawEvent
from tests.history import Event
from tests.oracle_values import called, compared, computed, dated, decimal, equal, flat, order, percentile, plain, truth

MS = {"minutes": 60_000, "hours": 3_600_000, "days": 86_400_000}
VALUES_MAX = 10_000
PERCENTS = {"median": 50, "p90": 90, "p95": 95, "p99": 99}


def judge(
    node: ops.Expr, events: Sequence[Event | RawEvent], now: int, zone: str = "UTC", user: str = ""
) -> tuple[Any, bool]:
    """The value of an inlined expression for one user, of events that count, in any order; whether it is exact."""
    oracle = _Oracle([one for one in events if one.ts_ms <= now], now, ZoneInfo(zone), user)
    return oracle.value(node), oracle.exact


class _Oracle:
    def __init__(self, events: list[Event | RawEvent], now: int, zone: ZoneInfo, user: str) -> None:
        self.events, self.now, self.zone, self.user, self.exact = events, now, zone, user, True

    def value(self, node: ops.Expr, event: Event | RawEvent | None = None) -> Any:
        match node:
            case ops.Constant():
                return node.value
            case ops.Attribute():
                return self.attribute(node)
            case ops.Property():
                assert event is not None, "properties stand in where(…)"
                return plain(flat(event.fields).get(node.name))
            case ops.Aggregation():
                return self.aggregated(node)
            case ops.And():  # short, as S5 says
                return truth(self.value(node.left, event)) and truth(self.value(node.right, event))
            case ops.Or():
                return truth(self.value(node.left, event)) or truth(self.value(node.right, event))
        inner = [self.value(one, event) for one in ops.children(node)]
        match node:
            case ops.ListOf():
                return tuple(inner)
            case ops.Not():
                return not truth(inner[0])
            case ops.Compare():
                return compared(node.op, *inner)
            case ops.In():
                return isinstance(inner[1], tuple) and any(equal(inner[0], one) for one in inner[1])
            case ops.Negate():
                return computed("-", 0.0, inner[0])
            case ops.Arithmetic():
                return computed(node.op, *inner)
            case ops.Call("bucket"):
                digest = hashlib.sha256(f"{inner[0]}:{self.user}".encode()).digest()
                return float((int.from_bytes(digest[:7]) >> 4) % 100_000)
            case ops.Call():
                return called(node.function, inner, self.now, self.zone)
        raise TypeError(node)

    def attribute(self, node: ops.Attribute) -> Any:
        """S8."""
        found, newest = None, None
        for one in self.events:
            if one.kind == "identify" and node.key in one.fields:
                rank = (one.ts_ms, order(one.fields[node.key]))
                if newest is None or rank > newest:
                    found, newest = one.fields[node.key], rank
        for name in node.path:
            found = found.get(name) if isinstance(found, dict) else None
        return plain(found)

    def day(self, ts_ms: int) -> date:
        return dated(ts_ms, self.zone)

    def aggregated(self, node: ops.Aggregation) -> Any:
        source, window, found = node.source, node.window, []
        for one in self.events:
            if one.kind not in ("track", "page", "screen") or source.event not in (None, one.name):
                continue
            if source.where is not None and not truth(self.value(source.where, one)):
                continue
            if window is not None and node.aggregate == "unique_days":
                if (self.day(self.now) - self.day(one.ts_ms)).days >= window.length:
                    continue
            elif window is not None and one.ts_ms <= self.now - window.ms:
                continue
            value = True if source.property is None else plain(flat(one.fields).get(source.property))
            if value is not None:
                found.append((one.ts_ms, value))
        return self.summary(node.aggregate, sorted(found, key=lambda pair: (pair[0], order(pair[1]))))

    def summary(self, name: str, found: list[tuple[int, Any]]) -> Any:
        """S2, S6, S7, S12: an aggregate of (ts, value), in order."""
        times, values = [ts for ts, _ in found], [value for _, value in found]
        numbers = sorted(value for value in values if type(value) is float)
        strings = sorted(value for value in values if type(value) is str)
        scalars = sorted((value for value in values if type(value) is not tuple), key=order)
        groups = [(value, len(list(equals))) for (_, value), equals in groupby(scalars, key=order)]
        exact = [Fraction(decimal(number, 6)) for number in numbers if abs(number) <= 10**12]
        if name in (*PERCENTS, "unique", "values", "most_frequent"):  # S12: the least are held, of percentiles numbers
            self.exact &= len(set(numbers) if name in PERCENTS else groups) <= VALUES_MAX
            groups = groups[:VALUES_MAX]
        if name in PERCENTS:
            greatest = sorted(set(numbers))[:VALUES_MAX][-1:]
            return percentile([one for one in numbers if one <= greatest[0]], PERCENTS[name])
        if name.endswith("_ago"):
            which, _, unit, _ = name.split("_")
            return float((self.now - times[-(which == "last")]) // MS[unit]) if times else None
        return {
            "count": float(len(found)),
            "unique_days": float(len({self.day(ts) for ts in times})),
            "sum": float(sum(exact)),
            "avg": float(sum(exact) / len(exact)) if exact else None,
            "min": next(iter([*numbers, *strings]), None),
            "max": next(iter([*reversed(strings), *reversed(numbers)]), None),
            "first": next(iter(values), None),
            "last": next(iter(values[::-1]), None),
            "unique": float(len(groups)),
            "values": tuple(value for value, _ in groups),
            "most_frequent": max(groups, key=lambda pair: pair[1], default=(None, 0))[0],
        }[name]
