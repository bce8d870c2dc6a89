"""What single values mean to the oracle: kinds, order, equality, arithmetic and functions, the long way.

Nothing of `expressions` is asked: what it computes in floats is here a fraction or a decimal, rounded once.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from tests.history import Event

DAY_MS = 86_400_000
#: A date, or a date and a time, with or without an offset from UTC. Hours and minutes are bounded here, since what the
#: standard library makes of 24:00 and of an offset's 99th minute depends on its version.
CLOCK = r"([01]\d|2[0-3]):?[0-5]\d"
TIME = rf"\d{{4}}-\d\d-\d\d([T ](?=..:){CLOCK}(:[0-5]\d([.,]\d{{1,9}})?)?([Zz]|[+-]{CLOCK})?)?"
RANK = {type(None): 0, bool: 1, float: 2, str: 3, tuple: 4, dict: 5}
#: Numbers, texts, booleans, lists and objects, null: by the ranks above.
RANK_STORED = (4, 2, 0, 1, 3, 3)
ORDERINGS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "%": operator.mod}


def called(name: str, args: list[Any], now: int, zone: ZoneInfo) -> Any:
    """A function; of a first argument of another kind false or null, as its sentence says."""
    first, kind = args[0], type(args[0])
    if name == "if":
        return args[1] if truth(first) else args[2]
    if name == "coalesce":
        return next((one for one in args if one is not None), None)
    if name == "contains" and kind is tuple:
        return any(equal(one, args[1]) for one in first)
    if name in ("contains", "starts_with", "ends_with"):
        test = {"contains": str.__contains__, "starts_with": str.startswith, "ends_with": str.endswith}[name]
        return kind is str and type(args[1]) is str and test(first, args[1])
    if name == "matches":
        flag = "(?ai)" if args[1].startswith("(?i)") else "(?a)"
        # Python's $ is also before a last line feed.
        text = re.sub(r"(?<!\\)\$", r"\\Z", args[1].removeprefix("(?i)"))
        return kind is str and re.search(flag + text, first) is not None
    if name == "length":
        return float(len(first)) if kind in (str, tuple) else None
    if kind is str and name in ("lower", "upper"):
        return re.sub("[A-Za-z]", lambda letter: getattr(letter[0], name)(), first)
    if kind is float and name in ("abs", "round"):
        return abs(first) if name == "abs" else float(decimal(first, int(args[1]) if args[1:] else 0)) + 0.0
    return days_since(first, now, zone) if kind is str and name == "days_since" else None


def dated(ts_ms: int, zone: ZoneInfo) -> date:
    """The latest date that has begun: where clocks go back over midnight, the one before does not come again."""

    def local(minutes: int) -> datetime:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ts_ms - minutes * 60_000)).astimezone(zone)

    is_moved = local(0).utcoffset() != local(26 * 60).utcoffset()
    return max(local(minutes).date() for minutes in range(26 * 60 if is_moved else 1))


def days_since(text: str, now: int, zone: ZoneInfo) -> float | None:
    """Whole days, floor; UTC without an offset; digits beyond milliseconds are cut off. Of a date: dates."""
    if not re.fullmatch(TIME, text, re.ASCII):
        return None
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:  # no such day
        return None
    if len(text) == len("2026-03-01"):
        return float((dated(now, zone) - at.date()).days)
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return float((now - since // timedelta(milliseconds=1)) // DAY_MS)


def plain(raw: Any) -> Any:
    """A JSON value as a value: numbers are floats with one zero, lists hold scalars, an object is null."""
    if isinstance(raw, list | tuple):
        return tuple(None if isinstance(item, list | tuple | dict) else plain(item) for item in raw)
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return float(raw) + 0.0
    return None if isinstance(raw, dict) else raw


def flat(fields: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Properties by dotted name; where two have one name, that of the longer first key, then of the longer second …"""
    return {name: raw for name, _, raw in sorted(_paths(fields, (), before), key=lambda path: path[:2])}


def _paths(fields: Mapping[str, Any], lengths: tuple[int, ...], before: str) -> list[tuple[str, tuple[int, ...], Any]]:
    """Of each value: its dotted name, how long each key on the way to it is, and itself; nulls are no properties."""
    found: list[tuple[str, tuple[int, ...], Any]] = []
    for name, raw in fields.items():
        if isinstance(raw, dict):
            found += _paths(raw, (*lengths, len(name)), f"{before}{name}.")
        elif raw is not None:
            found.append((before + name, (*lengths, len(name)), raw))
    return found


def order(raw: Any) -> tuple[int, Any]:
    """S7, S8: by kind, then by value; lists and objects by their JSON text."""
    one = raw if isinstance(raw, dict) else plain(raw)
    if type(one) is tuple:
        raw = [int(item) if type(item) is float and item.is_integer() and abs(item) < 2**53 else item for item in one]
    text = json.dumps(raw, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return (RANK[type(one)], text if type(one) in (tuple, dict) else one)


def alike(event: Event) -> tuple[Any, ...]:
    """S11: what imported copies that came at once are in order of; of a field numbers first, nulls last."""
    fields = event.fields if event.kind == "identify" else flat(event.fields)
    values = [(name, order(raw)) for name, raw in sorted(fields.items()) if raw is not None or event.kind == "identify"]
    ranks = [(name, (RANK_STORED[rank], value)) for name, (rank, value) in values]
    return event.ts_ms, event.kind, event.name or "", ranks


def equal(left: Any, right: Any) -> bool:
    """S1, S3: strict by type, also within lists."""
    if type(left) is tuple and type(right) is tuple:
        return len(left) == len(right) and all(map(equal, left, right))
    return type(left) is type(right) and bool(left == right)


def truth(one: Any) -> bool:
    """S4; 0.0 equals False."""
    return one not in (None, False, "")


def compared(op: str, left: Any, right: Any) -> bool:
    if op in ("==", "!="):
        return equal(left, right) == (op == "==")
    return type(left) is type(right) and type(left) in (float, str) and ORDERINGS[op](left, right)


def computed(op: str, left: Any, right: Any) -> float | None:
    """S5, S12: exactly, then the nearest float; null where there is none."""
    if type(left) is not float or type(right) is not float:
        return None
    try:
        return float(ARITHMETIC[op](Fraction(left), Fraction(right))) + 0.0
    except ArithmeticError:  # by zero, or beyond the greatest float
        return None


def decimal(number: float, places: int) -> Decimal:
    """S6, S12: the number as it is written, half away from zero."""
    with localcontext(prec=400):
        return Decimal(repr(number)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def percentile(numbers: list[float], percent: int) -> float | None:
    """S12: linear between the ranks around, from the nearer one, divided last; null where a step overflows."""
    if not numbers:
        return None
    below, r = divmod(percent * (len(numbers) - 1), 100)
    low, high = numbers[below], numbers[min(below + 1, len(numbers) - 1)]
    found = low + (high - low) * r / 100 if r < 50 else high - (high - low) * (100 - r) / 100
    return found if abs(found) < float("inf") else None  # neither an infinity nor NaN
