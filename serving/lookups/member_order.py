"""Members in the order of the file, the newest first, however many they are: sorted on disk.

1. members, some at a time  →  one file, and a sample: each hundredth sort key
2. the sample               →  bounds that cut all members into parts of about the same size
3. the file                 →  a file for each part
4. each part by itself      →  sorted
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from lake.row_files import FILES_MAX, RowFiles

#: One of so many sort keys is in the sample.
SAMPLED_EACH = 100

#: The sort key: by time, the newest first, then by id. Digits of one length sort as their numbers do; times are within
#: 2^53 ms of 1970.
KEY = pl.concat_str((2**54 - pl.col("created_at")).cast(pl.String).str.zfill(17), "id").alias("key")


class MemberOrder:
    """Takes members in any order and gives them back sorted, about `at_once` of them in memory at a time.

    Members have the columns id and created_at, and any others.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._all = RowFiles(1)
        self._parts: RowFiles | None = None
        self._sample: list[pl.Series] = []
        self._count = 0

    def __enter__(self) -> MemberOrder:
        return self

    def __exit__(self, *_: object) -> None:
        self._all.close()
        if self._parts is not None:
            self._parts.close()

    def add(self, members: pl.DataFrame) -> None:
        """Adds some members."""
        keyed = members.with_columns(KEY)
        self._sample.append(keyed["key"].sort().gather_every(SAMPLED_EACH))
        self._count += len(keyed)
        self._all.add(0, keyed)

    def take(self) -> Iterator[pl.DataFrame]:
        """All members in order, some at a time."""
        count = min(-(-self._count // self._at_once) or 1, FILES_MAX)
        sample = pl.concat(self._sample).sort() if self._sample else pl.Series(dtype=pl.String)
        bounds = sample.gather([len(sample) * part // count for part in range(1, count)])
        self._parts = RowFiles(count)
        for members in self._all.batches(0):
            part = bounds.search_sorted(members["key"], side="right").alias("part")
            self._parts.add_by("part", members.with_columns(part))
        for members in self._parts.take():
            yield members.sort("key").drop("key")
