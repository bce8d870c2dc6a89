"""Instants and dates in Polars: what `values.instant_ms` and `windows.Zone.day` give, for columns."""

from __future__ import annotations

import numpy as np
import polars as pl

from ..rules.values import ISO_TIME
from ..rules.windows import DAY_MS, MINUTE_MS, UTC_ZONE, Zone


def instant_ms(text: pl.Expr) -> pl.Expr:
    """The instant that an ISO 8601 text names, UTC milliseconds; null where it names none."""
    parts = text.str.extract_groups(f"(?-u){ISO_TIME}").struct  # digits are those of ASCII

    def part(index: int) -> pl.Expr:
        return parts.field(str(index))

    def whole(digits: pl.Expr) -> pl.Expr:
        return digits.cast(pl.Int64, strict=False).fill_null(0)

    date = pl.when(~part(1).str.starts_with("0000")).then(part(1))  # ISO 8601 as Python has it begins in year 1
    days = date.str.to_date("%Y-%m-%d", strict=False).cast(pl.Int32).cast(pl.Int64)
    ms = ((whole(part(2)) * 60 + whole(part(3))) * 60 + whole(part(4))) * 1000
    ms += whole((part(5) + "00").str.slice(0, 3))
    offset = part(6)
    minutes = whole(offset.str.slice(1, 2)) * 60 + whole(offset.str.slice(-2, 2))
    signed = (
        pl.when(offset.str.starts_with("-"))
        .then(0 - minutes)
        .when(offset.str.len_bytes() > 1)
        .then(minutes)
        .otherwise(0)
    )
    return days * DAY_MS + ms - signed * MINUTE_MS


def day_of(ts: pl.Expr, zone: Zone) -> pl.Expr:
    """The date of an instant, days since 1970-01-01, as a number."""
    if zone == UTC_ZONE:
        return ts.floordiv(DAY_MS).cast(pl.Float64)
    starts_ms, offsets_ms, least_days = map(np.array, zone.calendar)

    def days(column: pl.Series) -> pl.Series:
        ts_ms = column.to_numpy()
        at = np.searchsorted(starts_ms, ts_ms, side="right") - 1
        dates = np.maximum((ts_ms + offsets_ms[at]) // DAY_MS, least_days[at])
        return pl.Series(column.name, dates.astype(np.float64))

    return ts.map_batches(days, pl.Float64, is_elementwise=True)
