"""Arithmetic and the closed list of functions in Polars, in the order of `functions.FUNCTIONS`.

Numbers come to the same bits as in `values`. A function looks at the kinds of its arguments that it takes, and is null,
or false where its sentence says so, for all others.

`FUNCTIONS` has those that need cells alone. `to_polars` calls the others that authors can write: they also need a
literal, the clock or the ids. `states` computes those that read a tally or a total.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from string import ascii_lowercase
from typing import Any

import numpy as np
import polars as pl

from ..rules import values
from ..rules.bucketing import bucket_of
from ..rules.patterns import portable
from ..rules.values import DATE_CHARACTERS, NEAR, NEAR_MAX, SUMMED_MAX
from ..rules.windows import DAY_MS
from .cells import COLUMN_KINDS, Cell, boolean_cell, finite_cell, holds, holds_item, is_null, unsigned_zero
from .dates import instant_ms
from .instants import Instants

# ── arithmetic ───────────────────────────────────────────────────────────────────────────────────────────────────


def quotient(left: pl.Expr, right: pl.Expr | float) -> pl.Expr:
    """One IEEE division.

    Polars multiplies by the reciprocal of a constant, which rounds twice: 123456789 / 1e6 would end in 78899999999. So
    the divisor is made to depend on the row.
    """
    return left / (right + left * 0.0)


def _divided(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return pl.when(right != 0.0).then(quotient(left, right))


def _remainders(columns: Sequence[pl.Series]) -> pl.Series:
    """The exact remainder (S12), which Polars' own is not; NaN by zero and of null."""
    left, right, ids = columns
    with np.errstate(invalid="ignore"):
        remainders = np.mod(left.to_numpy(), right.to_numpy())
    return pl.Series(left.name, np.broadcast_to(remainders, len(ids)))


ARITHMETIC: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divided,
    # The ids tell how many rows there are where both sides are constants.
    "%": lambda left, right: pl.map_batches([left, right, pl.col("id")], _remainders, pl.Float64),
}


# ── functions, in the order of functions.py ──────────────────────────────────────────────────────────────────────

_SMALL = list(ascii_lowercase)
_CAPITAL = [letter.upper() for letter in _SMALL]


def _contains(whole: Cell, part: Cell) -> Cell:
    in_text = whole.get("string").str.contains(part.get("string"), literal=True).fill_null(False)
    return boolean_cell(in_text | holds_item(whole, part))


def _text_test(test: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[[Cell, Cell], Cell]:
    return lambda text, part: boolean_cell(test(text.get("string"), part.get("string")).fill_null(False))


def _length(whole: Cell) -> Cell:
    text = whole.get("string").str.len_chars().cast(pl.Float64)
    return Cell({"number": pl.coalesce(text, whole.get("list").list.len().cast(pl.Float64))})


def rounded(number: pl.Expr, decimals: int) -> pl.Expr:
    """`values.rounded`, to so many decimals."""
    near, is_near = _near(number * 10.0**decimals)
    written = _row_by_row(pl.when(~is_near).then(number), partial(values.rounded, decimals=decimals), pl.Float64)
    return unsigned_zero(pl.when(is_near).then(quotient(near, 10.0**decimals)).otherwise(written))


def _near(scaled: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """The integer next to a number in units, and whether that is what is written (`values.in_units`)."""
    near = scaled.round()
    return near, (scaled.abs() < NEAR_MAX) & ((scaled - near).abs() < NEAR)


def _row_by_row(numbers: pl.Expr, compute: Callable[[float], float | None], dtype: Any) -> pl.Expr:
    """A function of `values` on each number that is not null: for the few that no expression can tell."""

    def computed(column: pl.Series) -> pl.Series:
        results = pl.Series(column.name, [None], dtype=dtype).new_from_index(0, len(column))
        rows = column.is_not_null().arg_true()
        return results.scatter(rows, [compute(number) for number in column.gather(rows)]) if len(rows) else results

    return numbers.map_batches(computed, dtype, is_elementwise=True)


#: So many choices inside each other are computed as one: with hundreds of them Polars takes minutes to begin.
CHOICES = 16


def coalesce(cells: Sequence[Cell], let_cell: Callable[[Cell], Cell]) -> Cell:
    """The first cell that is not null; `let_cell` as in `to_polars.Scope`."""
    chosen = cells[-1]
    for count, cell in enumerate(reversed(cells[:-1]), 1):
        chosen = _if(boolean_cell(~is_null(cell)), cell, chosen)
        if count % CHOICES == 0:
            chosen = let_cell(chosen)
    return chosen


def _if(condition: Cell, then: Cell, otherwise: Cell) -> Cell:
    is_then = holds(condition)
    kinds = [kind for kind in COLUMN_KINDS if kind in then.kinds or kind in otherwise.kinds]
    return Cell({kind: pl.when(is_then).then(then.get(kind)).otherwise(otherwise.get(kind)) for kind in kinds})


def days_since(text: Cell, instants: Instants) -> Cell:
    """`values.days_since`."""
    value = text.get("string")
    is_date = value.str.len_bytes() == DATE_CHARACTERS
    passed_ms = pl.when(is_date).then(instants.today_ms).otherwise(instants.ms) - instant_ms(value)
    return Cell({"number": passed_ms.floordiv(DAY_MS).cast(pl.Float64)})


def matches(text: Cell, pattern: str) -> Cell:
    """Whether a pattern of `expressions.rules.patterns` is found anywhere in the text."""
    return boolean_cell(text.get("string").str.contains(portable(pattern)).fill_null(False))


def bucket(salt: str) -> Cell:
    """`bucketing.bucket_of`, of the id at hand."""
    return Cell({"number": pl.col("id").map_batches(partial(buckets_of, salt), pl.Float64)})


def buckets_of(salt: str, ids: pl.Series) -> pl.Series:
    """`bucketing.bucket_of` each text; null for null."""
    texts = ids.to_list()
    buckets = {
        id: bucket_of(salt, id) for id in set(texts) if id is not None
    }  # an id may be asked for at many instants
    return pl.Series(ids.name, [buckets.get(id) for id in texts], dtype=pl.Float64)


def _millionths(value: Cell) -> Cell:
    """`values.millionths`, in integers: beyond 2^53 no float holds them."""
    number = value.get("number")
    near, is_near = _near(number * 1_000_000.0)
    is_whole = (number == number.floor()) & (number.abs() <= SUMMED_MAX)
    written = _row_by_row(pl.when(~is_near & ~is_whole).then(number), values.millionths, pl.Int64)
    whole = number.cast(pl.Int64, strict=False) * 1_000_000
    near = near.cast(pl.Int64, strict=False)
    return Cell({"number": pl.when(is_near).then(near).when(is_whole).then(whole).otherwise(written)})


def amount(total: pl.Expr, count: pl.Expr) -> Cell:
    """`values.amount`, of the integers that were added."""
    return finite_cell(pl.map_batches([total, count], _amounts, pl.Float64))


def _amounts(columns: Sequence[pl.Series]) -> pl.Series:
    totals = columns[0].cast(pl.Int128)
    counts = np.broadcast_to(columns[1].to_numpy(), len(totals))
    with np.errstate(divide="ignore", invalid="ignore"):
        amounts = totals.cast(pl.Float64).to_numpy() / (counts * 1_000_000.0)
    for row in (totals.abs() >= 2**53).arg_true():
        amounts[row] = values.amount(totals[row], counts[row])
    return pl.Series(totals.name, amounts)


#: Function -> the cell of its arguments' cells.
FUNCTIONS: dict[str, Callable[..., Cell]] = {
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
