"""Names in the text of an expression: plain words, names in brackets or backticks, and aggregates with windows."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..aggregates import AGGREGATES
from ..errors import SyntaxRefused
from ..rules.windows import UNIT_MS, WINDOW_MS_MAX, Window

#: Words that name no trait. Inside `where` they name a property only in backticks.
RESERVED = frozenset({"true", "false", "null", "in", "and", "or", "not", "events", "profile"})

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WINDOWED = re.compile(r"(.+?)_(\d+)([A-Za-z]+)", re.ASCII)


def is_plain(name: str) -> bool:
    """Whether a name may be written behind a dot as it is."""
    return _PLAIN.fullmatch(name) is not None


def quoted(text: str) -> str:
    """The text of a string: in double quotes, with quotes and backslashes escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def backticked(name: str) -> str:
    """The text of a name where no bracket can stand."""
    escaped = name.replace("`", "``")
    return f"`{escaped}`"


def path(names: Iterable[str]) -> str:
    """The text of names behind a first word: each behind a dot, or in brackets if it is not plain."""
    return "".join(f".{name}" if is_plain(name) else f"[{quoted(name)}]" for name in names)


def aggregate_named(word: str) -> tuple[str, Window | None] | None:
    """The aggregate and window that a word such as `count_30d` means; None if it means none.

    Raises `SyntaxRefused`, without a place, for an aggregate with a window that is not allowed.
    """
    if word in AGGREGATES:
        return word, None
    match = _WINDOWED.fullmatch(word)
    if not match or match[1] not in AGGREGATES:
        return None
    aggregate, digits, unit = match.groups()
    if unit not in UNIT_MS:
        raise SyntaxRefused(f"{unit} is no unit of a window", expected=f"m, h or d, as in {aggregate}_30d")
    length = int(digits) if len(digits) < 10 else 10**10
    if not 0 < length * UNIT_MS[unit] <= WINDOW_MS_MAX:
        raise SyntaxRefused(f"a window of {digits}{unit}", expected="a window from 1m to 3650d")
    dates = AGGREGATES[aggregate].dates
    if dates and unit != "d":
        raise SyntaxRefused(f"{aggregate} counts calendar dates", expected=f"days, as in {aggregate}_7d")
    return aggregate, Window(length, unit, dates)  # type: ignore[arg-type]


def root_aggregate_named(word: str) -> tuple[str, Window | None] | None:
    """The aggregate over all events that a bare word means; None if the word is free to name a trait.

    Only aggregates that need no property stand at the root, so `sum_30d` or `first_1st` is a trait's name.
    """
    return aggregate_named(word) if stem(word) in AGGREGATES and AGGREGATES[stem(word)].takes == "optional" else None


def stem(word: str) -> str:
    """The word without the part that looks like a window."""
    match = _WINDOWED.fullmatch(word)
    return match[1] if match else word
