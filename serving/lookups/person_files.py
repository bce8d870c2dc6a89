"""The rows of a lake of any size, each beside the others of its person: in files on disk, one for some of the people.

A row goes to the file that the hash of its person says, so every id of a person is in the same one: some 70 bytes a
small event. Beyond so many times the rows that fit in memory, each file holds more than those.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from expressions.rules.deletes import GONE
from expressions.rules.identity import with_person
from serving.lookups.row_files import RowFiles


class PersonFiles:
    """So many files. `known` says whose ids are whose: id and person, of those that belong to another."""

    def __init__(self, count: int, known: pl.DataFrame) -> None:
        self._files = RowFiles(count)
        self._known = known

    def __enter__(self) -> PersonFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, events: pl.DataFrame) -> None:
        """Puts rows where they belong, with a column `person` more."""
        rows = with_person(events.lazy(), self._known).collect()
        # A purged delete has the hash of an id, which no file can be told by: it is in each.
        is_nameless = pl.col("id").str.starts_with(GONE)
        nameless = rows.filter(is_nameless)
        for number in range(len(self._files)) if len(nameless) else ():
            self._files.add(number, nameless)
        file = (pl.col("person").hash() % len(self._files)).alias("file")
        self._files.add_by("file", rows.filter(~is_nameless).with_columns(file))

    def take(self) -> Iterator[pl.DataFrame]:
        """Every row, the people of one file at a time; each file is gone once it was read."""
        return self._files.take()
