"""Keeping the lake quick and small: compaction, checkpoint, vacuum, old exports. Safe beside the drain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from deltalake.exceptions import CommitFailedError, DeltaError

from lake.errors import LakeUnreachable
from lake.files import Files
from lake.lake import Lake
from lake.schemas import EVENTS, TABLES

log = structlog.get_logger()

#: Files that no version needs any more are kept this long, for readers that pinned one.
RETENTION_HOURS = 24
#: Exports are kept this long, where the settings say nothing else: they name people, and are quickly made again.
EXPORT_DAYS = 7.0


def maintain(lake: Lake, now: datetime | None = None, export_days: float = EXPORT_DAYS) -> dict[str, Any]:
    """Compacts closed days, writes checkpoints, drops files that no version of the last day needs, and old exports.

    Says what it did.
    """
    now = now or datetime.now(UTC)
    today = now.date()
    did: dict[str, Any] = {}
    for table in TABLES:
        opened = lake.open(table)
        try:
            compacted = 0
            if table is EVENTS:
                compacted = _compact_closed_days(lake, today.isoformat())
            else:
                compacted = int(opened.optimize.compact()["numFilesRemoved"])
            opened.update_incremental()
            opened.create_checkpoint()
            removed = opened.vacuum(retention_hours=RETENTION_HOURS, dry_run=False, enforce_retention_duration=False)
            opened.cleanup_metadata()
            did[table.name] = {"compacted": compacted, "removed": len(removed)}
        except CommitFailedError as error:
            log.info("maintain_conflict", table=table.name, error=str(error))  # a writer was first: next time
            did[table.name] = {"compacted": 0, "removed": 0}
        except (DeltaError, OSError) as error:
            raise LakeUnreachable(f"{lake.uri(table)}: {error}") from error
    did["exports"] = {"removed": Files(lake.root, "exports").delete_before(now - timedelta(days=export_days))}
    return did


def _compact_closed_days(lake: Lake, today: str) -> int:
    """Sorts each closed day by (shard, id, ts), so that a reader of one shard finds its files by their statistics."""
    opened = lake.open(EVENTS)
    files: dict[str, int] = {}
    for partition in opened.partitions():
        files[partition["ingest_date"]] = 0
    for uri in opened.file_uris():
        for day in files:
            if f"ingest_date={day}" in uri:
                files[day] += 1
    removed = 0
    for day, count in files.items():
        if day < today and count > 1:
            did = opened.optimize.z_order(["shard", "id", "ts"], partition_filters=[("ingest_date", "=", day)])
            removed += int(did["numFilesRemoved"])
            opened.update_incremental()
    return removed
