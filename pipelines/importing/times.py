"""When a row happened: texts, timestamps and whole numbers as UTC milliseconds, one value or a whole column.

A text is ISO 8601, extended or basic, a date alone, or as PostgreSQL, BigQuery and Snowflake write a timestamp with its
zone. A whole number counts what `--time-unit` says. Without it milliseconds from 1990 on are taken: a smaller number is
more likely seconds, and a greater one micro- or nanoseconds, so it is refused.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from expressions.batch.dates import instant_ms as instants_of
from expressions.rules.values import instant_ms
from expressions.rules.windows import DAY_MS
from pipelines.importing.terms import TimeUnit
from serving.ingest.event_time import INSTANT_MAX_MS, INSTANT_MIN_MS, NUMBER_MIN_MS, read_ms
from serving.refusals import Invalid, value_for_message
from serving.times import rfc3339

#: Further forms, and the usual form of each, in which a group stands as {1}. Python and Polars read these alike.
_FORMS = (
    (r"^([0-9]{4})([0-9]{2})([0-9]{2})$", "{1}-{2}-{3}"),
    (r"^([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})", "{1}-{2}-{3}T{4}:{5}:{6}"),
    (r"(:[0-9]{2}(?:[.,][0-9]+)?) ?UTC$", "{1}Z"),
    (r"(:[0-9]{2}(?:[.,][0-9]+)?) ?([+-][0-9]{2})$", "{1}{2}:00"),
    (r"(:[0-9]{2}(?:[.,][0-9]+)?) ([+-][0-9]{2}:?[0-9]{2})$", "{1}{2}"),
)
_OF_ONE = [(re.compile(form), re.sub(r"\{(.)\}", r"\\\1", usual)) for form, usual in _FORMS]
_OF_COLUMNS = [(form, re.sub(r"\{(.)\}", r"$${\1}", usual).replace("$$", "$")) for form, usual in _FORMS]
_WHOLE = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]+\.[0-9]+", re.ASCII)
#: Digits that are a date: 20231114.
DATE_DIGITS = 8

#: The form of ISO 8601 that most programs write.
_USUAL_TIME = r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,3})?Z$"
#: Types of columns of whole numbers that fit into 64 bits with a sign, and of other numbers.
WHOLE_KINDS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
FLOAT_KINDS = (pl.Float32, pl.Float64)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: How many of a unit are a millisecond; of seconds a thousandth.
_PER_MS: dict[TimeUnit, Decimal] = {"s": Decimal("0.001"), "ms": Decimal(1), "us": Decimal(1_000), "ns": Decimal(10**6)}

ISO_REMEDY = "use ISO 8601, as 1998-07-01T00:00:00Z, or whole numbers with --time-unit"
UNIT_REMEDY = "say by --time-unit s, ms, us or ns what the numbers count, or use ISO 8601"


def time_ms(value: Any, name: str, unit: TimeUnit | None = None) -> int:
    """The time that a value of a column says, UTC ms. Raises `Invalid`."""
    ms: int | None = None
    match value:
        case bool():
            pass
        case datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            ms = (aware - _EPOCH) // timedelta(milliseconds=1)
        case date():
            ms = int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()) * 1000
        case int() | Decimal():
            ms = _number_ms(Decimal(value), name, unit)
        case float() if math.isfinite(value):
            ms = _number_ms(Decimal(repr(value)), name, unit)
        case str():
            text = value.strip()
            if is_number(text, unit):
                ms = _number_ms(Decimal(text), name, unit)
            else:
                ms = instant_ms(_usual(text))
                ms = read_ms(text) if ms is None and not _WHOLE.fullmatch(text) else ms
    return in_range(ms, value, name)


def in_range(ms: int | None, value: Any, name: str) -> int:
    """The UTC ms that a value of a column says, if that is a time. Raises `Invalid`."""
    if ms is None or not INSTANT_MIN_MS <= ms <= INSTANT_MAX_MS:
        text = value_for_message(value)
        message = f"{name}: {text} is no time; {ISO_REMEDY}"
        raise Invalid(message, {"field": name, "value": text, "remedy": ISO_REMEDY})
    return ms


def is_number(text: str, unit: TimeUnit | None) -> bool:
    """Whether a text is a number that counts some unit. Eight digits are a date, where no unit is said."""
    if unit is not None:
        return bool(_WHOLE.fullmatch(text) or _DECIMAL.fullmatch(text))
    return bool(_WHOLE.fullmatch(text)) and len(text) != DATE_DIGITS


def _number_ms(number: Decimal, name: str, unit: TimeUnit | None) -> int | None:
    if unit is not None:
        return None if abs(number) > 10**30 else math.floor(number / _PER_MS[unit])
    if NUMBER_MIN_MS <= number <= INSTANT_MAX_MS:
        return math.floor(number)
    shown = value_for_message(int(number) if number == number.to_integral_value() else float(number))
    seconds_ms = number * 1000
    if NUMBER_MIN_MS <= seconds_ms <= INSTANT_MAX_MS:
        why = f"may be seconds ({rfc3339(math.floor(seconds_ms))}); in milliseconds it is before 1990"
    else:
        why = f"is {'before 1990' if number < NUMBER_MIN_MS else 'after the year 6429'} in milliseconds"
    message = f"{name}: {shown} {why}; {UNIT_REMEDY}"
    raise Invalid(message, {"field": name, "value": shown, "remedy": UNIT_REMEDY})


def _usual(text: str) -> str:
    for form, usual in _OF_ONE:
        text = form.sub(usual, text)
    return text


# ── columns ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def instants(column: pl.Series, unit: TimeUnit | None = None) -> pl.Series:
    """The times of a column; null where a value is no time, or has to be read by itself."""
    frame = pl.DataFrame([column.alias("time")])
    time = pl.col("time")
    match column.dtype:
        case pl.String:
            return _text_instants(column, unit)
        case pl.Datetime():
            ms = time.dt.timestamp("us").floordiv(1_000)
        case pl.Date:
            ms = time.cast(pl.Int32).cast(pl.Int64) * DAY_MS
        case kind if kind in WHOLE_KINDS:
            ms = _numbers_ms(time.cast(pl.Int64), unit)
        case kind if kind in FLOAT_KINDS:
            is_whole = time.is_finite() & (time == time.floor()) & (time.abs() < 2.0**53)
            ms = _numbers_ms(pl.when(is_whole).then(time).cast(pl.Int64), unit)
        case _:
            ms = pl.lit(None, dtype=pl.Int64)
    return frame.select(_inside(ms).alias("time"))["time"]


def _inside(ms: pl.Expr) -> pl.Expr:
    """Instants that a calendar has; null for others."""
    return pl.when(ms.is_between(INSTANT_MIN_MS, INSTANT_MAX_MS)).then(ms)


def _numbers_ms(number: pl.Expr, unit: TimeUnit | None) -> pl.Expr:
    match unit:
        case None:
            return pl.when(number.is_between(NUMBER_MIN_MS, INSTANT_MAX_MS)).then(number)
        case "s":
            return pl.when(number.abs() <= INSTANT_MAX_MS).then(number * 1_000)
        case "ms":
            return number
        case "us":
            return number.floordiv(1_000)
        case "ns":
            return number.floordiv(1_000_000)


def _text_instants(column: pl.Series, unit: TimeUnit | None) -> pl.Series:
    """Texts as UTC milliseconds: the usual form by the shortest way, all others by the general one."""
    text = pl.col("text")
    parsed = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms", strict=False).dt.epoch("ms")
    usual = column.to_frame("text").select(pl.when(text.str.contains(_USUAL_TIME)).then(parsed).alias("ms"))["ms"]
    left = usual.is_null().arg_true()
    if left.is_empty():
        return usual
    is_whole = text.str.contains(r"^[+-]?[0-9]{1,18}$")
    if unit is None:
        is_whole &= text.str.len_bytes() != DATE_DIGITS
    whole = pl.when(is_whole).then(text.str.strip_prefix("+").cast(pl.Int64, strict=False))
    form = text
    for further, as_usual in _OF_COLUMNS:
        form = form.str.replace(further, as_usual)
    general = pl.when(~is_whole).then(instants_of(form))
    ms = _inside(pl.coalesce(general, _numbers_ms(whole, unit))).alias("ms")
    return usual.scatter(left, column.gather(left).to_frame("text").select(ms)["ms"])
