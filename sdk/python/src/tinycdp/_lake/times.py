"""Instants as notebooks have them, as UTC milliseconds and back. A time without an offset is refused, never guessed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import polars as pl

#: An instant: an aware datetime, UTC milliseconds, or ISO 8601 text with its offset.
Instant: TypeAlias = datetime | int | str

MOMENT = pl.Datetime("ms", "UTC")
#: The years 1 to 9999.
_LEAST_MS, _GREATEST_MS = -62_135_596_800_000, 253_402_300_799_999


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
        return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // _MILLISECOND
    if isinstance(instant, date):
        raise _refused(name, instant, "a date has many instants: give one of them, with its time zone")
    if isinstance(instant, bool) or not hasattr(instant, "__index__"):
        raise _refused(name, instant, "give an aware datetime, UTC milliseconds, or ISO 8601 text with its offset")
    ms = int(instant)
    if not _LEAST_MS <= ms <= _GREATEST_MS:
        raise _refused(name, ms, "give milliseconds since 1970 within the years 1 to 9999")
    return ms


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
    match column.dtype:
        case pl.Datetime() as kind if kind.time_zone is not None:
            ms = column.dt.timestamp("us") // 1_000 if kind.time_unit != "ms" else column.dt.timestamp("ms")
        case pl.Datetime():
            raise _refused(
                name,
                _first(column),
                f'these times say no time zone: pl.col("{name}").dt.replace_time_zone("Europe/Oslo") or, in pandas, '
                f'df["{name}"].dt.tz_localize("Europe/Oslo") says it',
            )
        case kind if kind.is_integer() or kind == pl.Null:  # a list without items, or of nothing but None
            ms = column.cast(pl.Int64)
        case kind:
            raise _refused(name, _first(column), f"these are {kind}: give aware datetimes, or UTC milliseconds")
    if ms.null_count():
        raise ValueError(f"{name} has no time in row {ms.is_null().arg_true()[0]}: give each row its instant")
    if not ms.is_empty() and not ms.is_between(_LEAST_MS, _GREATEST_MS).all():
        wrong = ms.filter(~ms.is_between(_LEAST_MS, _GREATEST_MS))[0]
        raise _refused(name, wrong, "give milliseconds since 1970 within the years 1 to 9999")
    return ms


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
