"""Arithmetic and functions in Polars, bit for bit those of `values`: each step is one IEEE operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from expressions.bucketing import bucket_of
from expressions.polars_cells import COLUMN_KINDS, Cell, holds, holds_item, truth_cell, unsigned_zero
from expressions.values import ISO_TIME, SUMMED_MAX, WHOLE_FROM
from expressions.windows import DAY_MS


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


def _half_away(scaled: pl.Expr, units: float, size: pl.Expr) -> pl.Expr:
    """`values.half_away`, term by term."""
    below = scaled.floor()
    up = pl.when(size >= _quotient(below + 0.5, units)).then(below + 1.0).otherwise(below)
    return pl.when(scaled >= WHOLE_FROM).then(scaled).otherwise(up)


def rounded(number: pl.Expr, units: float) -> pl.Expr:
    """`values.rounded`, to so many units in one."""
    size = number.abs()
    scaled = size * units
    whole = _quotient(_half_away(scaled, units, size), units)
    signed = pl.when(number < 0.0).then(-whole).otherwise(whole)
    return pl.when(scaled.is_infinite()).then(number).otherwise(unsigned_zero(signed))


def _millionths(value: Cell) -> Cell:
    number = value.get("number")
    size = number.abs()
    whole = _half_away(size * 1_000_000.0, 1_000_000.0, size)
    signed = pl.when(number < 0.0).then(-whole).otherwise(whole)
    return Cell({"number": pl.when(size <= SUMMED_MAX).then(signed)})


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
#: What the batch computes while it folds (a tally), or with the node at hand.
FOLDED_FUNCTIONS = frozenset({"most_frequent", "percentile", "round", "days_since", "matches", "bucket", "coalesce"})
