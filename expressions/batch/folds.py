"""The monoids in Polars: how the contributions of the events of a group combine.

Two ways to fold. Add, Min and Max are one aggregation of a column each, so all of them share one group-by. The others
are a frame of their own per need, from rows (by…, ts, v.<kind>…) to one row per group, or for Union and Tally per
distinct value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from ..monoids import VALUES_MAX, Add, Earliest, Latest, Max, Min, Monoid, Tally, Union
from ..rules.values import Value, order_key
from .cells import COLUMN_KINDS, Cell, item_of_key


def _added(lifted: pl.Series) -> pl.Expr:
    """The exact sum; in 64 bits where that of all rows fits, which takes half the time."""
    # As Python's integers: of a column of integers the greatest could be added up beyond their bits.
    most = max(abs(int(one)) for one in (lifted.min() or 0, lifted.max() or 0))  # type: ignore[arg-type]  # of numbers
    return pl.col(lifted.name).cast(pl.Int64 if most * len(lifted) < 2**63 else pl.Int128).sum()


SIMPLE: dict[type[Monoid], Callable[[pl.Series], pl.Expr]] = {
    Add: _added,
    Min: lambda lifted: pl.col(lifted.name).min(),
    Max: lambda lifted: pl.col(lifted.name).max(),
}


def _first(rows: pl.LazyFrame, by: Sequence[str], cell: Cell) -> pl.LazyFrame:
    ordered = rows.sort([pl.col("ts"), *cell.ordered()], nulls_last=False)
    return ordered.unique(subset=list(by), keep="first", maintain_order=True)


def _last(rows: pl.LazyFrame, by: Sequence[str], cell: Cell) -> pl.LazyFrame:
    ordered = rows.sort([pl.col("ts"), *cell.ordered()], nulls_last=False)
    return ordered.unique(subset=list(by), keep="last", maintain_order=True)


def _distinct(rows: pl.LazyFrame, by: Sequence[str], cell: Cell) -> pl.LazyFrame:
    """by…, v.<kind>…, count, in no order: of each group at most one value more than may be read."""
    counted = rows.group_by(*by, *[f"v.{kind}" for kind in cell.kinds]).agg(pl.len().cast(pl.Int64).alias("count"))
    return least(counted, by, cell, VALUES_MAX + 1)


def least(values: pl.LazyFrame, by: Sequence[str], cell: Cell, most: int) -> pl.LazyFrame:
    """Of each group the least values, so many at the most, in no order."""
    found = values.collect()
    sizes = found.lazy().group_by(by).agg(pl.len()).select(pl.col("len").max()).collect().item()
    if sizes is None or sizes <= most:  # nearly always, and to order them takes longer than all the rest
        return found.lazy()
    ordered = found.lazy().sort([*map(pl.col, by), *cell.ordered()], nulls_last=False)
    return ordered.filter(pl.int_range(pl.len()).over(*by) < most)


FRAMES: dict[type[Monoid], Callable[[pl.LazyFrame, Sequence[str], Cell], pl.LazyFrame]] = {
    Earliest: _first,
    Latest: _last,
    Union: _distinct,
    Tally: _distinct,
}


def most_frequent(values: pl.LazyFrame, cell: Cell) -> pl.LazyFrame:
    """Of `_distinct` frames: per id the value with the greatest count, of several the least."""
    kept = least(values, ["id"], cell, VALUES_MAX)
    best = kept.filter(pl.col("count") == pl.col("count").max().over("id")).sort(cell.ordered(), nulls_last=False)
    return best.unique("id", keep="first", maintain_order=True).select("id", *cell.kinds.values())


def percentile(values: pl.LazyFrame, cell: Cell, share: float) -> pl.LazyFrame:
    """Of `_distinct` frames of numbers: per id `value`, linear between ranks (`values.percentile`)."""
    kept = least(values, ["id"], cell, VALUES_MAX).sort("id", "v.number")
    passed = kept.with_columns(
        pl.col("count").cum_sum().over("id").alias("passed"), pl.col("count").sum().over("id").alias("size")
    ).with_columns(((pl.col("size") - 1).cast(pl.Float64) * share).alias("rank"))
    below = pl.col("rank").floor()
    number = pl.col("v.number")
    found = passed.group_by("id").agg(
        number.filter(pl.col("passed") > below).min().alias("low"),
        number.filter(pl.col("passed") > pl.min_horizontal(below + 1, pl.col("size") - 1)).min().alias("high"),
        (pl.col("rank") - below).first().alias("fraction"),
    )
    step, fraction = pl.col("high") - pl.col("low"), pl.col("fraction")
    from_low, from_high = pl.col("low") + step * fraction, pl.col("high") - step * (1.0 - fraction)
    value = pl.when(fraction < 0.5).then(from_low).otherwise(from_high)
    return found.select("id", pl.when(value.is_finite()).then(value).alias("value"))


def scalar_of(row: Mapping[str, Any], prefix: str = "v.") -> Value:
    """The value of a row's `v.<kind>` columns."""
    for kind in COLUMN_KINDS:
        value = row.get(f"{prefix}{kind}")
        if value is not None:
            return tuple(map(item_of_key, value)) if kind == "list" else value  # type: ignore[arg-type]
    return None


def order_key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The order key of a row's value, as states hold it."""
    return order_key(scalar_of(row))
