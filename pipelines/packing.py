"""Packing: the many small files of a table made few, beside everybody who writes to it.

Every commit leaves a file, and each round of the drain takes longer the more there are: an event a second makes tens of
thousands a day. Files are packed with others of about their size, and only when there are many of it, so that each row
is written some few times, however slowly a day fills: what is replaced stays on the disk for a day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import polars as pl
import structlog
from deltalake import DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from lake.errors import LakeUnreachable
from lake.lake import Lake
from lake.schemas import EVENTS, TABLES

log = structlog.get_logger()

#: So many files of a size may lie in a partition: a round of the drain takes 0.1 ms for each.
FILES_MAX = 32
#: Where one size ends and the next begins, in bytes. Files beyond the last are left as they are.
SIZES = (0, 128 * 1024, 1024**2, 8 * 1024**2, 100 * 1024**2)


def pack(lake: Lake, files_max: int = FILES_MAX, sizes: Sequence[int] = SIZES) -> int:
    """Packs the files of each partition of any table of which there are too many; answers how many were replaced.

    Those of one size become files of the next, else they would add up again: two of more than half a size fit in none.

    Appends may come in between. Where somebody rewrites the same files, one of the two is first, and packing waits for
    the next time. Raises `LakeUnreachable`.
    """
    packed = 0
    for table in TABLES:
        opened = lake.open(table)
        try:
            for partition, held in _partitions(opened).items():
                for least, below, target in zip(sizes, sizes[1:], [*sizes[2:], sizes[-1]], strict=False):
                    if sum(least <= size < below for size in held) > files_max:
                        did = opened.optimize.compact(partition_filters=_filters(partition), target_size=target)
                        packed += int(did["numFilesRemoved"])
        except CommitFailedError as error:
            log.info("pack_conflict", table=table.name, error=str(error))
        except (DeltaError, OSError) as error:
            raise LakeUnreachable(f"{lake.uri(table)}: {error}") from error
    return packed


def sort_closed_days(lake: Lake, today: str, file_bytes: int | None = None) -> int:
    """Sorts the events of each day that is over by (shard, id, ts), so that a reader of one shard finds its files by
    their statistics; answers how many files were replaced.

    Once a day, which a transaction notes: how large sorted files are depends on how well they compress, so they do not
    tell. What comes to the day later is packed beside them when it is much.
    """
    opened = lake.open(EVENTS)
    removed = 0
    for partition, sizes in _partitions(opened).items():
        day = partition.rpartition("=")[2]
        note = f"sorted/{day}"
        if day < today and len(sizes) > 1 and opened.transaction_version(note) is None:
            did = opened.optimize.z_order(
                list(EVENTS.order), partition_filters=_filters(partition), target_size=file_bytes
            )
            removed += int(did["numFilesRemoved"])
            # In a commit of no rows: that of the sorting takes no transactions. Cut off in between, it is sorted again.
            lake.append_to(opened, EVENTS.columns.empty_table(), [Transaction(note, 1)])
    return removed


def _partitions(opened: DeltaTable) -> dict[str, list[int]]:
    """The sizes in bytes of the files of each partition, by its folder: `ingest_date=2026-01-31`."""
    found: dict[str, list[int]] = defaultdict(list)
    adds = pl.DataFrame(opened.get_add_actions(flatten=True))
    for path, size in adds.select("path", "size_bytes").iter_rows():
        found[path.rpartition("/")[0]].append(size)
    return found


def _filters(partition: str) -> list[tuple[str, str, str]] | None:
    values = [one.partition("=") for one in partition.split("/") if one]
    return [(column, "=", value) for column, _, value in values] or None
