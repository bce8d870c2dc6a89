"""A partition of a table, changed row by row in one commit, however often others are first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

from lake.errors import LakeConflict
from lake.lake import Lake
from lake.schemas import Table

ATTEMPTS = 10


def rewrite(
    lake: Lake, table: Table, partition: Mapping[str, str], change: Callable[[pa.RecordBatch], pa.RecordBatch]
) -> int:
    """Rewrites a partition if that changes anything; how many rows went. Raises `LakeConflict`."""
    for _ in range(ATTEMPTS):
        went, is_changed = 0, False
        for one in lake.batches(table, partition):
            after = change(one)
            went += one.num_rows - after.num_rows
            is_changed = is_changed or not after.equals(one)
        if not is_changed:
            return 0
        try:
            lake.rewrite(table, partition, change)
            return went
        except LakeConflict:
            continue  # somebody wrote there meanwhile: look again
    raise LakeConflict(f"{table.name}: others were first {ATTEMPTS} times")
