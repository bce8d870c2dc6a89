"""The values of the language in Python: their kinds, their one total order, and the arithmetic of all executions.

A number is always a float and a list a tuple, so `kind` looks at the type alone. A result is rounded once, from the
number's decimal text, so that all executions give the same bits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeAlias

from .dtypes import KINDS, Kind
from .windows import DAY_MS, Zone

Value: TypeAlias = "None | bool | float | str | tuple[None | bool | float | str, ...]"

#: How many units of so many decimals are in 1, for 0 to 6 decimals.
UNITS: tuple[int, ...] = tuple(10**decimals for decimals in range(7))

#: From here on a float has no fraction, so there is nothing to round.
WHOLE_FROM = 2.0**52

#: From here on numbers have gaps: not every whole number is a float.
GAPS_FROM = 2**53

#: A product below NEAR_MAX is less than 0.01 off the product of the number's decimal text: half a unit in the last
#: place for the number and for the product each, 2 * 2^-53 * 4e13. So a product within NEAR of an integer is no tie.
NEAR_MAX, NEAR = 4e13, 0.49

#: S6: a summed property refuses a greater number. One that came before the sum was defined is not summed.
SUMMED_MAX = 1e12

_KIND_OF: dict[type, Kind] = {type(None): "null", bool: "boolean", float: "number", str: "string", tuple: "list"}
_RANK: dict[type, int] = {python: KINDS.index(kind) for python, kind in _KIND_OF.items()}


def kind(value: Value) -> Kind:
    """The kind of a value."""
    return _KIND_OF[type(value)]


def from_json(raw: Any) -> Value:
    """A decoded JSON value as a value of the language. An object becomes null, and so does a list inside a list."""
    if type(raw) is float:
        return raw + 0.0  # adds away the sign of -0.0
    match raw:
        case None | bool() | str():
            return raw
        case int() | float():
            return float(raw) + 0.0
        case list() | tuple():
            return tuple(None if isinstance(item, (list, dict, tuple)) else from_json(item) for item in raw)  # type: ignore[misc]
        case _:
            return None


def to_json(value: Value) -> Any:
    """A value for a JSON encoder. Whole numbers below 2^53 become integers, so that a count prints as 3 and not 3.0."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < GAPS_FROM else value
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return value


def canonical_json(raw: Any) -> str:
    """JSON text, which is equal for equal values: keys sorted, no spaces."""
    return json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def order_key(value: Value) -> tuple[Any, ...]:
    """S7: the sort key of values of all kinds: null, booleans, numbers, strings by code point, lists by JSON text."""
    if isinstance(value, tuple):
        return (_RANK[tuple], canonical_json(to_json(value)))
    return (_RANK[type(value)], value)


def same(left: Value, right: Value) -> bool:
    """S1, S3: whether two values are equal in type and value. Null equals null."""
    return type(left) is type(right) and left == right and (type(left) is not tuple or _same_items(left, right))


def _same_items(left: Any, right: Any) -> bool:
    return all(same(mine, other) for mine, other in zip(left, right, strict=True))


def holds(value: Value) -> bool:
    """S4: the truth of a value in a boolean place."""
    return not (value is None or value is False or value == 0.0 or value == "")


def finite(number: float) -> float | None:
    """The number, or null where it is not finite (S5). There is one zero: -0.0 is 0.0."""
    return number + 0.0 if math.isfinite(number) else None


def in_units(number: float, decimals: int) -> int:
    """S6, S12: a number in whole units of so many decimals, rounded from its decimal text, half away from zero.

    A float lies beside its decimal text: 1.005 is no tie in binary, and 4296123174.668 is off by half a millionth. That
    does not matter where the product is not great and far from a tie. Elsewhere the digits decide.
    """
    scaled = number * UNITS[decimals]
    if -NEAR_MAX < scaled < NEAR_MAX and -NEAR < scaled - (near := round(scaled)) < NEAR:
        return near
    if number.is_integer():
        return int(number) * UNITS[decimals]
    return int(Decimal(repr(number)).scaleb(decimals).to_integral_value(ROUND_HALF_UP))


def millionths(number: float) -> int | None:
    """S6: a number in whole millionths; null beyond `SUMMED_MAX`."""
    return in_units(number, 6) if -SUMMED_MAX <= number <= SUMMED_MAX else None


def amount(total: float, count: float) -> float | None:
    """S6: a total of millionths divided by a count; null for a count of 0.

    It is divided once. The total is an integer where no float holds it.
    """
    if not count:
        return None
    return total / (count * 1_000_000.0 if type(total) is float else int(count) * 1_000_000)


def whole_number(total: int) -> float:
    """An integer as a number. From 2^53 on, where numbers have gaps, it stays an integer."""
    return float(total) if -GAPS_FROM < total < GAPS_FROM else total


def rounded(number: float, decimals: int = 0) -> float:
    """S12: a number rounded to so many decimals, half away from zero."""
    return in_units(number, decimals) / UNITS[decimals]


def modulo(number: float, divisor: float) -> float | None:
    """S12: the exact remainder, rounded once, with the divisor's sign; null for a divisor of 0 (S5)."""
    return number % divisor + 0.0 if divisor else None


def percentile(counts: Iterable[tuple[float, int]], percent: float) -> float | None:
    """S12: the percentile of (value, count) pairs, linear between ranks; null if there are none.

    Between two ranks it starts from the nearer one, as numpy does: so the middle of 0.2 and 10 is 5.1. The way from
    there is in hundredths, which are whole, and divided last: so a result that is whole comes out whole.
    """
    ordered = sorted(counts)
    size = sum(count for _, count in ordered)
    if size == 0:
        return None
    below, hundredths = divmod((size - 1) * percent, 100.0)
    low = high = None
    passed = 0
    for value, count in ordered:
        passed += count
        if low is None and passed > below:
            low = value
        if passed > min(below + 1, size - 1):
            high = value
            break
    assert low is not None and high is not None, "a rank lies within the tally"
    step = high - low
    return finite(low + step * hundredths / 100.0 if hundredths < 50.0 else high - step * (100.0 - hundredths) / 100.0)


_SMALL = "abcdefghijklmnopqrstuvwxyz"
_TO_LOWER = str.maketrans(_SMALL.upper(), _SMALL)
_TO_UPPER = str.maketrans(_SMALL, _SMALL.upper())


def lower(text: str) -> str:
    """S12: the text with A to Z made small; all other characters stay."""
    return text.translate(_TO_LOWER)


def upper(text: str) -> str:
    """S12: the text with a to z made capital; all other characters stay."""
    return text.translate(_TO_UPPER)


#: The ISO 8601 forms that `days_since` reads. All executions use this pattern: it has nothing that an engine lacks.
ISO_TIME = (
    r"^(\d{4}-\d{2}-\d{2})"
    r"(?:[T ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:[.,](\d{1,9}))?)?"
    r"(Z|z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?)?$"
)
_ISO_TIME = re.compile(ISO_TIME, re.ASCII)


def instant_ms(text: str) -> int | None:
    """The instant that an ISO 8601 text names, in UTC milliseconds (further digits are cut off), or null.

    A text without an offset is UTC, and a date its midnight there.
    """
    match = _ISO_TIME.match(text)
    if not match or text.endswith("\n"):
        return None
    day, hour, minute, second, fraction, offset = match.groups()
    try:
        days = (date.fromisoformat(day) - date(1970, 1, 1)).days
    except ValueError:
        return None
    ms = ((int(hour or 0) * 60 + int(minute or 0)) * 60 + int(second or 0)) * 1000
    ms += int((fraction or "").ljust(3, "0")[:3])
    if offset and offset not in "Zz":
        away = int(offset[1:3]) * 60 + int(offset[-2:])
        ms -= (-away if offset[0] == "-" else away) * 60_000
    return days * DAY_MS + ms


#: How long an ISO 8601 text is that is a date without a time.
DATE_CHARACTERS = 10


def days_since(text: str, now_ms: int, zone: Zone) -> float | None:
    """Whole days from an ISO 8601 instant to now, rounded down; null where the text names no instant.

    From a date without a time they are dates, up to the zone's date of now.
    """
    instant = instant_ms(text)
    if instant is None:
        return None
    until_ms = zone.day(now_ms) * DAY_MS if len(text) == DATE_CHARACTERS else now_ms
    return float((until_ms - instant) // DAY_MS)
