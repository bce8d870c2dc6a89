"""Rows of Parquet files in batches that are bounded by rows and by bytes: an event may have 300 bytes or 30,000.

Files are read one by one, some hundred rows of a file at a time, and these are put together while there is room. So no
batch is larger than its bound by more than one such part, and each row is copied once. A dataset's own scan reads many
files ahead, 131,072 rows of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

#: Rows of a file that are read at once: 16 MiB of the largest events.
PART_ROWS = 512
#: Of a batch, as Arrow has its rows in memory.
BATCH_ROWS, BATCH_BYTES = 50_000, 32 << 20
#: A column of a file is read in pieces of so many bytes, not as a whole.
_READ = ds.ParquetFragmentScanOptions(use_buffered_stream=True, buffer_size=1 << 20, pre_buffer=False)


def batches_of(
    dataset: Any, columns: Sequence[str], rows_max: int = BATCH_ROWS, bytes_max: int = BATCH_BYTES
) -> Iterator[pa.RecordBatch]:
    """The rows of a dataset in no order; no batch is empty."""
    parts = dataset.to_batches(
        columns=list(columns),
        batch_size=min(PART_ROWS, rows_max),
        batch_readahead=0,
        fragment_readahead=0,
        fragment_scan_options=_READ,
        use_threads=False,
    )
    return joined(parts, rows_max, bytes_max)


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
