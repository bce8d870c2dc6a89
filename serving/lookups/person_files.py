"""The rows of a lake of any size, each beside the other rows of its person: in files on disk, each of some people.

The hash of its person says to which file a row goes, so all ids of a person are in one file. A small event takes some
70 bytes. The number of files is bounded (`row_files.FILES_MAX`): beyond it each file grows. A file that is too large to
be read at once, for the number or the size of its rows, is read into smaller ones first. A person is never cut.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from expressions.rules.deletes import GONE
from expressions.rules.identity import with_person
from serving.lookups.row_files import FILES_MAX, RowFiles

#: Rows of people that are in memory at once, in bytes.
BYTES_AT_ONCE = 64 << 20


class PersonFiles:
    """`count` files. `linked` has id and person of every id that belongs to another."""

    def __init__(self, count: int, linked: pl.DataFrame, bytes_at_once: int = BYTES_AT_ONCE) -> None:
        self._files = RowFiles(count)
        self._linked = linked
        self._bytes_at_once = bytes_at_once

    def __enter__(self) -> PersonFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, events: pl.DataFrame) -> None:
        """Puts each row into the file of its person, with a column `person` more."""
        _put(self._files, with_person(events.lazy(), self._linked).collect(), seed=0)

    def take(self) -> Iterator[pl.DataFrame]:
        """All rows of some people at a time. Each file is gone once it was read."""
        for number in range(len(self._files)):
            count = min(-(-self._files.size(number) // self._bytes_at_once), FILES_MAX)
            if count <= 1:
                yield from self._files.take_one(number)
                continue
            smaller = RowFiles(count)
            try:
                for rows in self._files.batches(number):
                    _put(smaller, rows, seed=1)
                yield from smaller.take()
            finally:
                smaller.close()


def _put(files: RowFiles, rows: pl.DataFrame, seed: int) -> None:
    # A purged delete has the hash of an id, so its person is unknown: it goes into every file.
    is_nameless = pl.col("id").str.starts_with(GONE)
    nameless = rows.filter(is_nameless)
    for number in range(len(files)) if len(nameless) else ():
        files.add(number, nameless)
    file = (pl.col("person").hash(seed) % len(files)).alias("file")
    files.add_by("file", rows.filter(~is_nameless).with_columns(file))
