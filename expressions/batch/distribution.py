"""How the values of a trait are spread over people: a pure function over a frame of answers.

1. answers     id, and a struct for each definition (`frames.answer_frame`): one row a person
2. numbers     a histogram: low, high, count; one row a bin
3. the others  the most frequent values, each with how many people have it; of a list each item counts once
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from ..definitions import Key
from ..rules.values import to_json
from .cells import Cell, item_keys, item_of_key
from .frames import column_of

#: Bins of a histogram, and values that are listed.
BINS, TOP = 20, 20
#: The bins but the last are spread over this share of the numbers: a few huge ones would push all others into one bin.
MOST = 0.99
#: Characters of a value that is listed.
VALUE_CHARACTERS_MAX = 200


def distribution(answers: pl.DataFrame, key: Key) -> dict[str, Any]:
    """`none`: people without a value. `histogram`: bins of the numbers. `top`: the most frequent other values.

    A bin is [low, high), the last one [low, high]: it reaches up to the greatest number. Whole numbers that are close
    have a bin each. `distinct` is how many other values there are, the listed ones among them.
    """
    values = answers.select(pl.col(column_of(key)).alias("value")).unnest("value")
    kinds = ("boolean", "number", "string", "list")
    scalars = item_keys(Cell({"boolean": pl.col("boolean"), "string": pl.col("string")}))
    items = pl.concat(
        [
            values.filter(pl.any_horizontal(pl.col("boolean", "string").is_not_null())).select(scalars.alias("item")),
            # A list holds each of its values once, or an author wrote it out.
            values.filter(pl.col("list").is_not_null())
            .select(pl.col("list").list.unique().alias("item"))
            .explode("item"),
        ]
    ).drop_nulls()
    counts = items.group_by("item").len().sort("len", "item", descending=[True, False])
    return {
        "none": values.select(pl.all_horizontal(pl.col(*kinds).is_null()).sum()).item(),
        "histogram": _bins(values["number"].drop_nulls().to_numpy()),
        "top": [{"value": _listed(item), "count": count} for item, count in counts.head(TOP).iter_rows()],
        "distinct": len(counts),
    }


def _bins(numbers: np.ndarray[Any, np.dtype[np.float64]]) -> list[dict[str, Any]]:
    if not len(numbers):
        return []
    low, high = float(numbers.min()), float(numbers.max())
    if high - low < BINS and bool((numbers == np.floor(numbers)).all()) and abs(low) < 2**52 and abs(high) < 2**52:
        edges = np.arange(low, high + 2)
    else:
        most = float(np.quantile(numbers, MOST, method="lower"))
        parts = np.linspace(0.0, 1.0, BINS + 1)
        # Two products: the difference of two numbers may be beyond a float.
        edges = np.unique(low * (1.0 - parts) + (most if most > low else high) * parts)
        edges = np.append(edges[:-1], high) if len(edges) > 1 else np.array([low, high])
    counts, edges = np.histogram(numbers, edges)
    return [
        {"low": to_json(float(start)), "high": to_json(float(end)), "count": int(count)}
        for start, end, count in zip(edges, edges[1:], counts, strict=False)
    ]


def _listed(item: str) -> Any:
    value = item_of_key(item)
    return value[:VALUE_CHARACTERS_MAX] if isinstance(value, str) else to_json(value)
