"""The rows of a training set: whose they are and of which instant."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa

from .._engine import record_of
from .times import column_ms


def frame_of(labels: Any) -> pl.DataFrame:
    """Labels as a frame, in their order: of Polars, pandas, Arrow, DuckDB, or a dict of columns.

    Raises ValueError for anything else.
    """
    match labels:
        case pl.DataFrame():
            return labels
        case pl.LazyFrame():
            return labels.collect()
    try:
        try:
            return pl.DataFrame(labels)
        except pl.exceptions.ComputeError:
            return pl.DataFrame(_in_utc(labels))
    except (TypeError, ValueError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(
            f"labels of type {type(labels).__name__} are no table ({reason}): give a frame of Polars, pandas or Arrow, "
            "a relation of DuckDB, or a dict of columns"
        ) from error


def _in_utc(labels: Any) -> pa.Table:
    """The same labels with aware times in UTC: Polars knows no zone that is an offset alone, as +05:30 of pandas."""
    is_pandas = type(labels).__module__.partition(".")[0] == "pandas"
    table = pa.Table.from_pandas(labels, preserve_index=False) if is_pandas else pa.table(labels)
    for number, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            in_utc = table.column(number).cast(pa.timestamp(field.type.unit, "UTC"))
            table = table.set_column(number, field.name, in_utc)
    return table


def questions_of(labels: pl.DataFrame, id_column: str, ts_column: str, *, strict: bool) -> pl.DataFrame:
    """id (namespaced), now (UTC ms): one row a label, in order. Raises ValueError, which names the column."""
    for argument, name in (("id", id_column), ("ts", ts_column)):
        if name not in labels.columns:
            columns = ", ".join(labels.columns) or "none"
            raise ValueError(f"labels have no column {name!r}: name it with {argument}=…; they have {columns}")
    now = column_ms(ts_column, labels[ts_column])
    return pl.DataFrame([_records(id_column, labels[id_column]).alias("id"), (now - int(strict)).alias("now")])


def _records(name: str, ids: pl.Series) -> pl.Series:
    """The records that ids mean: a bare one, or a whole number, is a user's; `anon:`, `email:` or `user:` may lead."""
    if ids.is_empty():
        return pl.Series(name, [], dtype=pl.String)
    if ids.dtype.is_integer() or ids.dtype in (pl.Categorical, pl.Enum, pl.Null):
        ids = ids.cast(pl.String)
    if ids.dtype != pl.String:
        raise ValueError(f"{name} holds {ids.dtype}: give ids as text, as ada or anon:5f3a, or whole numbers")
    is_blank = ids.is_null() | (ids.str.strip_chars() == "")
    if is_blank.any():
        raise ValueError(f"{name} has no id in row {is_blank.arg_true()[0]}: give each row the id of its person")
    distinct = ids.unique()
    records = pl.Series([record_of(text) for text in distinct.to_list()], dtype=pl.String)
    return ids.replace_strict(distinct, records, return_dtype=pl.String)
