"""Instants as notebooks have them, as UTC milliseconds and back.

Nothing is guessed: a time without an offset is refused, and a whole number that would be a year before 1990 or after
9999 as milliseconds. Seconds, micro- and nanoseconds of our time are among these.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import polars as pl

#: An instant: an aware datetime, UTC milliseconds, or ISO 8601 text with its offset.
Instant: TypeAlias = datetime | int | str

MOMENT = pl.Datetime("ms", "UTC")
#: The years 1990 to 9999: whole numbers in them are milliseconds. As seconds they would be thousands of years away.
_LEAST_MS, _GREATEST_MS = 631_152_000_000, 253_402_300_799_999
#: The year 1, which a datetime may name too; and the January in which times of our age are that were read in a wrong
#: unit.
_FIRST_MS, _WRONG_MS = -62_135_596_800_000, range(0, 31 * 86_400_000)


def ms_of(name: str, instant: Any) -> int:
    """An instant as UTC milliseconds, further digits cut off. Raises ValueError, which names the argument."""
    if isinstance(instant, str):
        try:
            instant = datetime.fromisoformat(instant)
        except ValueError:
            raise _refused(name, instant, "write ISO 8601 with its offset, as 2026-05-01T12:00:00Z") from None
    if isinstance(instant, datetime):
        if instant.tzinfo is None:
            raise _refused(name, instant, "say the time zone, as datetime(…, tzinfo=UTC)")
        ms = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // _MILLISECOND
        if ms in _WRONG_MS:
            raise _refused(name, instant, _READ_IN_A_WRONG_UNIT)
        if not _FIRST_MS <= ms <= _GREATEST_MS:
            raise _refused(name, instant, "give one that is within the years 1 to 9999 in UTC")
        return ms
    if isinstance(instant, date):
        raise _refused(name, instant, "a date has many instants: give one of them, with its time zone")
    if isinstance(instant, bool) or not hasattr(instant, "__index__"):
        raise _refused(name, instant, "give an aware datetime, UTC milliseconds, or ISO 8601 text with its offset")
    ms = int(instant)
    if not _LEAST_MS <= ms <= _GREATEST_MS:
        raise _refused(name, ms, _wrong_unit(ms))
    return ms


_READ_IN_A_WRONG_UNIT = (
    "it is in January 1970, as numbers are that were read in a wrong unit: say the unit where they are read, as in "
    'pl.from_epoch(…, time_unit="s")'
)
_MILLISECOND = datetime(1970, 1, 1, microsecond=1_000) - datetime(1970, 1, 1)


def many_ms_of(name: str, instants: Any) -> list[int]:
    """One instant or many, as UTC milliseconds: each once, in order of time. Raises ValueError."""
    if isinstance(instants, (str, datetime, date)) or not isinstance(instants, Iterable):
        return [ms_of(name, instants)]
    if isinstance(instants, pl.Series):
        distinct = sorted(set(column_ms(name, instants).to_list()))
    else:
        distinct = sorted({ms_of(name, instant) for instant in instants})
    if not distinct:
        raise ValueError(f"{name} has no instants: give at least one")
    return distinct


def column_ms(name: str, column: pl.Series) -> pl.Series:
    """A column of instants as UTC milliseconds. Raises ValueError for what is naive, missing or no instant."""
    if column.is_empty():  # pandas gives any type to none
        return pl.Series(name, [], dtype=pl.Int64)
    match column.dtype:
        case pl.Datetime() as kind if kind.time_zone is not None:
            ms = column.dt.timestamp("us") // 1_000 if kind.time_unit != "ms" else column.dt.timestamp("ms")
            is_right = ms.is_between(_FIRST_MS, _GREATEST_MS)
            is_right &= ~ms.is_between(_WRONG_MS.start, _WRONG_MS.stop, closed="left")
        case kind if kind.is_integer() or kind == pl.Null:  # of nothing but None
            ms = column.cast(pl.Int128)
            is_right = ms.is_between(_LEAST_MS, _GREATEST_MS)
        case kind:
            raise _refused(name, _first(column), _remedy(name, kind))
    if ms.null_count():
        raise ValueError(f"{name} has no time in row {ms.is_null().arg_true()[0]}: give each row its instant")
    if not is_right.all():
        wrong = is_right.arg_min() or 0
        is_read_wrong = column.dtype.is_temporal() and ms[wrong] in _WRONG_MS
        raise _refused(name, column[wrong], _READ_IN_A_WRONG_UNIT if is_read_wrong else _wrong_unit(ms[wrong]))
    return ms.cast(pl.Int64)


def _remedy(name: str, kind: pl.DataType) -> str:
    """What to do about a column of a type that names no instants."""
    match kind:
        case pl.Datetime():
            return (
                f'these times say no time zone: pl.col("{name}").dt.replace_time_zone("Europe/Oslo") or, in pandas, '
                f'df["{name}"].dt.tz_localize("Europe/Oslo") says it'
            )
        case pl.String():
            return (
                f'these are String: pl.col("{name}").str.to_datetime(time_zone="UTC") or, in pandas, '
                f'pd.to_datetime(df["{name}"], utc=True) reads ISO 8601 with offsets'
            )
        case pl.Date():
            return "these are Date, and a date has many instants: give one of them, with its time zone"
        case _:
            return f"these are {kind}: give aware datetimes, or UTC milliseconds as whole numbers"


def _wrong_unit(number: int) -> str:
    """What to do about a whole number that would be another age as milliseconds."""
    if number > _GREATEST_MS:
        return "as milliseconds it is after the year 9999: divide microseconds by 1,000 and nanoseconds by 1,000,000"
    return "as milliseconds it is before 1990: multiply seconds by 1,000, and give older times as aware datetimes"


def moment(ms: int) -> datetime:
    """An instant as an aware datetime, in UTC."""
    return datetime.fromtimestamp(ms / 1_000, UTC)


def text_of(ms: int) -> str:
    """An instant as ISO 8601 text, in UTC, to the millisecond."""
    return moment(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _first(column: pl.Series) -> Any:
    return column[0] if len(column) else None


def _refused(name: str, value: Any, remedy: str) -> ValueError:
    return ValueError(f"{name} {str(value)[:100]!r} is no instant: {remedy}")
