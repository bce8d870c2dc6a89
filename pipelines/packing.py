"""Packing: the many small files of a table become few, beside everybody who writes to it.

Every commit leaves a file. An event a second makes tens of thousands a day, and each file makes the rounds of the drain
longer. Files are packed with others of about their size, and only when there are many of that size. So each row is
written only a few times, however slowly a day fills. That matters since a file that was replaced stays on the disk for
a day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import polars as pl
import structlog
from deltalake import DeltaTable, Transaction
from deltalake.exceptions import DeltaError

from lake.data_files import FILE_BYTES
from lake.errors import LakeConflict, LakeError, LakeUnreachable
from lake.lake import Lake
from lake.schemas import EVENTS, TABLES, Table
from pipelines.sorting import TooLarge, in_order

log = structlog.get_logger()

#: Files of one size that may lie in a partition. A round of the drain takes 0.1 ms for each.
FILES_MAX = 32
#: Where one size ends and the next begins, in bytes. Larger files are left as they are.
SIZES = (0, 128 * 1024, 1024**2, 8 * 1024**2, 100 * 1024**2)
#: Bytes that one shard's events of a day may have, as Arrow has them: they are sorted in memory. The others wait on the
#: disk, in a temporary folder.
SORT_BYTES = 1 << 30


def pack(lake: Lake, files_max: int = FILES_MAX, sizes: Sequence[int] = SIZES) -> int:
    """Packs the files of a size, in each partition of each table that has too many; returns how many were replaced.

    Files of one size become files of the next. Packed into their own size they would add up again: two files of more
    than half a size fit into none.

    Appends may come in between. Where somebody rewrites the same files, one of the two is first, and packing waits for
    the next time. A table that fails keeps none of the others from being packed; then `LakeUnreachable` is raised.
    """
    packed = 0
    failed: list[Exception] = []
    for table in TABLES:
        try:
            packed += _pack_table(lake, table, files_max, sizes)
        except LakeConflict as error:
            log.info("pack_conflict", table=table.name, error=str(error))
        except (LakeError, DeltaError, OSError) as error:
            log.warning("pack_failed", table=table.name, error=str(error))
            failed.append(error)
    if failed:
        raise LakeUnreachable("; ".join(map(str, failed))) from failed[0]
    return packed


def _pack_table(lake: Lake, table: Table, files_max: int, sizes: Sequence[int]) -> int:
    packed = 0
    opened = lake.open(table)
    for partition, file_sizes in _partitions(opened).items():
        for least, below, target in zip(sizes, sizes[1:], [*sizes[2:], sizes[-1]], strict=False):
            if sum(least <= size < below for size in file_sizes) > files_max:
                with lake.writing(opened):
                    did = opened.optimize.compact(partition_filters=_filters(partition), target_size=target)
                packed += int(did["numFilesRemoved"])
    return packed


def sort_closed_days(lake: Lake, today: str, file_bytes: int = FILE_BYTES, sort_bytes: int = SORT_BYTES) -> int:
    """Sorts the events of each day that is over by (shard, id, ts); returns how many files were replaced.

    A reader of one person then skips all row groups but a few by their statistics (`pipelines.sorting`). A day is
    sorted once, and a transaction notes it: the sizes of files do not tell, since they depend on how well the files
    compress. Rows that come to the day later are packed beside the sorted files when they are many. A day with a shard
    whose events have more than `sort_bytes` is packed as it lies.
    """
    opened = lake.open(EVENTS)
    removed = 0
    for partition in sorted(_partitions(opened)):
        day = partition.rpartition("=")[2]
        note = f"sorted/{day}"
        if day < today and opened.transaction_version(note) is None:
            removed += _sorted(lake, {"ingest_date": day}, Transaction(note, 1), file_bytes, sort_bytes)
    return removed


def _sorted(lake: Lake, partition: dict[str, str], note: Transaction, file_bytes: int, sort_bytes: int) -> int:
    """Sorts a day, or packs it where memory is too small for that; returns how many files were replaced."""
    try:
        return lake.rearrange(
            EVENTS, partition, lambda batches: in_order(batches, EVENTS.order, sort_bytes), note, file_bytes
        )
    except TooLarge:
        log.info("day_not_sorted", partition=partition, bytes_max=sort_bytes)
    opened = lake.open(EVENTS)
    with lake.writing(opened):
        did = opened.optimize.compact(
            partition_filters=[(column, "=", value) for column, value in partition.items()], target_size=file_bytes
        )
    # A commit of no rows, since the commit of the packing takes no transactions. Cut off in between, the day is read
    # again.
    lake.append_to(opened, EVENTS.columns.empty_table(), [note])
    return int(did["numFilesRemoved"])


def _partitions(opened: DeltaTable) -> dict[str, list[int]]:
    """The sizes in bytes of the files of each partition, by its folder: `ingest_date=2026-01-31`."""
    sizes: dict[str, list[int]] = defaultdict(list)
    adds = pl.DataFrame(opened.get_add_actions(flatten=True))
    for path, size in adds.select("path", "size_bytes").iter_rows():
        sizes[path.rpartition("/")[0]].append(size)
    return sizes


def _filters(partition: str) -> list[tuple[str, str, str]] | None:
    values = [part.partition("=") for part in partition.split("/") if part]
    return [(column, "=", value) for column, _, value in values] or None
