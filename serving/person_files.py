"""The rows of a lake of any size, each beside the others of its person: in files on disk, one for some of the people.

A row goes to the file that the hash of its person says, so every id of a person is in the same one. The files have no
names: whatever ends the process, nothing of them is left. They are where `TMPDIR` says, some 70 bytes a small event.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Any

import polars as pl
import pyarrow as pa

from expressions.deletes import GONE
from expressions.identity import with_person

#: Files at the most: each is open. Beyond so many times the rows that fit in memory, each file holds more than those.
FILES_MAX = 512


class PersonFiles:
    """So many files. `known` says whose ids are whose: id and person, of those that belong to another."""

    def __init__(self, count: int, known: pl.DataFrame) -> None:
        self._known = known
        self._files: list[IO[bytes]] = [tempfile.TemporaryFile() for _ in range(count)]  # noqa: SIM115 - see __exit__
        self._writers: dict[int, Any] = {}

    def __enter__(self) -> PersonFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def add(self, events: pl.DataFrame) -> None:
        """Puts rows where they belong, with a column `person` more."""
        rows = with_person(events.lazy(), self._known).collect()
        # A purged delete has the hash of an id, which no file can be told by: it is in each.
        is_nameless = pl.col("id").str.starts_with(GONE)
        nameless = rows.filter(is_nameless)
        named = rows.filter(~is_nameless).with_columns((pl.col("person").hash() % len(self._files)).alias("file"))
        parts = named.partition_by("file", as_dict=True, include_key=False)
        found = {number: part for (number,), part in parts.items()}
        for number in range(len(self._files)) if len(nameless) else found:
            table = pl.concat([nameless, *([found[number]] if number in found else [])]).to_arrow()
            if number not in self._writers:
                packed = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writers[number] = pa.ipc.new_stream(self._files[number], table.schema, options=packed)
            self._writers[number].write_table(table)

    def take(self) -> Iterator[pl.DataFrame]:
        """Every row, the people of one file at a time; each file is gone once it was read."""
        for number, writer in self._writers.items():
            writer.close()
            file = self._files[number]
            file.seek(0)
            rows = pl.from_arrow(pa.ipc.open_stream(file).read_all())
            file.close()
            assert isinstance(rows, pl.DataFrame), "a table becomes a frame"
            yield rows
            del rows
