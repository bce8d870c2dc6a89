"""A lake that is only read: no table is made, and none gets the columns that another release added.

Each table is opened once, at its newest version, and stays there. So all answers of one reader are of the same rows.
"""

from __future__ import annotations

from typing import cast

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from .errors import LakeError, LakeUnreachable
from .lake import Lake
from .schemas import RETENTION_HOURS, Table
from .storage import holds_table


class ReadOnlyLake(Lake):
    """The tables of one system, for readers who may not write, or have no right to."""

    def open(self, table: Table) -> DeltaTable:
        """The table as it was when it was first asked for.

        Raises `LakeUnreachable` where it is absent or cannot be read, and `LakeError` where it lacks a column.
        """
        with self._lock:
            opened = self._tables.get(table.name)
            if opened is None:
                if not holds_table(self.root, table.name):
                    raise LakeUnreachable(f"{self.uri(table)}: no table is there")
                opened = self._tables[table.name] = self._opened(table)
            return opened

    def scan(self, table: Table, version: int | None = None) -> pl.LazyFrame:
        """All rows of a table, as of a version; none of a table that nobody has made yet."""
        if table.name not in self._tables and not holds_table(self.root, table.name):
            return cast(pl.DataFrame, pl.from_arrow(table.columns.empty_table())).lazy()
        return super().scan(table, version)

    def at(self, table: Table, version: int | None) -> DeltaTable:
        """The table at a version; None is the one of `open`. Raises `LakeUnreachable`, with the remedy."""
        self.open(table)
        try:
            return super().at(table, version)
        except LakeUnreachable as error:
            raise LakeUnreachable(
                f"{error} (version {version} cannot be read: each is kept for {RETENTION_HOURS} hours after the next "
                "came, and the newest is read where none is named)"
            ) from error

    def _opened(self, table: Table) -> DeltaTable:
        try:
            opened = DeltaTable(self.uri(table), storage_options=self.storage_options or None)
        except (DeltaError, OSError) as error:
            raise LakeUnreachable(f"{self.uri(table)}: {error}") from error
        lacking = set(table.columns.names) - {field.name for field in opened.schema().fields}
        if lacking:
            raise LakeError(
                f"{self.uri(table)} lacks {', '.join(sorted(lacking))}. Name the folder of a lake; if it is one, of an "
                "older release, start a stack of this release on it once, which adds them"
            )
        return opened
