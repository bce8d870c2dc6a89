"""The naive execution: loops and ifs over a plain list of events. It judges all others.

Written from the numbered semantics alone: no slots, no monoids, no windows of its own cleverness. Decimal and date-time
arithmetic come from the standard library, so that a slip in ours shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from expressions.bases import RawEvent
from expressions.ops import (
    Aggregation,
    And,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Constant,
    Expr,
    In,
    ListOf,
    Negate,
    Not,
    Or,
    Property,
)

RANK = {bool: 1, float: 2, str: 3, tuple: 4, dict: 5}


def naive(node: Expr, events: Sequence[RawEvent], now: int, zone: str = "UTC", event: RawEvent | None = None) -> Any:
    """The value of an inlined expression for one user with these events (identifies among them)."""

    def value(one: Expr) -> Any:
        return naive(one, events, now, zone, event)

    match node:
        case Constant(constant):
            return constant
        case ListOf(items):
            return tuple(value(item) for item in items)
        case Attribute(key, path):
            return attribute(events, key, path)
        case Property(name):
            return plain(event.fields.get(name)) if event else None
        case Aggregation():
            return aggregation(node, events, now, zone)
        case Not(operand):
            return not truth(value(operand))
        case And(left, right):
            return truth(value(left)) and truth(value(right))
        case Or(left, right):
            return truth(value(left)) or truth(value(right))
        case Compare(op, left, right):
            return compare(op, value(left), value(right))
        case In(item, collection):
            items = value(collection)
            return isinstance(items, tuple) and any(equal(value(item), one) for one in items)
        case Negate(operand):
            return arithmetic("-", 0.0, value(operand))
        case Arithmetic(op, left, right):
            return arithmetic(op, value(left), value(right))
        case Call(function, args):
            return call(function, [value(arg) for arg in args], now)
    raise TypeError(node)


def plain(raw: Any) -> Any:
    """A JSON value as a value: numbers as floats, lists of scalars, no objects."""
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return float(raw) + 0.0
    if isinstance(raw, (list, tuple)):
        return tuple(None if isinstance(item, (list, dict, tuple)) else plain(item) for item in raw)
    return None if isinstance(raw, Mapping) else raw


def order(one: Any) -> tuple[Any, ...]:
    return (RANK[type(one)], repr(one) if isinstance(one, (tuple, dict)) else one)


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(equal(one, other) for one, other in zip(left, right, strict=True))
    return type(left) is type(right) and left == right


def truth(one: Any) -> bool:
    return one is not None and one is not False and one not in (0.0, "")


def compare(op: str, left: Any, right: Any) -> bool:
    if op in ("==", "!="):
        return equal(left, right) == (op == "==")
    if type(left) is not type(right) or type(left) not in (float, str):
        return False
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[op])


def arithmetic(op: str, left: Any, right: Any) -> Any:
    if type(left) is not float or type(right) is not float:
        return None
    if op in ("/", "%") and right == 0:
        return None
    try:
        if op == "%":
            found = left - right * math.floor(left / right)
        else:
            found = left / right if op == "/" else eval(f"left {op} right")
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def rounded(number: float, decimals: int) -> float:
    try:
        return float(Decimal(repr(number)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)) + 0.0
    except ArithmeticError:  # more digits than there is room for: nothing to round
        return number


def call(function: str, args: list[Any], now: int) -> Any:
    first = args[0]
    if function == "if":
        return args[1] if truth(first) else args[2]
    if function == "coalesce":
        return next((one for one in args if one is not None), None)
    if function == "contains" and isinstance(first, tuple):
        return any(equal(one, args[1]) for one in first)
    if function in ("contains", "starts_with", "ends_with"):
        if not isinstance(first, str) or not isinstance(args[1], str):
            return False
        return {
            "contains": args[1] in first,
            "starts_with": first.startswith(args[1]),
            "ends_with": first.endswith(args[1]),
        }[function]
    if function in ("lower", "upper"):
        if not isinstance(first, str):
            return None
        return "".join(getattr(letter, function)() if letter.isascii() else letter for letter in first)
    if function == "length":
        return float(len(first)) if isinstance(first, (str, tuple)) else None
    if function in ("abs", "round"):
        if type(first) is not float:
            return None
        return abs(first) if function == "abs" else rounded(first, int(args[1]) if len(args) == 2 else 0)
    assert function == "days_since", function
    if not isinstance(first, str) or not first[:4].isdigit():
        return None
    try:
        at = datetime.fromisoformat(first.replace("z", "Z"))
    except ValueError:
        return None
    ms = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return float((now - ms // timedelta(milliseconds=1)) // 86_400_000)


def attribute(events: Sequence[RawEvent], key: str, path: tuple[str, ...]) -> Any:
    newest: tuple[Any, ...] | None = None
    held: Any = None
    for one in events:
        if one.kind == "identify" and key in one.fields:
            raw = one.fields[key]
            scalar = raw if isinstance(raw, Mapping) else plain(raw)
            rank = (one.ts_ms, (0,) if raw is None else order(scalar))
            if newest is None or rank > newest:
                newest, held = rank, raw
    for name in path:
        held = held.get(name) if isinstance(held, Mapping) else None
    return plain(held)


def day(ts: int, zone: str) -> Any:
    return datetime.fromtimestamp(ts / 1000, ZoneInfo(zone)).date()


def aggregation(node: Aggregation, events: Sequence[RawEvent], now: int, zone: str) -> Any:
    source, name = node.source, node.aggregate
    found: list[tuple[int, Any]] = []
    for one in events:
        if one.kind not in ("track", "page", "screen") or source.event not in (None, one.name) or one.ts_ms > now:
            continue
        if source.where is not None and not truth(naive(source.where, (), now, zone, one)):
            continue
        if node.window is not None and name == "unique_days":
            if (day(now, zone) - day(one.ts_ms, zone)).days >= node.window.length:
                continue
        elif node.window is not None and one.ts_ms <= now - node.window.ms:
            continue
        argument = True if source.property is None else plain(one.fields.get(source.property))
        if argument is not None:
            found.append((one.ts_ms, argument))
    return summary(name, found, now, zone)


def summary(name: str, found: list[tuple[int, Any]], now: int, zone: str) -> Any:
    given = [one for _, one in found]
    numbers = sorted(one for one in given if type(one) is float)
    strings = sorted(one for one in given if type(one) is str)
    scalars = sorted((one for one in given if type(one) is not tuple), key=order)
    small = [Decimal(repr(one)).quantize(Decimal("0.000001"), ROUND_HALF_UP) for one in numbers if abs(one) <= 1e12]
    millionths = sum(int(one * 1_000_000) for one in small)
    if name == "count":
        return float(len(found))
    if name == "unique_days":
        return float(len({day(ts, zone) for ts, _ in found}))
    if name == "sum":
        return float(millionths) / 1e6
    if name == "avg":
        return float(millionths) / float(len(numbers) * 1_000_000) if numbers else None
    if name == "min":
        return numbers[0] if numbers else strings[0] if strings else None
    if name == "max":
        return strings[-1] if strings else numbers[-1] if numbers else None
    if name in ("first", "last"):
        ordered = sorted(found, key=lambda pair: (pair[0], order(pair[1])))
        return ordered[0 if name == "first" else -1][1] if ordered else None
    if name in ("unique", "values", "most_frequent"):
        distinct = [one for index, one in enumerate(scalars) if index == 0 or not equal(one, scalars[index - 1])]
        if name == "most_frequent":
            counts = [sum(equal(one, other) for other in scalars) for one in distinct]
            return distinct[counts.index(max(counts))] if distinct else None
        return float(len(distinct)) if name == "unique" else tuple(distinct)
    if name in ("median", "p90", "p95", "p99"):
        if not numbers:
            return None
        rank = (len(numbers) - 1) * {"median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}[name]
        low, high = numbers[math.floor(rank)], numbers[min(math.floor(rank) + 1, len(numbers) - 1)]
        part = rank - math.floor(rank)
        return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)
    which, _, unit, _ = name.split("_")
    if not found:
        return None
    times = [ts for ts, _ in found]
    at = min(times) if which == "first" else max(times)
    return float((now - at) // {"minutes": 60_000, "hours": 3_600_000, "days": 86_400_000}[unit])
