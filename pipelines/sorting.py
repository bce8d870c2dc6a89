"""The rows of a closed day in the order of their table: on disk by shard, and one shard at a time in memory.

    rows of a day, in batches  →  a file for each shard  →  each file by itself, sorted  →  row groups

A reader of one person skips a row group by its least and greatest shard and id. So a row group has few rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from lake.row_files import FILES_MAX, RowFiles

#: Rows of a row group at most, and about how many bytes they have as Arrow has them.
GROUP_ROWS, GROUP_BYTES = 16_384, 32 << 20


class TooLarge(Exception):
    """The rows of one shard have more bytes than may be in memory."""


def in_order(batches: Iterable[pa.RecordBatch], order: Sequence[str], bytes_max: int) -> Iterator[pa.RecordBatch]:
    """The same rows sorted by the columns of `order`, of which `shard` is the first, in batches for row groups.

    Shards whose files they have in common, beyond `FILES_MAX` of them, come together. Raises `TooLarge`, before the
    first batch, where the rows of a file have more than `bytes_max`.
    """
    files: dict[int, RowFiles] = {}
    try:
        for batch in batches:
            for number, rows in _by_file(batch):
                if number not in files:
                    files[number] = RowFiles(1)
                files[number].add_table(0, rows)
        if any(file.size(0) > bytes_max for file in files.values()):
            raise TooLarge
        for number in sorted(files):
            yield from _groups(files[number].take_table(0), order)
    finally:
        for file in files.values():
            file.close()


def _by_file(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.Table]]:
    """The rows of a batch by the number of the file that they go to."""
    numbers = batch.column("shard").to_numpy() % FILES_MAX
    rows = pa.Table.from_batches([batch.take(pa.array(np.argsort(numbers, kind="stable")))])
    start = 0
    for number, count in zip(*np.unique(numbers, return_counts=True), strict=True):
        yield int(number), rows.slice(start, int(count))
        start += int(count)


def _groups(rows: pa.Table, order: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows sorted, so many at a time."""
    places = pl.DataFrame(rows.select(order)).with_row_index("place").sort(order)["place"].to_arrow()
    at_once = max(1, min(GROUP_ROWS, GROUP_BYTES * rows.num_rows // rows.nbytes))
    for start in range(0, rows.num_rows, at_once):
        yield from rows.take(places.slice(start, at_once)).combine_chunks().to_batches()
