"""The rows of a lake of any size, each beside the other rows of its person: in files on disk, each of some people.

All ids of a person are in one file (`lake.grouped_files`).
"""

from __future__ import annotations

import polars as pl

from expressions.rules.deletes import GONE
from expressions.rules.identity import with_person
from lake.grouped_files import BYTES_AT_ONCE, GroupedFiles


class PersonFiles(GroupedFiles):
    """`count` files. `linked` has id and person of every id that belongs to another."""

    def __init__(self, count: int, linked: pl.DataFrame, bytes_at_once: int = BYTES_AT_ONCE) -> None:
        # A purged delete has the hash of an id, so its person is unknown.
        super().__init__(count, "person", pl.col("id").str.starts_with(GONE), bytes_at_once)
        self._linked = linked

    def add(self, events: pl.DataFrame) -> None:
        """Puts each row into the file of its person, with a column `person` more."""
        super().add(with_person(events.lazy(), self._linked).collect())
