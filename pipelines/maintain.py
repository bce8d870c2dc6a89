"""Maintenance: retention, compaction, checkpoints, vacuum and old exports. It keeps the lake's tables quick, and rows
no longer than is wanted.

Safe beside the drain, which only appends, and beside every other writer. A file that stands in no version is a stray
only when it is older than a day: a younger file may belong to a commit that is on its way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa
import structlog
from deltalake.exceptions import DeltaError

from expressions.rules.deletes import ACT_KINDS
from expressions.rules.windows import DAY_MS
from lake.errors import LakeConflict, LakeError, LakeUnreachable
from lake.folder import Folder
from lake.lake import Lake
from lake.schemas import EVENTS, MEMBERSHIPS, REJECTED, RUNS, TABLES, TRAITS, Table
from pipelines.open_days import open_days
from pipelines.packing import sort_closed_days
from serving.logs import safe_message

log = structlog.get_logger()

#: Exports are kept this long, unless the settings say otherwise: they name people, and are quickly made again.
EXPORT_DAYS = 7.0
#: Rows of rebuilds are kept this long; and those of rebuilds of single ids, since four a second may come.
RUN_DAYS, ID_RUN_DAYS = 30, 1
#: Of each day the last row of a rebuild that counted people stays for so long.
DAILY_RUN_DAYS = 365


def maintain(
    lake: Lake, now: datetime | None = None, export_days: float = EXPORT_DAYS, retention_days: int | None = None
) -> dict[str, Any]:
    """What it did, by table: files that were compacted and removed; and rows, runs and exports that were dropped.

    1. Drops rows that are older than `retention_days`, and old rows of rebuilds.
    2. Of each table: compacts closed days, writes a checkpoint, and drops files that no version of the last day needs
       or that writers left behind.
    3. Drops old exports.

    A table on which a writer was first waits for the next time. A step that fails keeps none of the others from being
    done; then `LakeUnreachable` is raised, with all reasons.
    """
    now = now or datetime.now(UTC)
    today = now.date()
    did: dict[str, Any] = {}
    failed: list[Exception] = []

    def step(name: str, work: Callable[[], Any]) -> None:
        try:
            did[name] = work()
        except (LakeError, DeltaError, OSError, pl.exceptions.PolarsError) as error:
            log.warning("maintain_failed", step=name, error=safe_message(error))
            failed.append(error)

    if retention_days is not None:
        before = now - timedelta(days=retention_days)
        step("retention", lambda: {"removed": expire(lake, before, now), "others": expire_others(lake, before)})
    step("forgotten_runs", lambda: forget_runs(lake, now))
    for table in TABLES:
        step(table.name, partial(_maintain_table, lake, table, today))
    exports = Folder(lake.root, "exports")
    step("exports", lambda: {"removed": exports.delete_before(now - timedelta(days=export_days))})
    if failed:
        raise LakeUnreachable("; ".join(map(safe_message, failed))) from failed[0]
    return did


def _maintain_table(lake: Lake, table: Table, today: date) -> dict[str, int]:
    opened = lake.open(table)
    try:
        if table is EVENTS:
            compacted = sort_closed_days(lake, today.isoformat())
        else:
            with lake.writing(opened):
                compacted = int(opened.optimize.compact()["numFilesRemoved"])
        return {"compacted": compacted, "removed": lake.drop_files(table)}
    except LakeConflict as error:
        log.info("maintain_conflict", table=table.name, error=str(error))  # a writer was first: next time
        return {"compacted": 0, "removed": 0}


def expire(lake: Lake, before: datetime, now: datetime) -> int:
    """Drops events of an earlier time from the days that are closed; returns how many.

    Links, unlinks and deletes are no events. They stay, since whose an id is does not age.
    """
    before_ms = _ms(before)
    old = (pl.col("ts") < before_ms) & ~pl.col("kind").is_in(ACT_KINDS)
    rows = lake.scan(EVENTS).filter(old, ~pl.col("ingest_date").is_between(*open_days(now)))
    counts = dict(rows.group_by("ingest_date").len().collect().iter_rows())

    def without_old(batch: pa.RecordBatch) -> pa.RecordBatch:
        frame = pl.from_arrow(batch.select(["ts", "kind"]))
        assert isinstance(frame, pl.DataFrame)
        return batch.filter(pa.array(frame.select(~old).to_series().to_list(), pa.bool_()))

    removed = 0
    for day, count in sorted(counts.items()):
        try:
            lake.rewrite_once(EVENTS, {"ingest_date": day.isoformat()}, without_old)
            removed += count
        except LakeConflict as error:
            log.info("retention_conflict", day=day.isoformat(), error=str(error))  # a writer was first: next time
    return removed


def expire_others(lake: Lake, before: datetime) -> int:
    """Drops refused events that were received before, and answers as of a time that were computed before; returns how
    many rows. A build's number is the instant, in UTC ms, at which it began."""
    before_ms = _ms(before)
    removed = _keep(lake, REJECTED, {}, "received_at", lambda at: at.fill_null(before_ms) >= before_ms)
    for table in (TRAITS, MEMBERSHIPS):
        removed += _keep(lake, table, {"is_latest": "false"}, "build", lambda build: build >= before_ms)
    return removed


def forget_runs(lake: Lake, now: datetime) -> int:
    """Drops old rows of rebuilds; returns how many.

    A rebuild whose answers are there stays, since readers look up what it covered. So do the last full rebuild, and the
    one with the greatest number. Of each day of a year the last one stays that noted how many people it counted.
    """
    old = pl.col("build") < pl.when(kind="ids").then(_ms(now - timedelta(days=ID_RUN_DAYS))).otherwise(
        _ms(now - timedelta(days=RUN_DAYS))
    )
    runs = lake.runs().select("build", "kind", "as_of", "sizes").with_columns(old.alias("is_old")).collect()
    if not runs["is_old"].any():
        return 0
    needed = {lake.last_build(), (lake.last_run() or {}).get("build")}
    for table in (TRAITS, MEMBERSHIPS):
        needed |= set(lake.scan(table).select(pl.col("build").unique()).collect()["build"])
    noted = runs.filter(pl.col("sizes").is_not_null() & (pl.col("build") >= _ms(now - timedelta(days=DAILY_RUN_DAYS))))
    needed |= set(noted.group_by(pl.col("as_of") // DAY_MS).agg(pl.col("build").max())["build"])
    forgotten = set(runs.filter("is_old")["build"]) - needed
    return _keep(lake, RUNS, {}, "build", lambda build: ~build.is_in(sorted(forgotten)))


def _keep(
    lake: Lake, table: Table, partition: Mapping[str, str], column: str, stays: Callable[[pl.Series], pl.Series]
) -> int:
    """Keeps the rows of a partition whose value in a column stays; returns how many went."""

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pa.array(stays(pl.Series(batch.column(column))).to_list(), pa.bool_()))

    try:
        return lake.rewrite(table, partition, change)
    except LakeConflict as error:
        log.info("retention_conflict", table=table.name, error=str(error))  # writers were first: next time
        return 0


def _ms(at: datetime) -> int:
    return math.floor(at.timestamp() * 1000)
