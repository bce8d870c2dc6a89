"""Keeping the lake's tables quick, and no longer than is wanted: retention, compaction, checkpoint, vacuum, exports.

Safe beside the drain, which only appends, and beside every writer: a file that stands in no version is a stray only
when it is older than a day. A younger one cannot be told from one whose commit is on its way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import structlog
from deltalake.exceptions import CommitFailedError, DeltaError

from expressions.rules.deletes import ACT_KINDS
from lake.errors import LakeConflict, LakeUnreachable
from lake.folder import Folder
from lake.lake import Lake
from lake.schemas import EVENTS, MEMBERSHIPS, REJECTED, RUNS, TABLES, TRAITS, Table
from pipelines.packing import sort_closed_days

log = structlog.get_logger()

#: Exports are kept this long, where the settings say nothing else: they name people, and are quickly made again.
EXPORT_DAYS = 7.0
#: What rebuilds did is kept this long, and of those of single ids, of which there may be four a second.
RUN_DAYS, ID_RUN_DAYS = 30, 1


def maintain(
    lake: Lake, now: datetime | None = None, export_days: float = EXPORT_DAYS, retention_days: int | None = None
) -> dict[str, Any]:
    """Drops what is older than `retention_days`, and what rebuilds did long ago; compacts closed days; writes
    checkpoints; drops files that no version of the last day needs or that writers left behind, and old exports.

    Says what it did.
    """
    now = now or datetime.now(UTC)
    today = now.date()
    did: dict[str, Any] = {}
    if retention_days is not None:
        before = now - timedelta(days=retention_days)
        did["retention"] = {"removed": expire(lake, before, today), "others": expire_others(lake, before)}
    did["forgotten_runs"] = forget_runs(lake, now)
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
    did["exports"] = {"removed": Folder(lake.root, "exports").delete_before(now - timedelta(days=export_days))}
    return did


def expire(lake: Lake, before: datetime, today: date) -> int:
    """Drops the rows of events of an earlier time, of days that are over; answers how many.

    Links, unlinks and deletes are no events: they stay, since whose an id is does not age.
    """
    before_ms = _ms(before)
    old = (pl.col("ts") < before_ms) & ~pl.col("kind").is_in(ACT_KINDS)
    rows = lake.scan(EVENTS).filter(old, pl.col("ingest_date") < today)
    counts = dict(rows.group_by("ingest_date").len().collect().iter_rows())

    def kept(batch: pa.RecordBatch) -> pa.RecordBatch:
        judged = pl.from_arrow(batch.select(["ts", "kind"]))
        assert isinstance(judged, pl.DataFrame)
        return batch.filter(pa.array(judged.select(~old).to_series().to_list(), pa.bool_()))

    removed = 0
    for day, count in sorted(counts.items()):
        try:
            lake.rewrite_once(EVENTS, {"ingest_date": day.isoformat()}, kept)
            removed += count
        except LakeConflict as error:
            log.info("retention_conflict", day=day.isoformat(), error=str(error))  # a writer was first: next time
    return removed


def expire_others(lake: Lake, before: datetime) -> int:
    """Drops refused events that were received before, and results of rebuilds as of a time that were computed before;
    answers how many rows. A build's number is the instant, in UTC ms, at which it began."""
    before_ms = _ms(before)
    removed = _kept(lake, REJECTED, {}, "received_at", lambda at: at.fill_null(before_ms) >= before_ms)
    for table in (TRAITS, MEMBERSHIPS):
        removed += _kept(lake, table, {"is_latest": "false"}, "build", lambda build: build >= before_ms)
    return removed


def forget_runs(lake: Lake, now: datetime) -> int:
    """Drops what rebuilds did long ago; answers how many rows.

    Those stay whose results are there, since readers look up what they covered, the last full one, and the last number.
    """
    old = pl.col("build") < pl.when(kind="ids").then(_ms(now - timedelta(days=ID_RUN_DAYS))).otherwise(
        _ms(now - timedelta(days=RUN_DAYS))
    )
    runs = lake.scan(RUNS).select("build", "kind").with_columns(old.alias("is_old")).collect()
    if not runs["is_old"].any():
        return 0
    held = {lake.last_build(), (lake.last_run() or {}).get("build")}
    for table in (TRAITS, MEMBERSHIPS):
        held |= set(lake.scan(table).select(pl.col("build").unique()).collect()["build"])
    gone = set(runs.filter("is_old")["build"]) - held
    return _kept(lake, RUNS, {}, "build", lambda build: ~build.is_in(sorted(gone)))


def _kept(
    lake: Lake, table: Table, partition: Mapping[str, str], column: str, stays: Callable[[pl.Series], pl.Series]
) -> int:
    """Keeps the rows of a partition that stay by a column; answers how many went."""

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pa.array(stays(pl.Series(batch.column(column))).to_list(), pa.bool_()))

    try:
        return lake.rewrite(table, partition, change)
    except LakeConflict as error:
        log.info("retention_conflict", table=table.name, error=str(error))  # writers were first: next time
        return 0


def _ms(at: datetime) -> int:
    return math.floor(at.timestamp() * 1000)
