"""Rows of Parquet files in batches that are bounded by rows and by bytes: an event may have 300 bytes or 30,000.

Files are read one by one, some hundred rows of a file at a time, and these are put together while there is room. So no
batch is larger than its bound by more than one such part, and each row is copied once. A dataset's own scan reads many
files ahead, and of each a row group as a whole: a packed day is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

#: Rows of a file that are read at once: 16 MiB of the largest events.
PART_ROWS = 512
#: The same where no column has what was sent: ids and names of events have a few hundred bytes. A part costs as much as
#: thousands of such rows.
NARROW_PART_ROWS = 8_192
#: Of a batch, as Arrow has its rows in memory.
BATCH_ROWS, BATCH_BYTES = 50_000, 32 << 20
#: A column of a file is read in pieces of so many bytes, not as a whole.
READ_BYTES = 1 << 20


def batches_of(
    dataset: Any,
    columns: Sequence[str],
    rows_max: int = BATCH_ROWS,
    bytes_max: int = BATCH_BYTES,
    part_rows: int = PART_ROWS,
    paths: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a dataset in no order, or those of some of its files, file by file; no batch is empty."""
    return joined(_parts(dataset, columns, min(part_rows, rows_max), paths), rows_max, bytes_max)


def _parts(dataset: Any, columns: Sequence[str], rows: int, paths: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """The rows of each file, some at a time, with the columns and types of the dataset."""
    import pyarrow.dataset as ds  # imports pandas where there is one: half a second that most processes never need

    schema = pa.schema([dataset.schema.field(name) for name in columns])
    fragments = dataset.get_fragments()
    if paths is not None:
        by_path = {unquote(fragment.path): fragment for fragment in fragments}
        fragments = [by_path[unquote(path)] for path in paths]
    for fragment in fragments:
        values = ds.get_partition_keys(fragment.partition_expression)
        with closing(fragment.open()) as opened, pq.ParquetFile(opened, buffer_size=READ_BYTES) as file:
            stored = [name for name in columns if name in file.schema_arrow.names and name not in values]
            for batch in file.iter_batches(rows, columns=stored, use_threads=False):
                arrays = [_column(batch, field, values) for field in schema]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(batch: pa.RecordBatch, field: pa.Field, values: dict[str, Any]) -> pa.Array:
    """A column of some rows of a file: as it is stored, or the value of the partition; empty where it is neither."""
    if field.name in values:
        return pa.repeat(pa.scalar(values[field.name], field.type), batch.num_rows)
    if field.name not in batch.schema.names:
        return pa.nulls(batch.num_rows, field.type)
    column = batch.column(field.name)
    return column if column.type == field.type else column.cast(field.type)


def joined(
    parts: Iterable[pa.RecordBatch], rows_max: int = BATCH_ROWS, bytes_max: int = BATCH_BYTES
) -> Iterator[pa.RecordBatch]:
    """The same rows in larger batches: of so many rows at most, and begun while they had fewer bytes."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for part in parts:
        if waiting and (size >= bytes_max or rows + part.num_rows > rows_max):
            yield _one(waiting)
            waiting, rows, size = [], 0, 0
        if part.num_rows:
            waiting.append(part)
            rows += part.num_rows
            size += part.nbytes
    if waiting:
        yield _one(waiting)


def _one(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches(parts)
