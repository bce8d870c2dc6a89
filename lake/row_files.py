"""Rows on disk, in files without names: nothing of them is left, whatever ends the process.

They are in the folder that `TMPDIR` names.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Any

import polars as pl
import pyarrow as pa

#: Files at most: each is open.
FILES_MAX = 512


class RowFiles:
    """`count` files of rows, all with the same columns."""

    def __init__(self, count: int) -> None:
        self._files: list[IO[bytes]] = [tempfile.TemporaryFile() for _ in range(count)]  # noqa: SIM115 - see close
        self._writers: dict[int, Any] = {}
        self._sizes = [0] * count

    def __len__(self) -> int:
        return len(self._files)

    def close(self) -> None:
        """Drops all files."""
        for file in self._files:
            file.close()

    def add(self, number: int, rows: pl.DataFrame) -> None:
        """Appends rows to a file."""
        self.add_table(number, rows.to_arrow())

    def add_table(self, number: int, table: pa.Table) -> None:
        """The same for rows that Arrow has: their types stay as they are."""
        self._sizes[number] += table.nbytes
        if number not in self._writers:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writers[number] = pa.ipc.new_stream(self._files[number], table.schema, options=options)
        self._writers[number].write_table(table)

    def add_by(self, column: str, rows: pl.DataFrame) -> None:
        """Appends each row to the file whose number is in this column, and leaves the column out."""
        for (number,), part in rows.partition_by(column, as_dict=True, include_key=False).items():
            self.add(number, part)

    def size(self, number: int) -> int:
        """The bytes in memory of all rows of a file."""
        return self._sizes[number]

    def take(self) -> Iterator[pl.DataFrame]:
        """The rows of one file at a time, in the order of their numbers. Empty files are left out, read ones gone."""
        for number in range(len(self)):
            yield from self.take_one(number)

    def take_one(self, number: int) -> Iterator[pl.DataFrame]:
        """The rows of a file, once, where it has any. Then the file is gone."""
        if number in self._writers:
            rows = pl.DataFrame(self.take_table(number))
            yield rows
            del rows

    def take_table(self, number: int) -> pa.Table:
        """The rows of a file that has any, as they were added. Then the file is gone."""
        table = self._reader(number).read_all()
        self._files[number].close()
        return table

    def batches(self, number: int) -> Iterator[pl.DataFrame]:
        """The rows of a file in the batches in which they were added. Then the file is gone."""
        if number in self._writers:
            for batch in self._reader(number):
                yield pl.DataFrame(batch)
        self._files[number].close()

    def _reader(self, number: int) -> Any:
        self._writers[number].close()
        self._files[number].seek(0)
        return pa.ipc.open_stream(self._files[number])
