"""The monoids in Polars: how the contributions of the events of a group combine.

Two ways to fold. Add, Min and Max are one aggregation each, so all of them share one group-by. The others are a frame
of their own per need, from rows (by…, ts, v.<kind>…) to one row per group, or for Union and Tally per distinct value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from expressions.monoids import VALUES_MAX, Add, Earliest, Latest, Max, Min, Monoid, Tally, Union
from expressions.polars_cells import COLUMN_KINDS, Cell, item_of_key
from expressions.values import Value, order_key

SIMPLE: dict[type[Monoid], Callable[[pl.Expr], pl.Expr]] = {
    Add: lambda lifted: lifted.cast(pl.Int128).sum(),
    Min: lambda lifted: lifted.min(),
    Max: lambda lifted: lifted.max(),
}


def _first(rows: pl.LazyFrame, by: Sequence[str], cell: Cell) -> pl.LazyFrame:
    ordered = rows.sort([pl.col("ts"), *cell.ordered()], nulls_last=False)
    return ordered.unique(subset=list(by), keep="first", maintain_order=True)


def _last(rows: pl.LazyFrame, by: Sequence[str], cell: Cell) -> pl.LazyFrame:
    ordered = rows.sort([pl.col("ts"), *cell.ordered()], nulls_last=False)
    return ordered.unique(subset=list(by), keep="last", maintain_order=True)


def _distinct(rows: pl.LazyFrame, by: Sequence[str], cell: Cell) -> pl.LazyFrame:
    """by…, v.<kind>…, count, place (from 0, in the order of values): at most one value more than may be read."""
    names = [f"v.{kind}" for kind in cell.kinds]
    counted = rows.group_by(*by, *names).agg(pl.len().cast(pl.Int64).alias("count"))
    ordered = counted.sort([*map(pl.col, by), *cell.ordered()], nulls_last=False)
    placed = ordered.with_columns(pl.int_range(pl.len()).over(*by).alias("place"))
    return placed.filter(pl.col("place") <= VALUES_MAX)


FRAMES: dict[type[Monoid], Callable[[pl.LazyFrame, Sequence[str], Cell], pl.LazyFrame]] = {
    Earliest: _first,
    Latest: _last,
    Union: _distinct,
    Tally: _distinct,
}


def most_frequent(values: pl.LazyFrame, cell: Cell) -> pl.LazyFrame:
    """Of `_distinct` frames: per id the value with the greatest count, of several the least."""
    kept = values.filter(pl.col("place") < VALUES_MAX)
    best = kept.filter(pl.col("count") == pl.col("count").max().over("id"))
    return best.filter(pl.col("place") == pl.col("place").min().over("id")).select(
        "id", *[one for one in cell.kinds.values()]
    )


def percentile(values: pl.LazyFrame, share: float) -> pl.LazyFrame:
    """Of `_distinct` frames of numbers: per id `value`, linear between ranks (`values.percentile`)."""
    kept = values.filter(pl.col("place") < VALUES_MAX).sort("id", "place")
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
