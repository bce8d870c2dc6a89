"""Rows on disk, in files without names: whatever ends the process, nothing of them is left.

They are where `TMPDIR` says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Any

import polars as pl
import pyarrow as pa

#: Files at the most: each is open.
FILES_MAX = 512


class RowFiles:
    """So many files of rows, all of the same columns."""

    def __init__(self, count: int) -> None:
        self._files: list[IO[bytes]] = [tempfile.TemporaryFile() for _ in range(count)]  # noqa: SIM115 - see close
        self._writers: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._files)

    def close(self) -> None:
        """Drops them all."""
        for file in self._files:
            file.close()

    def add(self, number: int, rows: pl.DataFrame) -> None:
        """Puts rows behind those that are in a file."""
        table = rows.to_arrow()
        if number not in self._writers:
            packed = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writers[number] = pa.ipc.new_stream(self._files[number], table.schema, options=packed)
        self._writers[number].write_table(table)

    def add_by(self, column: str, rows: pl.DataFrame) -> None:
        """Puts each row into the file of this number; the column goes."""
        for (number,), part in rows.partition_by(column, as_dict=True, include_key=False).items():
            self.add(number, part)

    def take(self) -> Iterator[pl.DataFrame]:
        """The rows of one file at a time, in order of their numbers; empty ones are left out, read ones are gone."""
        for number in sorted(self._writers):
            rows = pl.DataFrame(self._opened(number).read_all())
            self._files[number].close()
            yield rows
            del rows

    def batches(self, number: int) -> Iterator[pl.DataFrame]:
        """The rows of a file as they were added; then it is gone."""
        if number in self._writers:
            for batch in self._opened(number):
                yield pl.DataFrame(batch)
        self._files[number].close()

    def _opened(self, number: int) -> Any:
        self._writers[number].close()
        self._files[number].seek(0)
        return pa.ipc.open_stream(self._files[number])
