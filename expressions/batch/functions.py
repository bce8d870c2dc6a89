"""Arithmetic and functions in Polars, bit for bit those of `values`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from ..rules import values
from ..rules.bucketing import bucket_of
from ..rules.values import ISO_TIME, NEAR, NEAR_MAX, SUMMED_MAX
from ..rules.windows import DAY_MS, UTC_ZONE, Zone
from .cells import COLUMN_KINDS, Cell, holds, holds_item, number_cell, truth_cell, unsigned_zero


def _quotient(left: pl.Expr, right: pl.Expr | float) -> pl.Expr:
    """One IEEE division. Polars multiplies by the reciprocal of a constant, which rounds twice: 123456789 / 1e6 would
    end in 78899999999. A divisor that depends on the row is divided by.
    """
    return left / (right + left * 0.0)


def _divided(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return pl.when(right != 0.0).then(_quotient(left, right))


def _remainders(columns: Sequence[pl.Series]) -> pl.Series:
    """The exact remainder (S12), which Polars' own is not; NaN by zero and of null."""
    left, right, ids = columns
    with np.errstate(invalid="ignore"):
        found = np.mod(left.to_numpy(), right.to_numpy())
    return pl.Series(left.name, np.broadcast_to(found, len(ids)))


ARITHMETIC: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divided,
    # The column tells how many rows there are where both sides are constants.
    "%": lambda left, right: pl.map_batches([left, right, pl.col("id")], _remainders, pl.Float64),
}


# ── functions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _if(condition: Cell, then: Cell, otherwise: Cell) -> Cell:
    is_then = holds(condition)
    kinds = [kind for kind in COLUMN_KINDS if kind in then.kinds or kind in otherwise.kinds]
    return Cell({kind: pl.when(is_then).then(then.get(kind)).otherwise(otherwise.get(kind)) for kind in kinds})


#: Choices in each other that are computed as one: with hundreds of them Polars takes minutes to begin.
CHOICES = 16


def coalesce(cells: Sequence[Cell], let: Callable[[Cell], Cell]) -> Cell:
    """The first that is not null; `let` as in `to_polars.Scope`."""
    found = cells[-1]
    for count, cell in enumerate(reversed(cells[:-1]), 1):
        found = _if(truth_cell(~cell.is_null), cell, found)
        if count % CHOICES == 0:
            found = let(found)
    return found


def _text_test(test: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[[Cell, Cell], Cell]:
    return lambda text, part: truth_cell(test(text.get("string"), part.get("string")).fill_null(False))


def _contains(whole: Cell, part: Cell) -> Cell:
    in_text = whole.get("string").str.contains(part.get("string"), literal=True).fill_null(False)
    return truth_cell(in_text | holds_item(whole, part))


_SMALL = [chr(code) for code in range(ord("a"), ord("z") + 1)]
_CAPITAL = [letter.upper() for letter in _SMALL]


def _length(whole: Cell) -> Cell:
    text = whole.get("string").str.len_chars().cast(pl.Float64)
    return Cell({"number": pl.coalesce(text, whole.get("list").list.len().cast(pl.Float64))})


def _near(scaled: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """The integer next to a number in units, and whether that is what is written (`values.in_units`)."""
    near = scaled.round()
    return near, (scaled.abs() < NEAR_MAX) & ((scaled - near).abs() < NEAR)


def _mapped(numbers: pl.Expr, compute: Callable[[float], float | None], dtype: Any) -> pl.Expr:
    """A function of `values`, row by row: for the few numbers that the columns cannot tell."""

    def computed(column: pl.Series) -> pl.Series:
        found = pl.Series(column.name, [None], dtype=dtype).new_from_index(0, len(column))
        rows = column.is_not_null().arg_true()
        return found.scatter(rows, [compute(one) for one in column.gather(rows)]) if len(rows) else found

    return numbers.map_batches(computed, dtype, is_elementwise=True)


def rounded(number: pl.Expr, decimals: int) -> pl.Expr:
    """`values.rounded`, to so many decimals."""
    near, is_near = _near(number * 10.0**decimals)
    written = _mapped(pl.when(~is_near).then(number), partial(values.rounded, decimals=decimals), pl.Float64)
    return unsigned_zero(pl.when(is_near).then(_quotient(near, 10.0**decimals)).otherwise(written))


def _millionths(value: Cell) -> Cell:
    """`values.millionths`, in integers: beyond 2^53 no float holds them."""
    number = value.get("number")
    near, is_near = _near(number * 1_000_000.0)
    is_whole = (number == number.floor()) & (number.abs() <= SUMMED_MAX)
    written = _mapped(pl.when(~is_near & ~is_whole).then(number), values.millionths, pl.Int64)
    whole = number.cast(pl.Int64, strict=False) * 1_000_000
    near = near.cast(pl.Int64, strict=False)
    return Cell({"number": pl.when(is_near).then(near).when(is_whole).then(whole).otherwise(written)})


def amount(total: pl.Expr, count: pl.Expr) -> Cell:
    """`values.amount`."""
    return number_cell(pl.map_batches([total, count], _amounts, pl.Float64))


def _amounts(columns: Sequence[pl.Series]) -> pl.Series:
    totals = columns[0].cast(pl.Int128)
    counts = np.broadcast_to(columns[1].to_numpy(), len(totals))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = totals.cast(pl.Float64).to_numpy() / (counts * 1_000_000.0)
    for row in (totals.abs() >= 2**53).arg_true():
        found[row] = values.amount(totals[row], counts[row])
    return pl.Series(totals.name, found)


def instant(text: pl.Expr) -> pl.Expr:
    """`values.instant_ms`: the instant an ISO 8601 text names, in UTC milliseconds, or null."""
    parts = text.str.extract_groups(f"(?-u){ISO_TIME}").struct  # digits are those of ASCII

    def part(index: int) -> pl.Expr:
        return parts.field(str(index))

    def whole(one: pl.Expr) -> pl.Expr:
        return one.cast(pl.Int64, strict=False).fill_null(0)

    date = pl.when(~part(1).str.starts_with("0000")).then(part(1))  # ISO 8601 as Python has it begins in year 1
    days = date.str.to_date("%Y-%m-%d", strict=False).cast(pl.Int32).cast(pl.Int64)
    ms = ((whole(part(2)) * 60 + whole(part(3))) * 60 + whole(part(4))) * 1000
    ms += whole((part(5) + "00").str.slice(0, 3))
    offset = part(6)
    away = whole(offset.str.slice(1, 2)) * 60 + whole(offset.str.slice(-2, 2))
    signed = (
        pl.when(offset.str.starts_with("-")).then(0 - away).when(offset.str.len_bytes() > 1).then(away).otherwise(0)
    )
    return days * DAY_MS + ms - signed * 60_000


def days_since(text: pl.Expr, now_ms: int) -> pl.Expr:
    """`values.days_since`."""
    return (pl.lit(now_ms, dtype=pl.Int64) - instant(text)).floordiv(DAY_MS).cast(pl.Float64)


def day_of(ts: pl.Expr, zone: Zone) -> pl.Expr:
    """`Zone.day`, as a number."""
    if zone == UTC_ZONE:
        return ts.floordiv(DAY_MS).cast(pl.Float64)
    starts_ms, offsets_ms, least_days = map(np.array, zone.calendar)

    def days(column: pl.Series) -> pl.Series:
        ts_ms = column.to_numpy()
        at = np.searchsorted(starts_ms, ts_ms, side="right") - 1
        found = np.maximum((ts_ms + offsets_ms[at]) // DAY_MS, least_days[at])
        return pl.Series(column.name, found.astype(np.float64))

    return ts.map_batches(days, pl.Float64, is_elementwise=True)


def buckets(salt: str, ids: pl.Series) -> pl.Series:
    """The bucket of each id under a salt."""
    return pl.Series(ids.name, [bucket_of(salt, id) for id in ids.to_list()], dtype=pl.Float64)


FUNCTION: dict[str, Callable[..., Cell]] = {
    "contains": _contains,
    "starts_with": _text_test(lambda text, part: text.str.starts_with(part)),
    "ends_with": _text_test(lambda text, part: text.str.ends_with(part)),
    "lower": lambda text: Cell({"string": text.get("string").str.replace_many(_CAPITAL, _SMALL)}),
    "upper": lambda text: Cell({"string": text.get("string").str.replace_many(_SMALL, _CAPITAL)}),
    "length": _length,
    "abs": lambda number: Cell({"number": number.get("number").abs()}),
    "if": _if,
    "floor": lambda number: Cell({"number": number.get("number").floor()}),
    "number": lambda value: value.only("number"),
    "string": lambda value: value.only("string"),
    "scalar": lambda value: value.only("boolean", "number", "string"),
    "millionths": _millionths,
}
