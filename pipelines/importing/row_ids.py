"""The ids of rows that give none: a row is named by its source, by what it is read for, by its values, and by its place
among equal rows.

    a row  →  its values as the file has them, in order of their columns' names  →  a hash  →  with its place, its id

Values are taken before conversion, so that another way to read them makes no other row; what is empty is absent. Equal
rows of all files of a command are counted together, and take the places 0, 1, 2 …. So the order of rows, files and
columns changes nothing, and a file with one more line has one more row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
import polars as pl

from expressions.rules.values import GAPS_FROM
from lake.halving import halving
from pipelines.importing.chunk import ERROR, Chunk, Fault
from pipelines.importing.spilled_keys import KEY, KEY_BYTES, SpilledKeys
from pipelines.importing.times import FLOAT_KINDS, WHOLE_KINDS

#: Bytes of an id; it has two digits for each.
ID_BYTES = 12

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_WHOLE = (*WHOLE_KINDS, pl.UInt64, pl.Int128, pl.UInt128)


class RowIds:
    """Names the rows of a command, chunk by chunk. `source` tells equal rows of two sources apart, and `read_for` the
    events that two commands make of one row (`Columns.read_for`).
    """

    def __init__(self, source: str, read_for: str = "") -> None:
        self._salt = blake2b(source.encode(), digest_size=blake2b.SALT_SIZE).digest()
        self._person = blake2b(read_for.encode(), digest_size=blake2b.PERSON_SIZE).digest() if read_for else b""
        self._before = SpilledKeys()

    def of(self, chunk: Chunk) -> ChunkIds:
        """The ids of a chunk that comes behind those that were named before."""
        return ChunkIds(chunk, self._named)

    def _named(self, chunk: Chunk) -> list[str]:
        hashes = halving(partial(self._hashes, chunk), len(chunk.lines))
        keys = np.frombuffer(b"".join(hashes), dtype=KEY)
        ids = [digits[: 2 * ID_BYTES] for digits in map(bytes.hex, hashes)]
        places = self._before.add(keys)
        for at in np.flatnonzero(places).tolist():  # few rows have an equal one before them
            ids[at] = blake2b(hashes[at] + b"%d" % places[at], digest_size=ID_BYTES).hexdigest()
        return ids

    def _hashes(self, chunk: Chunk, rows_at_once: int) -> list[bytes]:
        hashes: list[bytes] = []
        for at in range(0, len(chunk.lines), rows_at_once):
            texts = row_texts(chunk.piece(at, at + rows_at_once))
            hashes += [
                blake2b(text.encode(), digest_size=KEY_BYTES, salt=self._salt, person=self._person).digest()
                for text in texts
            ]
        return hashes


class ChunkIds:
    """The ids of a chunk's rows by line; they are made when the first is asked for: mostly files have ids of their own.

    A row takes its place among equal rows then. All of these give an id, or none does.
    """

    def __init__(self, chunk: Chunk, name: Any) -> None:
        self._chunk, self._name = chunk, name
        self._ids: dict[int, str] | None = None

    def __call__(self, lines: Iterable[int]) -> list[str]:
        """The ids of the rows of some lines."""
        if self._ids is None:
            self._ids = dict(zip(self._chunk.lines, self._name(self._chunk), strict=True))
        return [self._ids[line] for line in lines]


def row_texts(chunk: Chunk) -> Sequence[str]:
    """Each row as one text: names and values as the file has them, in order of the names. Equal rows have equal texts.

    What a row that cannot be read has here means nothing.
    """
    columns = chunk.columns
    if columns is None or any(not _is_simple(column.dtype) for column in columns.values()):
        return [_row_text(row) for row in chunk.rows(range(len(chunk.lines)))]
    texts = pl.DataFrame([_texts(columns[name]).alias(f"t{at}") for at, name in enumerate(sorted(columns))])
    parts = []
    for at, name in enumerate(sorted(columns)):
        value = pl.col(f"t{at}")
        size = value.str.len_bytes().cast(pl.String)
        parts.append(pl.concat_str(pl.lit(f"{len(name)}:{name}"), size, pl.lit(":"), value))
    return texts.select(pl.concat_str(parts, ignore_nulls=True).fill_null("").alias("text"))["text"].to_list()


def _row_text(row: dict[str, Any]) -> str:
    if isinstance(row.get(ERROR), Fault):
        return ""
    texts = ((name, _text(row[name])) for name in sorted(row))
    return "".join(f"{len(name)}:{name}{len(text.encode())}:{text}" for name, text in texts if text is not None)


def _is_simple(kind: pl.DataType) -> bool:
    """Whether a column is read whole; the rows of a chunk with another one are read one by one."""
    return kind in (pl.String, pl.Boolean, pl.Null, pl.Date, pl.Datetime, pl.Duration, *_WHOLE, *FLOAT_KINDS)


def _texts(column: pl.Series) -> pl.Series:
    """The values of a column as texts; null where one is absent. It says the same as `_text`."""
    value, text = pl.col("value"), pl.col("value").cast(pl.String)
    match column.dtype:
        case pl.String:
            text = pl.when(value != "").then(value)
        case pl.Boolean:
            text = pl.when(value).then(pl.lit("true")).when(~value).then(pl.lit("false"))
        case pl.Datetime():
            text = value.dt.timestamp("us").cast(pl.String)
        case pl.Duration():
            text = value.dt.total_microseconds().cast(pl.String)
        case kind if kind in FLOAT_KINDS:
            return _float_texts(column.cast(pl.Float64))
    return column.to_frame("value").select(text.alias("value"))["value"]


def _float_texts(column: pl.Series) -> pl.Series:
    """Floats as `_text` writes them. Polars writes usual ones as JSON has them, all others are written one by one."""
    number = pl.col("value")
    whole = pl.when((number == number.floor()) & (number.abs() < 1e15)).then(number)
    usual = pl.when((number.abs() >= 0.001) & (number.abs() < 1e15)).then(number)
    text = pl.coalesce(whole.cast(pl.Int64).cast(pl.String), usual.cast(pl.String)).alias("value")
    texts = column.to_frame("value").select(text)["value"]
    left = (texts.is_null() & column.is_not_null()).arg_true()
    if left.is_empty():
        return texts
    return texts.scatter(left, pl.Series([_text(one) for one in column.gather(left).to_list()], dtype=pl.String))


def _text(value: Any) -> str | None:
    """A value as text; None where it is absent. A whole number is one whatever its column is: one gap makes floats."""
    match value:
        case None | "":
            return None
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if math.isnan(value):
            return None
        case float() if value.is_integer() and abs(value) < GAPS_FROM:
            return str(int(value))
        case datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return str((aware - _EPOCH) // _MICROSECOND)
        case date():
            return value.isoformat()
        case timedelta():
            return str(value // _MICROSECOND)
        case Decimal() if value.is_finite():
            return str(int(value)) if value == value.to_integral_value() else f"{value.normalize():f}"
        case bytes():
            return value.hex() or None
        case int() | Decimal():
            return str(value)
    return msgspec.json.encode(value, enc_hook=str, order="deterministic").decode()
