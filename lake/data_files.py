"""Data files of a table, written batch by batch: no more than a batch and its encoded columns are in memory.

Delta's own writer takes all rows of a reader into memory before it writes the first of them, however many there are and
whatever sizes of files and row groups it is given (deltalake 1.4 to 1.6). Rows that are in memory already are written
by it; those of a partition that is rewritten are written here. The commit is Delta's own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from .schemas import Table
from .stored_files import StoredFiles

#: A file is closed when it has so many bytes, as Delta's own writer does.
FILE_BYTES = 100 << 20
#: The columns of which a table's log says the least and the greatest value (`Table.configuration`).
_MEASURED = ("shard", "seq", "ts")


def write_data_files(
    files: StoredFiles,
    table: Table,
    partition: Mapping[str, str],
    columns: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    file_bytes: int = FILE_BYTES,
) -> list[AddAction]:
    """Writes rows of a partition, a row group for each batch; returns what a commit says of the files.

    `columns` are those of the batches, those of the partition among them. No file has no rows. When it raises, none of
    the files is left, as far as the store lets them be dropped. Raises `LakeUnreachable`.
    """
    stored = pa.schema([field for field in columns if field.name not in partition])
    folder = "".join(f"{column}={value}/" for column, value in partition.items())
    rest = (batch for batch in batches if batch.num_rows)
    added: list[AddAction] = []
    try:
        while (first := next(rest, None)) is not None:
            path = f"{folder}part-{uuid4()}.snappy.parquet"
            statistics = _Statistics(stored)
            with files.writer(f"{table.name}/{path}") as sink:
                with pq.ParquetWriter(sink, stored, compression="snappy", store_schema=False) as writer:
                    for batch in chain([first], rest):
                        rows = pa.Table.from_batches([batch.select(stored.names)])
                        statistics.add(rows)
                        writer.write_table(rows, row_group_size=rows.num_rows)
                        if sink.tell() >= file_bytes:
                            break
                size = sink.tell()
            added.append(AddAction(path, size, dict(partition), time.time_ns() // 1_000_000, True, statistics.json()))
    except BaseException:
        drop_data_files(files, table, added)
        raise
    return added


def drop_data_files(files: StoredFiles, table: Table, added: Sequence[AddAction]) -> None:
    """Drops files that no commit names."""
    files.delete_all([f"{table.name}/{file.path}" for file in added])


class _Statistics:
    """What the log says of a file's rows: how many there are, and of each measured column least, greatest and nulls."""

    def __init__(self, stored: pa.Schema) -> None:
        self._rows = 0
        self._least: dict[str, int] = {}
        self._greatest: dict[str, int] = {}
        self._nulls = {name: 0 for name in _MEASURED if name in stored.names}

    def add(self, rows: pa.Table) -> None:
        """Counts some rows."""
        self._rows += rows.num_rows
        for name in self._nulls:
            self._nulls[name] += rows.column(name).null_count
            bounds = pc.min_max(rows.column(name)).as_py()
            if bounds["min"] is not None:
                self._least[name] = min(self._least.get(name, bounds["min"]), bounds["min"])
                self._greatest[name] = max(self._greatest.get(name, bounds["max"]), bounds["max"])

    def json(self) -> str:
        """The statistics as Delta's protocol has them."""
        return json.dumps(
            {
                "numRecords": self._rows,
                "minValues": self._least,
                "maxValues": self._greatest,
                "nullCount": self._nulls,
            }
        )
