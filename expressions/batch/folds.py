"""The monoids in Polars, in the order of `monoids.py`: how the contributions of the events of a group combine.

There are two ways to fold, and each monoid has one of them:

`COLUMN_FOLDS`   Add, Min, Max: one aggregation a column, so all of them share one group-by
`FRAME_FOLDS`    Earliest, Latest, Union, Tally: a frame a need

1. contributions          by…, ts, v.<kind>…: one row for each event whose contribution is not null
2. Earliest, Latest       the same columns: one row a group
3. Union, Tally           by…, v.<kind>…, count: one row a group and distinct value
4. `most_frequent`        by, v.<kind>…: one row a group
5. `percentile`           by, value: one row a group
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import polars as pl

from ..monoids import VALUES_MAX, Add, Earliest, Latest, Max, Min, Monoid, Tally, Union
from .cells import Cell
from .functions import quotient


def _added(lifted: pl.Series) -> pl.Expr:
    """The exact sum; in 64 bits where the sum of all rows fits, which takes half the time."""
    # In Python's integers, which do not overflow as those of a column would.
    most = max(abs(int(bound)) for bound in (lifted.min() or 0, lifted.max() or 0))  # type: ignore[arg-type]  # numbers
    return pl.col(lifted.name).cast(pl.Int64 if most * len(lifted) < 2**63 else pl.Int128).sum()


#: From a column of contributions to its aggregation: the column tells how wide a sum must be.
COLUMN_FOLDS: dict[type[Monoid], Callable[[pl.Series], pl.Expr]] = {
    Add: _added,
    Min: lambda lifted: pl.col(lifted.name).min(),
    Max: lambda lifted: pl.col(lifted.name).max(),
}


def _end(keep: Literal["first", "last"], rows: pl.LazyFrame, by: Sequence[str], cell: Cell) -> pl.LazyFrame:
    """Of each group the first or the last row by (time, value)."""
    ordered = rows.sort([pl.col("ts"), *cell.sort_keys()], nulls_last=False)
    return ordered.unique(subset=list(by), keep=keep, maintain_order=True)


def _distinct(rows: pl.LazyFrame, by: Sequence[str], cell: Cell) -> pl.LazyFrame:
    """Of each group the distinct values, each with its count, in no order: one value more than may be read at most."""
    counted = rows.group_by(*by, *[f"v.{kind}" for kind in cell.kinds]).agg(pl.len().cast(pl.Int64).alias("count"))
    return least(counted, by, cell, VALUES_MAX + 1)


#: (contributions, the columns of a group, the cell of the columns v.<kind>) -> one row a group, or a group and value.
FRAME_FOLDS: dict[type[Monoid], Callable[[pl.LazyFrame, Sequence[str], Cell], pl.LazyFrame]] = {
    Earliest: partial(_end, "first"),
    Latest: partial(_end, "last"),
    Union: _distinct,
    Tally: _distinct,
}


def least(values: pl.LazyFrame, by: Sequence[str], cell: Cell, values_max: int) -> pl.LazyFrame:
    """Of each group the least values, at most `values_max` of them, in no order."""
    rows = values.collect()
    most = rows.lazy().group_by(by).agg(pl.len()).select(pl.col("len").max()).collect().item()
    if most is None or most <= values_max:  # nearly always, and to order them takes longer than all the rest
        return rows.lazy()
    ordered = rows.lazy().sort([*map(pl.col, by), *cell.sort_keys()], nulls_last=False)
    return ordered.filter(pl.int_range(pl.len()).over(*by) < values_max)


def most_frequent(tally: pl.LazyFrame, by: str, cell: Cell) -> pl.LazyFrame:
    """The value of each group with the greatest count; of several the least."""
    values = least(tally, [by], cell, VALUES_MAX)
    best = values.filter(pl.col("count") == pl.col("count").max().over(by)).sort(cell.sort_keys(), nulls_last=False)
    return best.unique(by, keep="first", maintain_order=True).select(by, *cell.kinds.values())


def percentile(tally: pl.LazyFrame, by: str, cell: Cell, percent: float) -> pl.LazyFrame:
    """`values.percentile` of each group's numbers, linear between ranks, as `value`.

    `passed` counts the values up to and including one, `size` all of them. `percent` is whole.
    """
    values = least(tally, [by], cell, VALUES_MAX).sort(by, "v.number")
    ranked = values.with_columns(
        pl.col("count").cum_sum().over(by).alias("passed"), pl.col("count").sum().over(by).alias("size")
    ).with_columns(((pl.col("size") - 1).cast(pl.Int64) * int(percent)).alias("position"))
    below = pl.col("position") // 100
    number = pl.col("v.number")
    around = ranked.group_by(by).agg(
        number.filter(pl.col("passed") > below).min().alias("low"),
        number.filter(pl.col("passed") > pl.min_horizontal(below + 1, pl.col("size") - 1)).min().alias("high"),
        (pl.col("position") % 100).first().cast(pl.Float64).alias("hundredths"),
    )
    step, hundredths = pl.col("high") - pl.col("low"), pl.col("hundredths")
    from_low = pl.col("low") + quotient(step * hundredths, 100.0)
    from_high = pl.col("high") - quotient(step * (100.0 - hundredths), 100.0)
    value = pl.when(hundredths < 50.0).then(from_low).otherwise(from_high)
    return around.select(by, pl.when(value.is_finite()).then(value).alias("value"))
