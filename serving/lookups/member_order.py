"""Members in the order of the file, the newest first, however many they are: sorted on disk.

    some members at a time  →  one file, and of each hundred a key  →  files of keys between some of those  →  sorted

Keys that were picked cut all members into parts of about the same size, each of which is sorted by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from serving.lookups.row_files import FILES_MAX, RowFiles

#: Of so many members, in order, one key is kept.
PICKED_EACH = 100

#: By time, the newest first, then by id. Texts of one length order as numbers do; times are within 2^53 of 1970.
KEY = pl.concat_str((2**54 - pl.col("created_at")).cast(pl.String).str.zfill(17), "id").alias("key")


class MemberOrder:
    """Members, with the columns id and created_at among others, on their way into order; about so many are sorted at
    once."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._all = RowFiles(1)
        self._parts: RowFiles | None = None
        self._picked: list[pl.Series] = []
        self._count = 0

    def __enter__(self) -> MemberOrder:
        return self

    def __exit__(self, *_: object) -> None:
        self._all.close()
        if self._parts is not None:
            self._parts.close()

    def add(self, members: pl.DataFrame) -> None:
        """Takes some of the members, in any order."""
        keyed = members.with_columns(KEY)
        self._picked.append(keyed["key"].sort().gather_every(PICKED_EACH))
        self._count += len(keyed)
        self._all.add(0, keyed)

    def take(self) -> Iterator[pl.DataFrame]:
        """All of them in order, some at a time."""
        count = min(-(-self._count // self._at_once) or 1, FILES_MAX)
        picked = pl.concat(self._picked).sort() if self._picked else pl.Series(dtype=pl.String)
        bounds = picked.gather([len(picked) * at // count for at in range(1, count)])
        self._parts = RowFiles(count)
        for some in self._all.batches(0):
            part = bounds.search_sorted(some["key"], side="right").alias("part")
            self._parts.add_by("part", some.with_columns(part))
        for some in self._parts.take():
            yield some.sort("key").drop("key")
