"""Parquet: its columns in chunks, in types that every reader of a chunk has.

Dictionaries become their values, maps objects, nanoseconds microseconds, and ids of 128 bits texts. A text that is no
UTF-8 is a fault of its row.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.importing.chunk import ERROR, STEP_ROWS, Chunk, Fault, ImportRefused, parts


class ParquetFile:
    """An opened Parquet file: `names` are those of its columns, `total` is how many rows it has."""

    encoding = None

    def __init__(self, file: Any, name: str) -> None:
        self._name = name
        try:
            self._file = pq.ParquetFile(file, buffer_size=1 << 20)
        except (pa.ArrowInvalid, OSError) as error:
            raise ImportRefused(f"{name} is no Parquet file: {error}") from error
        self.total = self._file.metadata.num_rows
        self.names = list(self._file.schema_arrow.names)
        twice = sorted({one for one in self.names if self.names.count(one) > 1})
        if twice:
            raise ImportRefused(f"{name} has two columns {', '.join(twice)}: give each a name of its own")

    def chunks(self, rows_at_once: int, bytes_at_once: int) -> Generator[Chunk, None, None]:
        """The rows, so many at a time."""
        try:
            batches = self._file.iter_batches(STEP_ROWS)
            waiting: list[pa.RecordBatch] = []

            def step(count: int) -> list[pa.RecordBatch]:
                batch = waiting.pop() if waiting else next(batches, None)
                if batch is None:
                    return []
                if batch.num_rows > count:
                    waiting.append(batch.slice(count))
                return [batch.slice(0, count)]

            line = 1
            for part in parts(step, _bytes_of, rows_at_once, bytes_at_once, lambda some: sum(map(len, some))):
                table = pa.Table.from_batches(part.rows)
                yield _chunk(table, line, part.names)
                line += len(table)
        except (pa.ArrowInvalid, OSError) as error:
            raise ImportRefused(f"{self._name} is no Parquet file: {error}") from error


def _bytes_of(batches: list[pa.RecordBatch]) -> int:
    return sum(batch.nbytes for batch in batches)


def _chunk(read: pa.Table, first_line: int, names: dict[str, Any]) -> Chunk:
    faults = _faults(read)
    table = _plain(_without_faults(read) if faults else read)

    def rows(places: Sequence[int]) -> list[dict[str, Any]]:
        taken: list[dict[str, Any]] = table.take(pa.array(places, pa.int64())).to_pylist(maps_as_pydicts="lossy")
        for at, place in enumerate(places):
            if place in faults:
                taken[at] = {ERROR: faults[place]}
        return taken

    columns: dict[str, pl.Series] | None = None
    with suppress(pl.exceptions.PolarsError, ValueError, NotImplementedError):
        # Where Polars lacks a type of a column there are no columns: the chunk is read row by row.
        columns = {name: pl.Series(name, pl.from_arrow(table[name])) for name in table.column_names}
    lines = range(first_line, first_line + len(table))
    return Chunk(lines, rows, columns, broken=sorted(faults), **names)


def _faults(table: pa.Table) -> dict[int, Fault]:
    """The places of rows with a text that is no UTF-8."""
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        pass
    else:
        return {}
    faults = {}
    for name in table.column_names:
        column = table[name]
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        for at, value in enumerate(column.cast(_bytes_type(column.type)).to_pylist()):
            if value is None:
                continue
            try:
                value.decode()
            except UnicodeDecodeError as error:
                text = value.decode("utf-8", "backslashreplace")
                detail = f"{name}: byte 0x{value[error.start]:02x} at place {error.start + 1}"
                faults[at] = Fault("not utf-8: write the column anew", detail, text)
    return faults


def _without_faults(table: pa.Table) -> pa.Table:
    """The table with nulls in the place of texts that are no UTF-8."""
    columns = []
    for name in table.column_names:
        column = table[name]
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            values = column.cast(_bytes_type(column.type)).to_pylist()
            column = pa.chunked_array([pa.array([_text(value) for value in values], column.type)])
        columns.append(column)
    return pa.table(columns, names=table.column_names)


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _bytes_type(kind: pa.DataType) -> pa.DataType:
    return pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()


def _plain(table: pa.Table) -> pa.Table:
    """The table in types that every reader has; texts that are no UTF-8 are null."""
    columns = []
    for name in table.column_names:
        column = table[name]
        if isinstance(column.type, pa.BaseExtensionType):
            column = _without_extension(column)
        wanted = _plain_type(column.type)
        if wanted != column.type:
            # What Arrow cannot convert stays as it is, and `_chunk` reads it row by row.
            with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
                column = column.cast(wanted, safe=False)
        columns.append(column)
    return pa.table(columns, names=table.column_names)


def _without_extension(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.type.extension_name == "arrow.uuid":
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    return pa.chunked_array([part.storage for part in column.chunks], column.type.storage_type)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain_type(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_plain_type(kind.value_type))
    return kind
