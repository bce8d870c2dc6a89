"""The rows of a table of any size, each beside the other rows of its group: in files on disk, each of some groups.

The hash of its group says to which file a row goes, so a group is in one file. A small event takes some 70 bytes. The
number of files is bounded (`row_files.FILES_MAX`): beyond it each file grows. A file that is too large to be read at
once, for the number or the size of its rows, is read into smaller ones first. A group is never cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import polars as pl

from .row_files import FILES_MAX, RowFiles

#: Rows that are in memory at once, in bytes.
BYTES_AT_ONCE = 64 << 20


class GroupedFiles:
    """`count` files of rows. The column `group` says which rows belong together.

    Rows for which `everywhere` holds are of no known group: they go into every file.
    """

    def __init__(self, count: int, group: str, everywhere: pl.Expr, bytes_at_once: int = BYTES_AT_ONCE) -> None:
        self._files = RowFiles(count)
        self._group, self._everywhere = group, everywhere
        self._bytes_at_once = bytes_at_once

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    def add(self, rows: pl.DataFrame) -> None:
        """Puts each row into the file of its group."""
        self._put(self._files, rows, seed=0)

    def take(self) -> Iterator[pl.DataFrame]:
        """All rows of some groups at a time. Each file is gone once it was read."""
        for number in range(len(self._files)):
            count = min(-(-self._files.size(number) // self._bytes_at_once), FILES_MAX)
            if count <= 1:
                yield from self._files.take_one(number)
                continue
            smaller = RowFiles(count)
            try:
                for rows in self._files.batches(number):
                    self._put(smaller, rows, seed=1)
                yield from smaller.take()
            finally:
                smaller.close()

    def _put(self, files: RowFiles, rows: pl.DataFrame, seed: int) -> None:
        groupless = rows.filter(self._everywhere)
        for number in range(len(files)) if len(groupless) else ():
            files.add(number, groupless)
        file = (pl.col(self._group).hash(seed) % len(files)).alias("file")
        files.add_by("file", rows.filter(~self._everywhere).with_columns(file))
