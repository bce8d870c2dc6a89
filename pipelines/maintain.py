"""Keeping the lake's tables quick, and no longer than is wanted: retention, compaction, checkpoint, vacuum, exports.

Safe beside the drain, which only appends, and beside every writer: a file that stands in no version is a stray only
when it is older than a day. A younger one cannot be told from one whose commit is on its way.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import structlog
from deltalake.exceptions import CommitFailedError, DeltaError

from expressions.identity import LINK_KINDS
from lake.errors import LakeConflict, LakeUnreachable
from lake.files import Files
from lake.lake import Lake
from lake.schemas import EVENTS, TABLES
from pipelines.packing import sort_closed_days

log = structlog.get_logger()

#: Exports are kept this long, where the settings say nothing else: they name people, and are quickly made again.
EXPORT_DAYS = 7.0


def maintain(
    lake: Lake, now: datetime | None = None, export_days: float = EXPORT_DAYS, retention_days: int | None = None
) -> dict[str, Any]:
    """Drops events older than `retention_days`, compacts closed days, writes checkpoints, drops files that no version
    of the last day needs or that writers left behind, and old exports.

    Says what it did.
    """
    now = now or datetime.now(UTC)
    today = now.date()
    did: dict[str, Any] = {}
    if retention_days is not None:
        did["retention"] = {"removed": expire(lake, now - timedelta(days=retention_days), today)}
    for table in TABLES:
        opened = lake.open(table)
        try:
            compacted = 0
            if table is EVENTS:
                compacted = sort_closed_days(lake, today.isoformat())
            else:
                compacted = int(opened.optimize.compact()["numFilesRemoved"])
            did[table.name] = {"compacted": compacted, "removed": lake.drop_files(table)}
        except (CommitFailedError, LakeConflict) as error:
            log.info("maintain_conflict", table=table.name, error=str(error))  # a writer was first: next time
            did[table.name] = {"compacted": 0, "removed": 0}
        except (DeltaError, OSError) as error:
            raise LakeUnreachable(f"{lake.uri(table)}: {error}") from error
    did["exports"] = {"removed": Files(lake.root, "exports").delete_before(now - timedelta(days=export_days))}
    return did


def expire(lake: Lake, before: datetime, today: date) -> int:
    """Drops the rows of events of an earlier time, of days that are over; answers how many.

    Links, unlinks and deletes are no events: they stay, since whose an id is does not age.
    """
    before_ms = math.floor(before.timestamp() * 1000)
    old = (pl.col("ts") < before_ms) & ~pl.col("kind").is_in([*LINK_KINDS, "delete"])
    rows = lake.scan(EVENTS).filter(old, pl.col("ingest_date") < today)
    counts = dict(rows.group_by("ingest_date").len().collect().iter_rows())

    def kept(batch: pa.RecordBatch) -> pa.RecordBatch:
        judged = pl.from_arrow(batch.select(["ts", "kind"]))
        assert isinstance(judged, pl.DataFrame)
        return batch.filter(pa.array(judged.select(~old).to_series().to_list(), pa.bool_()))

    removed = 0
    for day, count in sorted(counts.items()):
        try:
            lake.rewrite(EVENTS, {"ingest_date": day.isoformat()}, kept)
            removed += count
        except LakeConflict as error:
            log.info("retention_conflict", day=day.isoformat(), error=str(error))  # a writer was first: next time
    return removed
