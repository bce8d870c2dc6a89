"""The rows of a lake of any size, each beside the other rows of its person: in files on disk, each of some people.

The hash of its person says to which file a row goes, so all ids of a person are in one file. A small event takes some
70 bytes. The number of files is bounded (`row_files.FILES_MAX`): beyond it each file grows, and the memory to read one.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from expressions.rules.deletes import GONE
from expressions.rules.identity import with_person
from serving.lookups.row_files import RowFiles


class PersonFiles:
    """`count` files. `linked` has id and person of every id that belongs to another."""

    def __init__(self, count: int, linked: pl.DataFrame) -> None:
        self._files = RowFiles(count)
        self._linked = linked

    def __enter__(self) -> PersonFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, events: pl.DataFrame) -> None:
        """Puts each row into the file of its person, with a column `person` more."""
        rows = with_person(events.lazy(), self._linked).collect()
        # A purged delete has the hash of an id, so its person is unknown: it goes into every file.
        is_nameless = pl.col("id").str.starts_with(GONE)
        nameless = rows.filter(is_nameless)
        for number in range(len(self._files)) if len(nameless) else ():
            self._files.add(number, nameless)
        file = (pl.col("person").hash() % len(self._files)).alias("file")
        self._files.add_by("file", rows.filter(~is_nameless).with_columns(file))

    def take(self) -> Iterator[pl.DataFrame]:
        """All rows of the people of one file at a time. Each file is gone once it was read."""
        return self._files.take()
